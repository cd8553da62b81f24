//! Operations on the data of files.

use arbitrary::{Arbitrary as _, Result, Unstructured};
use wasi_core::{
    Errno,
    fs::{FileSystem as _, Node},
};

use super::{
    Bench, MAX_SIZE,
    model::{Inode, Kind},
};

impl Bench {
    pub(super) fn file_step(&mut self, script: &mut Unstructured<'_>, what: u8) -> Result<()> {
        let Some(file) = self.any_open(script, |kind| matches!(kind, Kind::File(_)))? else {
            return Ok(());
        };
        let offset = offset(script)?;
        let len = usize::from(script.arbitrary::<u16>()?);
        // Mostly few: a long one takes its time in the model.
        let len = len >> (len % 16);
        let byte = u8::arbitrary(script)? | 1;
        let (time, room) = (self.time, self.limits.bytes - self.fs.used().bytes);
        let now = &mut || time;
        let Some(Inode {
            kind: Kind::File(data),
            ..
        }) = self.nodes.get_mut(&file.ino)
        else {
            return Ok(());
        };
        let changed;
        match what % 5 {
            0 | 1 => {
                let append = what >= 128;
                let buf = vec![byte; len];
                let (start, written) = if append {
                    let written = self.fs.append(file.handle, &buf, now).map(|(count, end)| {
                        assert_eq!(end, data.size + count as u64);
                        count
                    });
                    (data.size, written)
                } else {
                    (offset, self.fs.write(file.handle, offset, &buf, now))
                };
                let most = usize::try_from(MAX_SIZE.saturating_sub(start))
                    .expect("64 bits")
                    .min(len);
                match written {
                    Ok(count) => {
                        assert!(count <= most && (count > 0 || len == 0));
                        // A chunk of 64 KiB for each of the two that it may touch.
                        assert!(
                            count == most || room < 2 * 65536 + len as u64,
                            "{count} of {len} with {room} left"
                        );
                        data.write(start, &buf[..count]);
                    }
                    Err(Errno::FBIG) => assert!(most == 0 && len > 0),
                    Err(errno) => {
                        assert_eq!(errno, Errno::NOSPC);
                        assert!(len > 0 && most > 0 && room < 65536, "{room} left");
                    }
                }
                changed = written.is_ok();
            }
            2 => {
                let set = self.fs.set_size(file.handle, offset, now);
                assert_eq!(
                    set,
                    if offset > MAX_SIZE {
                        Err(Errno::FBIG)
                    } else {
                        Ok(())
                    }
                );
                changed = set.is_ok();
                if changed {
                    data.set_size(offset);
                }
            }
            3 if len > 0 => {
                let end = offset.checked_add(len as u64).filter(|end| *end <= MAX_SIZE);
                let done = self.fs.allocate(file.handle, offset, len as u64, now);
                changed = done.is_ok();
                match (done, end) {
                    (Ok(()), Some(end)) => {
                        data.size = data.size.max(end);
                        // What it was for: writing there does not fail.
                        let buf = vec![byte; len];
                        assert_eq!(self.fs.write(file.handle, offset, &buf, now), Ok(len));
                        data.write(offset, &buf);
                    }
                    (Err(Errno::NOSPC), Some(_)) => assert!(room < 2 * 65536 + len as u64, "{room} left"),
                    (Err(Errno::FBIG), None) => {}
                    other => panic!("{other:?}"),
                }
            }
            _ => {
                let mut buf = vec![0xee; len];
                let count = self
                    .fs
                    .read(file.handle, offset, &mut buf, now)
                    .expect("a file can be read");
                assert_eq!(buf[..count], data.read(offset, len), "{offset} {len}");
                assert!(buf[count..].iter().all(|byte| *byte == 0xee));
                if count > 0 {
                    self.accessed(file.ino);
                }
                return Ok(());
            }
        }
        if changed {
            self.touch(file.ino);
        }
        let stat = self.fs.stat(Node(file.handle.0)).expect("it is open");
        self.check_attributes(&stat, file.ino);
        Ok(())
    }

    /// An access is recorded if it is the first after a change.
    pub(super) fn accessed(&mut self, ino: u64) {
        let time = self.time;
        let node = self.nodes.get_mut(&ino).expect("it is there");
        if node.atim <= node.mtim || node.atim <= node.ctim {
            node.atim = time;
        }
    }
}

/// Where a file is read or written: mostly about the borders of the chunks that the file system keeps, or at the very
/// end of what is possible.
fn offset(script: &mut Unstructured<'_>) -> Result<u64> {
    let choice: u8 = script.arbitrary()?;
    let small = u64::from(choice);
    Ok(match choice {
        0..100 => small,
        100..150 => 65536 * (1 + small % 3) + small - 125,
        150..200 => u64::from(script.arbitrary::<u16>()?),
        200..220 => u64::from(script.arbitrary::<u32>()?),
        220..240 => MAX_SIZE + small - 235,
        _ => script.arbitrary()?,
    })
}
