//! A small Linux of Debian's cloud kernel and one program of our own, to be compared with.
//!
//! It has no user's programs but one of `xtask/bench/`, linked statically, as its first process; all that is in its
//! file system besides are the kernel's own modules and what that program reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::toolchain::{output, root, run};

/// Its command line. Nothing defends against other programs: there are none.
pub(super) const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off";

/// Kernel and file system.
pub(super) struct Linux {
    pub(super) kernel: PathBuf,
    pub(super) archive: PathBuf,
}

impl Linux {
    /// Makes the file system from what `scripts/setup` has unpacked; or says why it cannot be made. `program` is the
    /// C file of the first process; of `modules` those that the kernel has as files are there, and `/modules/order`
    /// names them in their order; of `files`, what is said.
    pub(super) fn prepare(
        work: &Path,
        program: &str,
        modules: &[&str],
        files: &[(&str, &str)],
    ) -> Result<Self> {
        let unpacked = root().join("target/nested/debian");
        let kernel = fs::read_dir(unpacked.join("boot"))
            .ok()
            .and_then(|entries| {
                entries.flatten().map(|entry| entry.path()).find(|path| {
                    path.file_name()
                        .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
                })
            })
            .with_context(|| {
                format!(
                    "Debian's cloud kernel is not below {} (scripts/setup --for bench downloads it with apt)",
                    unpacked.display()
                )
            })?;
        let init = work.join("init");
        run(Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-static", "-o"])
            .arg(&init)
            .arg(root().join("xtask/bench").join(program)))?;

        let mut cpio = Cpio::default();
        for directory in ["dev", "modules", "share"] {
            cpio.add(directory, Cpio::DIRECTORY, (0, 0), &[])?;
        }
        cpio.add("dev/console", Cpio::CHARACTER_DEVICE, (5, 1), &[])?;
        cpio.add("init", Cpio::PROGRAM, (0, 0), &fs::read(&init)?)?;
        let mut order = String::new();
        for (name, content) in of_kernel(&unpacked, modules)? {
            let path = format!("modules/{name}");
            order.push_str(&format!("/{path}\n"));
            cpio.add(&path, Cpio::FILE, (0, 0), &content)?;
        }
        cpio.add("modules/order", Cpio::FILE, (0, 0), order.as_bytes())?;
        for (name, content) in files {
            cpio.add(name, Cpio::FILE, (0, 0), content.as_bytes())?;
        }
        let archive = work.join("initramfs.cpio");
        fs::write(&archive, cpio.finish()?)?;
        Ok(Self { kernel, archive })
    }
}

/// Those of the modules that the kernel has as files: names, and contents, not compressed. Which of them are part of
/// the kernel itself differs from version to version.
fn of_kernel(unpacked: &Path, modules: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
    let place = ["lib/modules", "usr/lib/modules"]
        .map(|place| unpacked.join(place))
        .into_iter()
        .find(|path| path.exists())
        .context("the kernel has no modules")?;
    let listing = output(Command::new("find").arg(&place).args(["-name", "*.ko*"]))?;
    let mut found = Vec::new();
    for name in modules {
        let Some(path) = listing.lines().map(Path::new).find(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.split_once(".ko").is_some_and(|(stem, _)| stem == *name)
        }) else {
            continue;
        };
        let content = match path.extension().and_then(|extension| extension.to_str()) {
            Some("ko") => fs::read(path)?,
            Some("xz") => {
                let unpacked = Command::new("xz")
                    .arg("-dc")
                    .arg(path)
                    .output()
                    .context("cannot start xz")?;
                ensure!(unpacked.status.success(), "xz cannot unpack {}", path.display());
                unpacked.stdout
            }
            _ => bail!("{}: packed in a way that is not known here", path.display()),
        };
        found.push((format!("{name}.ko"), content));
    }
    Ok(found)
}

/// An archive as the kernel unpacks it: cpio's format `newc`, of `Documentation/driver-api/early-userspace`. Written
/// here because device nodes on disk need root.
#[derive(Default)]
struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

impl Cpio {
    const FILE: u32 = 0o100_644;
    const PROGRAM: u32 = 0o100_755;
    const DIRECTORY: u32 = 0o040_755;
    const CHARACTER_DEVICE: u32 = 0o020_600;

    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        self.entries += 1;
        let fields = [
            self.entries,
            mode,
            0, // user
            0, // group
            1, // links
            0, // time
            u32::try_from(content.len())?,
            0, // the device that it lies on
            0,
            device.0,
            device.1,
            u32::try_from(name.len())? + 1,
            0, // checksum
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        self.add("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_laid_out_as_the_kernel_reads_it() {
        let mut cpio = Cpio::default();
        cpio.add("dev/console", Cpio::CHARACTER_DEVICE, (5, 1), &[])
            .unwrap();
        cpio.add("f", Cpio::FILE, (0, 0), b"abcde").unwrap();
        let bytes = cpio.finish().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        // 110 bytes of header and the name, to a multiple of four.
        let (first, rest) = text.split_at(124);
        assert!(first.starts_with("0707010000000100002180"), "{first}");
        assert!(
            first.ends_with("00000005000000010000000c00000000dev/console\0\0\0"),
            "{first}"
        );
        let (second, end) = rest.split_at(112 + 8);
        assert!(second.starts_with("07070100000002000081a4"), "{second}");
        assert!(second.contains("00000005"), "{second}");
        assert!(second.ends_with("f\0abcde\0\0\0"), "{second}");
        assert!(end.contains("TRAILER!!!\0"), "{end}");
    }
}
