//! A uhyve of the tests' own.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use uhyve_interface::v2::parameters::{
    FileAttr, O_CREAT, O_DIRECTORY, O_EXCL, O_RDWR, O_TRUNC, O_WRONLY, Timespec,
};
use wasi_core::Errno;

use super::super::{Host, Seek, UhyveFs, errno};

/// Where the machine sees the directory. `/root` itself exists in the mapping only.
pub(super) const MAPPED: &str = "/root/d";

pub(super) enum Open {
    File(File),
    /// Records, and how many were read.
    Directory(Vec<Vec<u8>>, usize),
    /// The same of a directory of uhyve's own, whose position counts bytes.
    MadeUp(Vec<Vec<u8>>, usize),
}

/// What a test may look at while the file system has the host.
#[derive(Default)]
pub(super) struct State {
    open: BTreeMap<i32, Open>,
    next: i32,
    /// How many bytes one read gives at most.
    pub(super) most: usize,
}

#[derive(Clone)]
pub(super) struct Fake {
    pub(super) directory: PathBuf,
    pub(super) state: Rc<RefCell<State>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        if Rc::strong_count(&self.state) == 1 {
            fs::remove_dir_all(&self.directory).ok();
        }
    }
}

fn record(name: &str, ino: u64, position: u64, kind: u8) -> Vec<u8> {
    let length = (19 + name.len() + 1).next_multiple_of(8);
    let mut record = Vec::new();
    record.extend(ino.to_le_bytes());
    record.extend(position.to_le_bytes());
    record.extend(u16::try_from(length).unwrap().to_le_bytes());
    record.push(kind);
    record.extend(name.as_bytes());
    record.resize(length, 0);
    record
}

/// uhyve's errno for one of the system's.
fn error(error: io::Error) -> Errno {
    match error.raw_os_error() {
        Some(number @ (2 | 5 | 9 | 17 | 21 | 22)) => errno((-number).into()),
        _ => errno(-1),
    }
}

impl Fake {
    pub(super) fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("uhyve-fs-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let state = State {
            next: 3,
            most: usize::MAX,
            ..State::default()
        };
        Self {
            directory,
            state: Rc::new(RefCell::new(state)),
        }
    }

    pub(super) fn fs(&self) -> UhyveFs<Self> {
        UhyveFs::new(self.clone(), MAPPED).unwrap()
    }

    /// The host's path; `None` in directories of the mapping's own.
    fn host(&self, path: &[u8]) -> Result<Option<PathBuf>, Errno> {
        let path = core::str::from_utf8(path).unwrap();
        assert!(
            path.starts_with('/') && !path.contains("//") && !path.contains("/../"),
            "{path}"
        );
        match path.strip_prefix(MAPPED) {
            Some("") => Ok(Some(self.directory.clone())),
            Some(rest) if rest.starts_with('/') => Ok(Some(self.directory.join(&rest[1..]))),
            _ if matches!(path, "/" | "/root") => Ok(None),
            _ => Err(Errno::NOENT),
        }
    }

    fn insert(&mut self, open: Open) -> i32 {
        let mut state = self.state.borrow_mut();
        let fd = state.next;
        state.next += 1;
        state.open.insert(fd, open);
        fd
    }

    pub(super) fn open_count(&self) -> usize {
        self.state.borrow().open.len()
    }
}

fn attributes(metadata: &fs::Metadata) -> FileAttr {
    FileAttr {
        st_dev: metadata.dev(),
        st_ino: metadata.ino(),
        st_nlink: metadata.nlink(),
        st_mode: metadata.mode(),
        st_size: metadata.len().try_into().unwrap(),
        st_mtim: Timespec {
            tv_sec: metadata.mtime(),
            tv_nsec: metadata.mtime_nsec().try_into().unwrap(),
        },
        ..FileAttr::default()
    }
}

impl Host for Fake {
    fn open(&mut self, path: &[u8], flags: i32) -> Result<i32, Errno> {
        let Some(path) = self.host(path)? else {
            assert_ne!(flags & O_DIRECTORY, 0);
            let name = if path == b"/" { "root" } else { "d" };
            return Ok(self.insert(Open::MadeUp(vec![record(name, 1, 0, 4)], 0)));
        };
        if flags & O_DIRECTORY != 0 {
            let mut records = vec![record(".", 1, 1, 4), record("..", 2, 2, 4)];
            for entry in fs::read_dir(path).map_err(error)? {
                let entry = entry.unwrap();
                let position = u64::try_from(records.len()).unwrap() + 1;
                let kind = match entry.file_type().unwrap() {
                    kind if kind.is_dir() => 4,
                    kind if kind.is_symlink() => 10,
                    // Not every file system of the host tells.
                    _ => 0,
                };
                let metadata = entry.metadata().unwrap();
                records.push(record(
                    entry.file_name().to_str().unwrap(),
                    metadata.ino(),
                    position,
                    kind,
                ));
            }
            return Ok(self.insert(Open::Directory(records, 0)));
        }
        let file = OpenOptions::new()
            .read(flags & O_WRONLY == 0)
            .write(flags & (O_WRONLY | O_RDWR) != 0)
            .truncate(flags & O_TRUNC != 0)
            .create_new(flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL)
            .open(path)
            .map_err(error)?;
        Ok(self.insert(Open::File(file)))
    }

    fn close(&mut self, fd: i32) {
        assert!(
            self.state.borrow_mut().open.remove(&fd).is_some(),
            "{fd} is not open"
        );
    }

    fn read(&mut self, fd: i32, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut state = self.state.borrow_mut();
        let most = buf.len().min(state.most);
        match state.open.get_mut(&fd) {
            Some(Open::File(file)) => file.read(&mut buf[..most]).map_err(error),
            _ => Err(Errno::BADF),
        }
    }

    fn write(&mut self, fd: i32, buf: &[u8]) -> Result<usize, Errno> {
        match self.state.borrow_mut().open.get_mut(&fd) {
            Some(Open::File(file)) => Ok(file.write(buf).expect("uhyve ends if the host cannot write")),
            _ => panic!("uhyve ends if a descriptor cannot be written"),
        }
    }

    fn seek(&mut self, fd: i32, to: Seek) -> Result<u64, Errno> {
        match (self.state.borrow_mut().open.get_mut(&fd), to) {
            (Some(Open::File(file)), Seek::Start(offset)) => file
                .seek(SeekFrom::Start(offset.try_into().unwrap()))
                .map_err(error),
            (Some(Open::File(file)), Seek::End) => file.seek(SeekFrom::End(0)).map_err(error),
            (Some(Open::Directory(_, at)), Seek::Start(offset)) => {
                *at = offset.try_into().unwrap();
                Ok(0)
            }
            (Some(Open::MadeUp(records, at)), Seek::Start(offset)) => {
                let mut left = usize::try_from(offset).unwrap();
                *at = records
                    .iter()
                    .take_while(|record| {
                        let before = left >= record.len();
                        left = left.saturating_sub(record.len());
                        before
                    })
                    .count();
                Ok(0)
            }
            _ => Err(Errno::BADF),
        }
    }

    fn entries(&mut self, fd: i32, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut state = self.state.borrow_mut();
        let Some(Open::Directory(records, at) | Open::MadeUp(records, at)) = state.open.get_mut(&fd) else {
            return Err(Errno::BADF);
        };
        let mut length = 0;
        for record in &records[(*at).min(records.len())..] {
            // Three at most, so that several calls are needed.
            if length + record.len() > buf.len().min(100) {
                break;
            }
            buf[length..length + record.len()].copy_from_slice(record);
            length += record.len();
            *at += 1;
        }
        Ok(length)
    }

    fn stat(&mut self, path: &[u8]) -> Result<FileAttr, Errno> {
        match self.host(path)? {
            Some(path) => fs::symlink_metadata(path).map(|m| attributes(&m)).map_err(error),
            None => Ok(FileAttr {
                st_mode: 0o040_755,
                st_nlink: 2,
                ..FileAttr::default()
            }),
        }
    }

    fn fstat(&mut self, fd: i32) -> Result<FileAttr, Errno> {
        match self.state.borrow().open.get(&fd) {
            Some(Open::File(file)) => file.metadata().map(|m| attributes(&m)).map_err(error),
            Some(Open::Directory(..) | Open::MadeUp(..)) => Ok(FileAttr {
                st_mode: 0o040_755,
                ..FileAttr::default()
            }),
            None => Err(Errno::BADF),
        }
    }

    fn make_dir(&mut self, path: &[u8]) -> Result<(), Errno> {
        fs::create_dir(self.host(path)?.expect("a directory of the host")).map_err(error)
    }

    fn unlink(&mut self, path: &[u8]) -> Result<(), Errno> {
        fs::remove_file(self.host(path)?.expect("a directory of the host")).map_err(error)
    }
}
