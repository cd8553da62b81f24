//! Boots QEMU's `virt` machines of aarch64 and riscv64: what the loader says when it cannot boot.
//!
//! Needs QEMU, so not run by a plain `cargo test`: use `cargo test --test virt -- --include-ignored`. That it does boot
//! is shown by `tests/vm`, with every guest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use test_qemu::{Arch, Qemu, status_of};

/// Seconds for one VM; a boot takes a few.
const PATIENCE: u32 = 60;

/// What differs between the two.
struct Loader {
    arch: Arch,
    target: &'static str,
    /// Whether it is booted as a flat image.
    flat: bool,
}

const AARCH64: Loader = Loader {
    arch: Arch::Aarch64,
    target: "aarch64-unknown-none-softfloat",
    flat: true,
};

const RISCV64: Loader = Loader {
    arch: Arch::Riscv64,
    target: "riscv64gc-unknown-none-elf",
    flat: false,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Standard output of a command that succeeds.
fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().expect("it starts");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).expect("text")
}

impl Loader {
    /// Builds the loader without an application, as Cargo.toml and `xtask/src/image.rs` do.
    fn build(&self) -> PathBuf {
        let target = folder().join("bare-metal");
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args([
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--bin",
                "hermit-loader",
            ])
            .args(["--target", self.target, "--target-dir"])
            .arg(&target)
            .args([
                "-Zbuild-std=core,alloc",
                "-Zbuild-std-features=compiler-builtins-mem",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("HERMIT_WASM_APP");
        output(&mut cargo);
        let elf = target.join(self.target).join("release/hermit-loader");
        if !self.flat {
            return elf;
        }
        let sysroot = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"])).trim());
        let host = output(Command::new("rustc").args(["--print", "host-tuple"]));
        let flat = elf.with_extension("flat");
        output(
            Command::new(
                sysroot
                    .join("lib/rustlib")
                    .join(host.trim())
                    .join("bin/rust-objcopy"),
            )
            .env("LD_LIBRARY_PATH", sysroot.join("lib"))
            .args(["-O", "binary"])
            .arg(elf)
            .arg(&flat),
        );
        flat
    }

    /// The usual machine, which boots what was built.
    fn machine<'a>(&self, built: &'a Path) -> Qemu<'a> {
        Qemu {
            kernel: Some(built),
            ..Qemu::usual(self.arch)
        }
    }

    /// The loader's one line, without its name.
    #[track_caller]
    fn fail(&self, machine: Qemu<'_>) -> String {
        let output = machine
            .limited(PATIENCE)
            .stdin(Stdio::null())
            .output()
            .expect("QEMU starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(status_of(self.arch, 1)), "{text}");
        let (before, line) = text
            .split_once("hermit-loader: ")
            .unwrap_or_else(|| panic!("{text}"));
        // The firmware of riscv64 introduces itself.
        assert!(!self.flat || before.is_empty(), "{text}");
        let line = line
            .strip_suffix('\n')
            .expect("a whole line")
            .trim_end_matches('\r');
        assert!(!line.contains('\n'), "more than one line: {text}");
        line.to_owned()
    }
}

#[test]
#[ignore = "boots VMs"]
fn each_failure_is_one_line() {
    for loader in [AARCH64, RISCV64] {
        let built = loader.build();
        let path = folder().join(format!("module-{}", loader.arch.name()));
        let fail = |module: Option<&[u8]>| {
            if let Some(bytes) = module {
                fs::write(&path, bytes).expect("the folder can be written to");
            }
            loader.fail(Qemu {
                initrd: module.map(|_| path.as_path()),
                ..loader.machine(&built)
            })
        };
        let line = fail(None);
        assert!(
            line.contains("no application inside this loader and no boot module"),
            "{line}"
        );
        let mut foreign = vec![0; 64];
        foreign[..6].copy_from_slice(b"\x7fELF\x02\x01");
        foreign[18] = 62;
        for (module, reason) in [
            (b"\0asm\x01\0\0\0".as_slice(), "it is a WebAssembly module"),
            (b"#!/bin/sh\n", "it is not an ELF file"),
            (&foreign, "it is built for x86_64"),
            (&foreign[..20], "it is truncated or damaged"),
        ] {
            let line = fail(Some(module));
            assert!(
                line.starts_with("cannot load the application in the boot module (") && line.contains(reason),
                "{line}"
            );
        }
    }
}

#[test]
#[ignore = "boots VMs"]
fn machines_of_arm_that_the_kernel_does_not_drive() {
    let built = AARCH64.build();
    for (machine, reason) in [
        ("virt,gic-version=2", "the machine has no GICv3"),
        ("virt", "the machine has no GICv3"),
        ("virt,gic-version=3,virtualization=on", "started in EL2"),
    ] {
        let line = AARCH64.fail(Qemu {
            machine,
            ..AARCH64.machine(&built)
        });
        assert!(line.contains(reason), "{machine}: {line}");
    }
}
