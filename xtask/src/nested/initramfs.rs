//! The small Linux's first and only file system: busybox, the modules for KVM, the programs under test, the job.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Tools;
use super::linux::Packages;
use crate::toolchain::{output, run};

/// The modules that make /dev/kvm with AMD's extensions, in the order in which they need each other. Which of them are
/// part of the kernel itself differs from version to version.
const MODULES: [&str; 5] = ["rng-core", "ccp", "irqbypass", "kvm", "kvm-amd"];

/// The first process. The console is the first serial line, the report goes over the second.
const INIT: &str = r"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin HOME=/root
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
while read -r module; do insmod $module; done </modules/order
# uhyve's isolation wants this to exist, also where there is no network.
mkdir -p /dev/net; [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
stty -F /dev/ttyS1 raw -echo
sh /work/job /work >/dev/ttyS1 2>/dev/console
poweroff -f
";

/// QEMU's data that a microvm, a q35 and a pc need; the directories are those that Debian's QEMU looks into.
const FIRMWARE: [&str; 7] = [
    "/usr/share/qemu/bios-microvm.bin",
    "/usr/share/qemu/qboot.rom",
    "/usr/share/qemu/pvh.bin",
    "/usr/share/qemu/linuxboot_dma.bin",
    "/usr/share/qemu/kvmvapic.bin",
    "/usr/share/seabios/bios-256k.bin",
    "/usr/share/seabios/bios-microvm.bin",
];

/// Makes the archive and returns its path.
pub(super) fn build(packages: &Packages, work: &Path, tools: &Tools, out: &Path) -> Result<PathBuf> {
    let tree = out.join("initramfs");
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    }
    for directory in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "modules"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    copy(&packages.busybox, &tree.join("bin/busybox"))?;
    symlink("busybox", tree.join("bin/sh"))?;
    fs::write(tree.join("init"), INIT)?;
    fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755))?;
    modules(packages, &tree)?;
    for (program, target) in [
        (&tools.launcher, tree.join("bin/hermit-wasm")),
        (&tools.uhyve, tree.join("bin/uhyve")),
        // It looks for its data relative to where it lies.
        (&tools.qemu, below(&tree, &tools.qemu)),
    ] {
        copy(program, &target)?;
        libraries(program, &tree)?;
    }
    for firmware in FIRMWARE.map(Path::new) {
        if firmware.exists() {
            copy(firmware, &below(&tree, firmware))?;
        }
    }
    run(Command::new("cp").arg("-a").arg(work).arg(tree.join("work")))?;
    pack(packages, &tree, &out.join("initramfs.cpio"))
}

/// `path` as the small Linux will see it.
fn below(tree: &Path, path: &Path) -> PathBuf {
    tree.join(path.strip_prefix("/").unwrap_or(path))
}

/// Copies the modules, uncompressed, and notes their order.
fn modules(packages: &Packages, tree: &Path) -> Result<()> {
    let listing = output(
        Command::new("find")
            .arg(&packages.modules)
            .args(["-name", "*.ko*"]),
    )?;
    let mut order = String::new();
    for name in MODULES {
        let Some(path) = listing.lines().map(Path::new).find(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.split_once(".ko").is_some_and(|(stem, _)| stem == name)
        }) else {
            continue;
        };
        let target = tree.join("modules").join(format!("{name}.ko"));
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("ko") => copy(path, &target)?,
            Some("xz") => {
                let status = Command::new("xz")
                    .arg("-dc")
                    .arg(path)
                    .stdout(fs::File::create(&target)?)
                    .status()
                    .context("cannot start xz")?;
                if !status.success() {
                    bail!("xz cannot unpack {}", path.display());
                }
            }
            _ => bail!("{}: packed in a way that is not known here", path.display()),
        }
        order.push_str(&format!("/modules/{name}.ko\n"));
    }
    fs::write(tree.join("modules/order"), order)?;
    Ok(())
}

/// Copies the shared libraries of a program to where it looks for them.
fn libraries(program: &Path, tree: &Path) -> Result<()> {
    let listing = Command::new("ldd")
        .arg(program)
        .stderr(Stdio::null())
        .output()
        .context("cannot start ldd")?;
    // It fails for a program that is linked statically, which needs nothing.
    for library in String::from_utf8_lossy(&listing.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(Path::new)
    {
        let target = below(tree, library);
        if !target.exists() {
            copy(library, &target)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Packs the tree. Not compressed: unpacking under translation would take longer than reading more.
fn pack(packages: &Packages, tree: &Path, archive: &Path) -> Result<PathBuf> {
    let names = output(Command::new("find").arg(".").current_dir(tree))?;
    let list = archive.with_extension("names");
    fs::write(&list, names)?;
    let status = Command::new(&packages.busybox)
        .args(["cpio", "-o", "-H", "newc"])
        .current_dir(tree)
        .stdin(fs::File::open(&list)?)
        .stdout(fs::File::create(archive)?)
        .stderr(Stdio::null())
        .status()
        .context("cannot start busybox")?;
    if !status.success() {
        bail!("busybox cannot pack {}", tree.display());
    }
    Ok(archive.to_path_buf())
}
