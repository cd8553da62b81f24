//! The machine's memory as a file of the launcher's own, so that bulk data need not go over the serial line.
//!
//! Layer: host. The guest names a window in its memory by physical address (`docs/console.md`, WINDOW); this is
//! where the address is checked and becomes a place in the file. Everything the guest says is a claim until then.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use boot_protocol::console::{Span, Window};
use rustix::fs::{MemfdFlags, SealFlags};

use crate::host::files;
use crate::host::units::MIB;

/// The largest part of a window that is accepted; this program keeps a copy of as much.
const MOST: u32 = 1024 * 1024;

/// Where a machine has its memory: guest-physical addresses that are places in its memory's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ram {
    /// The address of the file's first byte.
    pub(crate) base: u64,
    /// Windows must begin here or behind, below which devices and firmware lie over the memory.
    pub(crate) first: u64,
    /// The end of the addresses that are memory, one for one, if there is so much of it.
    pub(crate) end: u64,
}

/// The machine's memory.
#[derive(Debug)]
pub(crate) struct GuestMemory {
    file: File,
    name: PathBuf,
    size: u64,
    ram: Ram,
}

/// Why a window is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(Window);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window {
            address,
            output,
            input,
        } = self.0;
        write!(
            f,
            "its shared buffer of {output} and {input} bytes at {address:#x} is outside of its memory, or too large"
        )
    }
}

impl GuestMemory {
    /// Memory of `size` bytes for a machine that has it at `ram`. No page of it exists before it is touched.
    ///
    /// **Errors**: the system has no memory files or no /proc; the machine then needs memory of QEMU's own.
    pub(crate) fn new(size: u64, ram: Ram) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("hermit-wasm-memory", flags)?);
        file.set_len(size)?;
        // QEMU maps it: were it to shrink, QEMU would die of SIGBUS, and reads here would end early.
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let name = files::proc_name(&file).ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self {
            file,
            name,
            size,
            ram,
        })
    }

    /// The descriptor that the hypervisor must inherit to find the file by its name.
    pub(crate) fn inherit(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The file, for whoever plays the machine.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// What to call it on the hypervisor's command line.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Bytes of it that were touched, and so taken from this host. None is ever given back.
    pub(crate) fn touched(&self) -> Option<u64> {
        /// What `st_blocks` counts in.
        const BLOCK: u64 = 512;
        self.file.metadata().ok()?.blocks().checked_mul(BLOCK)
    }

    /// Checks what the guest calls its window.
    ///
    /// **Errors**: a part of it is outside of the memory, or larger than 1 MiB.
    pub(crate) fn window(&self, window: Window) -> Result<SharedWindow<'_>, Refused> {
        self.place(window).ok_or(Refused(window))
    }

    fn place(&self, window: Window) -> Option<SharedWindow<'_>> {
        let Window {
            address,
            output,
            input,
        } = window;
        let output_at = address.checked_sub(self.ram.base)?;
        let input_at = output_at.checked_add(output.into())?;
        let end = input_at.checked_add(input.into())?;
        let contiguous = self.ram.end.saturating_sub(self.ram.base);
        let right =
            address >= self.ram.first && end <= self.size.min(contiguous) && output <= MOST && input <= MOST;
        right.then_some(SharedWindow {
            file: &self.file,
            output_at,
            output,
            input_at,
            input,
        })
    }
}

/// A window that lies in the machine's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedWindow<'a> {
    file: &'a File,
    output_at: u64,
    output: u32,
    input_at: u64,
    input: u32,
}

impl SharedWindow<'_> {
    /// Whether the window has such a piece of output.
    pub(crate) fn holds(&self, span: Span) -> bool {
        span.offset
            .checked_add(span.length)
            .is_some_and(|end| end <= self.output)
    }

    /// The most bytes of input that it takes.
    pub(crate) fn input(&self) -> usize {
        usize::try_from(self.input).unwrap_or(usize::MAX)
    }

    /// Copies a piece of output.
    ///
    /// **Errors**: it is outside of the window, or the file fails.
    pub(crate) fn read(&self, span: Span) -> io::Result<Vec<u8>> {
        if !self.holds(span) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = vec![0; usize::try_from(span.length).map_err(io::Error::other)?];
        let start = self.output_at.saturating_add(span.offset.into());
        let mut done = 0usize;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = start.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            match rustix::io::pread(self.file, rest, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => done = done.saturating_add(length),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes)
    }

    /// Puts input into the window.
    ///
    /// **Errors**: it is too long, or the file fails.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.input() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut done = 0usize;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let at = self
                .input_at
                .saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            match rustix::io::pwrite(self.file, rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => done = done.saturating_add(length),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The size that QEMU is given: whole MiB.
pub(crate) const fn rounded(size: u64) -> u64 {
    size.div_ceil(MIB).saturating_mul(MIB)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    const PC: Ram = Ram {
        base: 0,
        first: MIB,
        end: 2048 * MIB,
    };

    fn window(address: u64, output: u32, input: u32) -> Window {
        Window {
            address,
            output,
            input,
        }
    }

    #[test]
    fn windows_in_memory_are_taken_and_no_others() {
        let memory = GuestMemory::new(16 * MIB, PC).unwrap();
        for good in [
            window(MIB, 0, 0),
            window(MIB, 4096, 4096),
            window(2 * MIB + 1, 3, 5),
            window(14 * MIB, MOST, MOST),
            window(16 * MIB, 0, 0),
            window(16 * MIB - 1, 1, 0),
            window(16 * MIB - 1, 0, 1),
        ] {
            assert!(memory.window(good).is_ok(), "{good:?}");
        }
        for bad in [
            window(0, 0, 0),
            window(MIB - 1, 1, 1),
            window(16 * MIB, 1, 0),
            window(16 * MIB, 0, 1),
            window(16 * MIB - 1, 1, 1),
            window(16 * MIB + 1, 0, 0),
            window(14 * MIB + 1, MOST, MOST),
            window(2 * MIB, MOST + 1, 0),
            window(2 * MIB, 0, MOST + 1),
            window(2 * MIB, u32::MAX, u32::MAX),
            window(u64::MAX, 0, 0),
            window(u64::MAX, 1, 0),
            window(u64::MAX - 10, 5, 20),
            window(u64::MAX - 1, u32::MAX, u32::MAX),
        ] {
            assert_eq!(memory.window(bad).err(), Some(Refused(bad)));
        }
    }

    #[test]
    fn memory_above_the_hole_is_none() {
        // Sparse: this takes no memory.
        let memory = GuestMemory::new(6144 * MIB, PC).unwrap();
        assert!(memory.window(window(2048 * MIB - 8192, 4096, 4096)).is_ok());
        for address in [2048 * MIB - 4096, 2048 * MIB, 3500 * MIB, 4096 * MIB, 5000 * MIB] {
            assert!(
                memory.window(window(address, 4096, 4096)).is_err(),
                "{address:#x}"
            );
        }
    }

    #[test]
    fn a_base_is_subtracted() {
        let base = 1024 * MIB;
        let ram = Ram {
            base,
            first: base,
            end: base + 4096 * MIB,
        };
        let memory = GuestMemory::new(4 * MIB, ram).unwrap();
        let window = |address| memory.window(window(address, 4, 4));
        assert!(window(base - 1).is_err());
        assert!(window(0).is_err());
        assert!(window(base + 4 * MIB - 7).is_err());
        window(base).unwrap().write(b"in").unwrap();
        window(base + 4 * MIB - 8).unwrap().write(b"last").unwrap();
        let mut bytes = [0; 4];
        memory.file.read_exact_at(&mut bytes, 4).unwrap();
        assert_eq!(&bytes, b"in\0\0");
        memory.file.read_exact_at(&mut bytes, 4 * MIB - 4).unwrap();
        assert_eq!(&bytes, b"last");
    }

    #[test]
    fn nothing_outside_of_the_window_is_touched() {
        let memory = GuestMemory::new(2 * MIB, PC).unwrap();
        memory.file.write_all_at(b"<output><input>", MIB + 0x100).unwrap();
        // The windows inside of the angle brackets.
        let window = memory.window(window(MIB + 0x101, 6, 8)).unwrap();
        let read = |offset, length| window.read(Span { offset, length });
        assert_eq!(read(0, 6).unwrap(), b"output");
        assert_eq!(read(5, 1).unwrap(), b"t");
        assert_eq!(read(6, 0).unwrap(), b"");
        for (offset, length) in [
            (0, 7),
            (6, 1),
            (7, 0),
            (1, u32::MAX),
            (u32::MAX, 1),
            (u32::MAX, u32::MAX),
        ] {
            assert!(!window.holds(Span { offset, length }));
            assert!(read(offset, length).is_err(), "{offset}, {length}");
        }
        assert_eq!(window.input(), 8);
        assert!(window.write(b"123456789").is_err());
        window.write(b"12345678").unwrap();
        window.write(b"").unwrap();
        let mut bytes = [0; 16];
        memory.file.read_exact_at(&mut bytes, MIB + 0x100).unwrap();
        assert_eq!(&bytes, b"<output12345678\0");
    }

    #[test]
    fn memory_keeps_its_size_and_takes_none() {
        use std::os::unix::fs::MetadataExt as _;
        let memory = GuestMemory::new(4096 * MIB, PC).unwrap();
        assert!(memory.file.set_len(0).is_err());
        assert!(memory.file.set_len(8192 * MIB).is_err());
        let metadata = memory.file.metadata().unwrap();
        assert_eq!((metadata.len(), metadata.blocks()), (4096 * MIB, 0));
    }

    #[test]
    fn sizes_are_whole_mebibytes() {
        assert_eq!(rounded(1), MIB);
        assert_eq!(rounded(MIB), MIB);
        assert_eq!(rounded(MIB + 1), 2 * MIB);
    }
}
