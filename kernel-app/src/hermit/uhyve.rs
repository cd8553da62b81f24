//! uhyve's hypercalls: the host's files, and standard input.
//!
//! Layer: device. Interface: crate `uhyve-interface`, version 2, as uhyve 0.10 serves it on x86-64 to every image
//! (`src/linux/x86_64/kvm_cpu.rs` there): a write to the port that is the hypercall's number, with the physical address
//! of its parameters in `rdi`. The parameters name buffers by physical addresses too, each for memory in one piece.

use core::cell::UnsafeCell;
use core::mem::{align_of, size_of};
use core::sync::atomic::{AtomicBool, Ordering};

use kernel_app::uhyve::{Host, Seek, errno};
use uhyve_interface::GuestPhysAddr;
use uhyve_interface::v2::HypercallAddress;
use uhyve_interface::v2::parameters::{
    CloseParams, FileAttr, FstatParams, GetdentParams, GetdentResult, LseekParams, MkdirParams, MkdirResult,
    OpenParams, ReadParams, SEEK_END, SEEK_SET, StatKind, StatParams, StatResult, UnlinkParams, WriteParams,
};
use wasi_core::Errno;

use super::device_tree;
use super::devices::{in_one_piece, piece};

/// What new files may be used for; the user's mask takes away from it.
const MODE: i32 = 0o666;

/// The descriptor of uhyve's own standard input.
const STDIN: i32 = 0;

const PAGE: usize = 4096;
/// Pages that no stretch of memory is looked at beyond, so that looking costs little more than it saves.
const STRETCH: usize = 512 * PAGE;

/// Where the parts of [`AREA`] begin: a path, what a hypercall hands over, its parameters.
const PATH: usize = 0;
const DATA: usize = PAGE;
const PARAMETERS: usize = 2 * PAGE;
const SIZE: usize = 3 * PAGE;

#[repr(C, align(4096))]
struct Area(UnsafeCell<[u8; SIZE]>);

// SAFETY: the bytes are reached only through `Lock`, of which `TAKEN` lets there be one at a time.
unsafe impl Sync for Area {}

/// Memory that uhyve reads and writes: part of the image, hence in one piece of physical memory.
static AREA: Area = Area(UnsafeCell::new([0; SIZE]));
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The only user of [`AREA`].
struct Lock {
    /// The area's physical address.
    physical: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

/// uhyve, around this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uhyve {
    /// The area's physical address.
    physical: u64,
}

/// Whether uhyve is around this machine. Its other architecture, aarch64, it runs on macOS only, where nobody has
/// tried.
pub(super) fn is_there() -> bool {
    cfg!(target_arch = "x86_64") && device_tree::is_uhyves()
}

/// How many of `len` bytes at `start`, one at least, are in one piece, and where.
fn first_piece(start: *const u8, len: usize) -> Result<(u64, usize), Errno> {
    // Memory is mapped in large pages mostly.
    piece(start, len.min(STRETCH - start.addr() % STRETCH)).ok_or(Errno::FAULT)
}

impl Lock {
    /// Does the hypercall and gives its parameters back, as uhyve has filled them in.
    ///
    /// # Safety
    /// `P` are the parameters of this hypercall. The memory that they name is valid, until this returns, for what uhyve
    /// does there: it is a part of the area, or a buffer that the caller has borrowed.
    unsafe fn call<P: Copy>(&mut self, address: HypercallAddress, parameters: P) -> P {
        const { assert!(size_of::<P>() <= SIZE - PARAMETERS && align_of::<P>() <= PAGE) };
        #[cfg_attr(
            not(target_arch = "x86_64"),
            expect(unused_variables, reason = "there is no such call")
        )]
        let port = address as u16;
        // SAFETY: the place lies in the area (checked above), is aligned since the area is to pages, and `self` is the
        // area's only user. uhyve answers the write to the port before the next instruction is executed, by accesses
        // to memory that the caller vouches for, and with results that are values of their types. `asm!` without
        // `nomem` lets the compiler expect changes in memory.
        unsafe {
            let place = AREA.0.get().cast::<u8>().add(PARAMETERS).cast::<P>();
            place.write(parameters);
            // Elsewhere nobody comes here: see `is_there`.
            #[cfg(target_arch = "x86_64")]
            core::arch::asm!(
                "out dx, eax",
                in("dx") port,
                in("eax") 0,
                in("rdi") self.physical + PARAMETERS as u64,
                options(nostack, preserves_flags),
            );
            place.read()
        }
    }

    /// The physical address of a part of the area.
    fn part(&self, offset: usize) -> GuestPhysAddr {
        GuestPhysAddr::new(self.physical + offset as u64)
    }

    /// Puts a path, with the zero byte that ends it, where uhyve will read it.
    fn path(&mut self, path: &[u8]) -> Result<GuestPhysAddr, Errno> {
        if path.len() >= PAGE {
            return Err(Errno::NAMETOOLONG);
        }
        // SAFETY: path and zero byte fit into the part of the area (checked above), whose only user `self` is; `path`
        // is other memory, since no pointer into the area is given away.
        unsafe {
            let place = AREA.0.get().cast::<u8>().add(PATH);
            place.copy_from_nonoverlapping(path.as_ptr(), path.len());
            place.add(path.len()).write(0);
        }
        Ok(self.part(PATH))
    }

    /// What uhyve has written to the area's data part.
    fn attributes(&self) -> FileAttr {
        const { assert!(size_of::<FileAttr>() <= PARAMETERS - DATA) };
        // SAFETY: it lies in the area, aligned to pages; `FileAttr` consists of integers, for which all bytes are
        // valid.
        unsafe { AREA.0.get().cast::<u8>().add(DATA).cast::<FileAttr>().read() }
    }

    /// Clears the data part, so that what uhyve has not written is zero.
    fn clear_data(&mut self) {
        let area = AREA.0.get().cast::<u8>();
        // SAFETY: the part lies in the area, whose only user `self` is.
        unsafe { area.add(DATA).write_bytes(0, PARAMETERS - DATA) };
    }

    /// Copies the beginning of the data part.
    fn copy_data(&self, buf: &mut [u8]) {
        let length = buf.len().min(PARAMETERS - DATA);
        // SAFETY: the source lies in the area, the target is `buf`, which is other memory.
        unsafe {
            let source = AREA.0.get().cast::<u8>().add(DATA);
            buf.as_mut_ptr().copy_from_nonoverlapping(source, length);
        }
    }
}

/// A count, or an errno as a negative number.
fn count(result: i64, most: usize) -> Result<usize, Errno> {
    match usize::try_from(result) {
        Ok(count) => Ok(count.min(most)),
        Err(_) => Err(errno(result)),
    }
}

fn stat_result(result: StatResult) -> Result<(), Errno> {
    match result {
        StatResult::Success => Ok(()),
        StatResult::Error(number) => Err(errno(number.into())),
        StatResult::None => Err(Errno::IO),
    }
}

impl Uhyve {
    /// uhyve, if it is around this machine.
    pub(crate) fn find() -> Option<Self> {
        if !is_there() {
            return None;
        }
        in_one_piece(AREA.0.get().cast(), SIZE).map(|physical| Self { physical })
    }

    /// Takes the area for one hypercall. They do not overlap: there is one task, and none of them calls another.
    fn lock(self) -> Result<Lock, Errno> {
        if TAKEN.swap(true, Ordering::Acquire) {
            return Err(Errno::IO);
        }
        Ok(Lock {
            physical: self.physical,
        })
    }

    /// Reads uhyve's standard input: blocks until there is at least one byte, or the end (0).
    pub(super) fn read_stdin(mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        self.read(STDIN, buf)
    }
}

impl Host for Uhyve {
    fn open(&mut self, path: &[u8], flags: i32) -> Result<i32, Errno> {
        let mut lock = self.lock()?;
        let name = lock.path(path)?;
        let parameters = OpenParams {
            name,
            flags,
            mode: MODE,
            ret: -1,
        };
        // SAFETY: the path lies in the area.
        let fd = unsafe { lock.call(HypercallAddress::FileOpen, parameters) }.ret;
        if fd < 0 { Err(errno(fd.into())) } else { Ok(fd) }
    }

    fn close(&mut self, fd: i32) {
        if let Ok(mut lock) = self.lock() {
            // SAFETY: no memory is named.
            unsafe { lock.call(HypercallAddress::FileClose, CloseParams { fd, ret: 0 }) };
        }
    }

    fn read(&mut self, fd: i32, buf: &mut [u8]) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        let (physical, length) = first_piece(buf.as_mut_ptr(), buf.len())?;
        let parameters = ReadParams {
            len: length as u64,
            ret: 0,
            buf: GuestPhysAddr::new(physical),
            fd,
        };
        let mut lock = self.lock()?;
        // SAFETY: `length` bytes there are the beginning of `buf`, which is borrowed for writing.
        let result = unsafe { lock.call(HypercallAddress::FileRead, parameters) }.ret;
        count(result, length)
    }

    fn write(&mut self, fd: i32, buf: &[u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while let Some(rest) = buf.get(done..).filter(|rest| !rest.is_empty()) {
            let (physical, length) = first_piece(rest.as_ptr(), rest.len())?;
            let parameters = WriteParams {
                len: length as u64,
                ret: 0,
                buf: GuestPhysAddr::new(physical),
                fd,
            };
            let mut lock = self.lock()?;
            // SAFETY: `length` bytes there are the beginning of `rest`, which is borrowed.
            let result = unsafe { lock.call(HypercallAddress::FileWrite, parameters) }.ret;
            match count(result, length) {
                Ok(0) => return Ok(done),
                Ok(written) => done += written,
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            }
        }
        Ok(done)
    }

    fn seek(&mut self, fd: i32, to: Seek) -> Result<u64, Errno> {
        let (offset, whence) = match to {
            Seek::Start(offset) => (offset, SEEK_SET),
            Seek::End => (0, SEEK_END),
        };
        let parameters = LseekParams {
            offset,
            whence: whence.unsigned_abs(),
            fd,
        };
        let mut lock = self.lock()?;
        // SAFETY: no memory is named.
        let offset = unsafe { lock.call(HypercallAddress::FileLseek, parameters) }.offset;
        u64::try_from(offset).map_err(|_| errno(offset))
    }

    fn entries(&mut self, fd: i32, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut lock = self.lock()?;
        lock.clear_data();
        let most = buf.len().min(PARAMETERS - DATA);
        let parameters = GetdentParams {
            fd,
            buf: lock.part(DATA),
            len: most as u64,
            ret: GetdentResult::None,
        };
        // SAFETY: at most `most` bytes of the area's data part are written.
        let result = unsafe { lock.call(HypercallAddress::Getdents, parameters) }.ret;
        match result {
            GetdentResult::Success(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX).min(most);
                lock.copy_data(buf.get_mut(..length).unwrap_or_default());
                Ok(length)
            }
            GetdentResult::EndOfDirectory => Ok(0),
            GetdentResult::Error(number) => Err(errno(number.into())),
            GetdentResult::None => Err(Errno::IO),
        }
    }

    fn stat(&mut self, path: &[u8]) -> Result<FileAttr, Errno> {
        let mut lock = self.lock()?;
        let name = lock.path(path)?;
        let parameters = StatParams {
            name,
            kind: StatKind::LStat,
            attr: lock.part(DATA),
            ret: StatResult::None,
        };
        // SAFETY: path and attributes have their places in the area.
        stat_result(unsafe { lock.call(HypercallAddress::FileStat, parameters) }.ret)?;
        Ok(lock.attributes())
    }

    fn fstat(&mut self, fd: i32) -> Result<FileAttr, Errno> {
        let mut lock = self.lock()?;
        let parameters = FstatParams {
            fd,
            attr: lock.part(DATA),
            ret: StatResult::None,
        };
        // SAFETY: the attributes have their place in the area.
        stat_result(unsafe { lock.call(HypercallAddress::FileFstat, parameters) }.ret)?;
        Ok(lock.attributes())
    }

    fn make_dir(&mut self, path: &[u8]) -> Result<(), Errno> {
        let mut lock = self.lock()?;
        let address = lock.path(path)?;
        let parameters = MkdirParams {
            path: address,
            len: path.len() as u64,
            ret: MkdirResult::None,
        };
        // SAFETY: the path lies in the area.
        let result = unsafe { lock.call(HypercallAddress::Mkdir, parameters) }.ret;
        match result {
            MkdirResult::Success => Ok(()),
            MkdirResult::Error(number) => Err(errno(number.into())),
            MkdirResult::None => Err(Errno::IO),
        }
    }

    fn unlink(&mut self, path: &[u8]) -> Result<(), Errno> {
        let mut lock = self.lock()?;
        let name = lock.path(path)?;
        let parameters = UnlinkParams { name, ret: -1 };
        // SAFETY: the path lies in the area.
        let result = unsafe { lock.call(HypercallAddress::FileUnlink, parameters) }.ret;
        if result == 0 {
            Ok(())
        } else {
            Err(errno(result.into()))
        }
    }
}
