//! Boots VMs: what the loader hands over, on every machine we support, and what it says when it cannot boot.
//!
//! Needs QEMU, so not run by a plain `cargo test`: use `cargo test --test boot -- --include-ignored`. The application
//! is the probe, which checks the hand-over from inside and prints what it was given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use test_qemu::{Arch, Qemu, status_of};

/// Seconds for one VM; a boot takes well under one.
const PATIENCE: u32 = 60;
const MACHINES: [&str; 4] = ["pc", "q35", "microvm", "microvm,acpi=off"];

/// What is booted.
struct Files {
    folder: PathBuf,
    probe: PathBuf,
    /// The loader without an application.
    plain: PathBuf,
    /// The loader with the probe inside.
    image: PathBuf,
}

fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let probe = build(&folder, "hermit-loader-probe", "hermit-loader-probe", None);
        let plain = build(&folder, "hermit-wasm-loader", "hermit-loader", None);
        let image = build(&folder, "hermit-wasm-loader", "hermit-loader", Some(&probe));
        Files {
            folder,
            probe,
            plain,
            image,
        }
    })
}

/// Builds a program for bare metal, as Cargo.toml says.
fn build(folder: &Path, package: &str, program: &str, application: Option<&Path>) -> PathBuf {
    let target = folder.join("bare-metal");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--package",
            package,
            "--bin",
            program,
        ])
        .args(["--target", "x86_64-unknown-none", "--target-dir"])
        .arg(&target)
        .args([
            "-Zbuild-std=core,alloc",
            "-Zbuild-std-features=compiler-builtins-mem",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("HERMIT_WASM_APP");
    if let Some(application) = application {
        cargo.env("HERMIT_WASM_APP", application);
    }
    assert!(
        cargo.status().expect("cargo runs").success(),
        "{program} does not build"
    );
    let copy = folder.join(if application.is_some() { "image" } else { program });
    fs::copy(target.join("x86_64-unknown-none/release").join(program), &copy).expect("the program was built");
    copy
}

/// The usual machine, which boots the image.
fn image<'a>() -> Qemu<'a> {
    Qemu {
        processor: "Skylake-Client",
        kernel: Some(&files().image),
        ..Qemu::usual(Arch::X86_64)
    }
}

/// The same with the plain loader.
fn plain(application: &Path) -> Qemu<'_> {
    Qemu {
        kernel: Some(&files().plain),
        initrd: Some(application),
        ..image()
    }
}

/// A machine that is booted to its end.
trait Boot {
    /// Exit status and console output.
    fn run(&self) -> (Option<i32>, String);
    /// What the probe says when all is well.
    fn succeed(&self) -> Report;
    /// The loader's one line, without its name.
    fn fail(&self) -> String;
}

impl Boot for Qemu<'_> {
    fn run(&self) -> (Option<i32>, String) {
        let output = self
            .limited(PATIENCE)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .expect("QEMU starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    }

    fn succeed(&self) -> Report {
        let (status, text) = self.run();
        let (machine, cpu, memory) = (self.machine, self.processor, self.memory);
        assert!(
            status == Some(status_of(Arch::X86_64, 0)) && text.ends_with("probe: ok\n"),
            "{machine}, {cpu}, {memory}: status {status:?}\n{text}"
        );
        Report(text)
    }

    #[track_caller]
    fn fail(&self) -> String {
        let (status, text) = self.run();
        let (machine, memory) = (self.machine, self.memory);
        assert_eq!(
            status,
            Some(status_of(Arch::X86_64, 1)),
            "{machine}, {memory}:\n{text}"
        );
        let line = text
            .strip_prefix("hermit-loader: ")
            .and_then(|line| line.strip_suffix('\n'));
        let line = line.unwrap_or_else(|| panic!("{machine}, {memory}: not the loader's line:\n{text}"));
        assert!(!line.contains('\n'), "more than one line:\n{text}");
        line.to_owned()
    }
}

/// The probe's lines.
struct Report(String);

impl Report {
    fn value(&self, name: &str) -> &str {
        let line = self
            .0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name}:\n{}", self.0))
    }

    fn total_mib(&self) -> u64 {
        self.value("total").parse::<u64>().expect("a number") >> 20
    }
}

/// Writes a file for a VM.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = files().folder.join(name);
    fs::write(&path, bytes).expect("the folder can be written to");
    path
}

fn described(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0_u64, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    format!("{} sum={sum:#x}", bytes.len())
}

fn probe_bytes() -> Vec<u8> {
    fs::read(&files().probe).expect("the probe was built")
}

#[test]
#[ignore = "boots VMs"]
fn all_machines_and_sizes_of_memory() {
    for machine in MACHINES {
        for (memory, least) in [
            ("16M", 13),
            ("32M", 29),
            ("64M", 61),
            ("256M", 253),
            ("3G", 3069),
            ("5G", 5117),
        ] {
            for vm in [plain(&files().probe), image()] {
                let report = Qemu {
                    machine,
                    memory,
                    append: Some("-- a 'b c'"),
                    ..vm
                }
                .succeed();
                assert_eq!(report.value("bootargs"), "Some(\"-- a 'b c'\")");
                assert_eq!(report.value("compatible"), "hermit,pvh");
                assert_eq!(report.value("module"), "none");
                assert!(report.value("image").starts_with("0x200000.."));
                assert!(report.total_mib() >= least, "{machine}, {memory}: {}", report.0);
            }
        }
    }
}

#[test]
#[ignore = "boots VMs"]
fn cpus_with_and_without_large_pages() {
    for processor in ["max", "qemu64,+fsgsbase", "Skylake-Client,-pdpe1gb", "EPYC"] {
        for memory in ["64M", "5G"] {
            Qemu {
                processor,
                memory,
                machine: "q35",
                ..image()
            }
            .succeed();
        }
    }
}

#[test]
#[ignore = "boots VMs"]
fn boot_modules_arrive_unchanged() {
    let bytes: Vec<u8> = (0..20_000_000_u32)
        .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    for len in [1, 181, 4095, 4096, 4097, bytes.len()] {
        let part = &bytes[..len];
        let module = file(&format!("module-{len}"), part);
        for machine in MACHINES {
            let report = Qemu {
                machine,
                initrd: Some(&module),
                ..image()
            }
            .succeed();
            assert_eq!(report.value("module"), described(part), "{machine}");
        }
    }
    let module = files().folder.join("module-20000000");
    for memory in ["32M", "5G"] {
        let report = Qemu {
            memory,
            initrd: Some(&module),
            ..image()
        }
        .succeed();
        assert_eq!(report.value("module"), described(&bytes));
    }
}

#[test]
#[ignore = "boots VMs"]
fn long_command_lines() {
    // On `pc` and `q35`, QEMU 7.2's boot ROM has room for 4 KiB.
    let longest = format!("-- {}", "x".repeat(4092));
    for machine in MACHINES {
        let report = Qemu {
            machine,
            append: Some(&longest),
            ..image()
        }
        .succeed();
        assert_eq!(report.value("bootargs"), format!("Some({longest:?})"));
    }
    let longer = format!("-- {}", "ü".repeat(30_000));
    let report = Qemu {
        append: Some(&longer),
        ..image()
    }
    .succeed();
    assert_eq!(report.value("bootargs"), format!("Some({longer:?})"));
}

#[test]
#[ignore = "boots VMs"]
fn without_an_application() {
    for machine in MACHINES {
        let line = Qemu {
            machine,
            kernel: Some(&files().plain),
            ..image()
        }
        .fail();
        assert!(
            line.contains("no application inside this loader and no boot module"),
            "{line}"
        );
    }
}

#[test]
#[ignore = "boots VMs"]
fn files_that_are_not_applications() {
    let probe = probe_bytes();
    let mut foreign = probe.clone();
    foreign[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let mut version = probe.clone();
    let note = version
        .windows(8)
        .position(|window| window == b"HERMIT\0\0")
        .expect("the probe has the note");
    version[note + 8] = 3;
    let mut nameless = probe.clone();
    nameless[note] = b'X';
    for (bytes, reason) in [
        (b"\0asm\x01\0\0\0".to_vec(), "it is a WebAssembly module"),
        (b"#!/bin/sh\nexit 0\n".to_vec(), "it is not an ELF file"),
        (foreign, "it is built for aarch64, this loader boots x86_64"),
        (version, "its kernel has entry version 3, this loader speaks 4"),
        (nameless, "it is not a Hermit application"),
        (
            fs::read(&files().image).expect("the image was built"),
            "it is not a Hermit application",
        ),
    ] {
        let path = file("not-an-application", &bytes);
        for machine in ["pc", "microvm"] {
            let line = Qemu {
                machine,
                ..plain(&path)
            }
            .fail();
            assert!(
                line.starts_with("cannot load the application in the boot module (") && line.contains(reason),
                "{line}"
            );
        }
    }
}

#[test]
#[ignore = "boots VMs"]
fn truncated_applications() {
    let probe = probe_bytes();
    for len in [4, 63, 64, 100, 600, 4096, probe.len() / 2, probe.len() - 1] {
        let path = file("truncated", &probe[..len]);
        let line = plain(&path).fail();
        assert!(
            line.contains(&format!("it is truncated or damaged: it has {len} bytes")),
            "{line}"
        );
    }
}

#[test]
#[ignore = "boots VMs"]
fn too_little_memory() {
    let module = file("large-module", &vec![7; 20_000_000]);
    for (memory, module, reason) in [
        ("3M", None, "too little memory"),
        ("22M", Some(module.as_path()), "too little memory"),
    ] {
        for machine in ["pc", "microvm"] {
            let line = Qemu {
                machine,
                memory,
                initrd: module,
                ..image()
            }
            .fail();
            assert!(line.contains(reason) && line.ends_with("M)"), "{line}");
        }
    }
    // Room for the file, but not beside it for the image.
    let mut probe = probe_bytes();
    probe.resize(1_000_000, 0);
    let path = file("application-with-a-tail", &probe);
    let line = Qemu {
        memory: "3M",
        ..plain(&path)
    }
    .fail();
    assert!(
        line.contains("cannot place the application") || line.contains("too little memory"),
        "{line}"
    );
}

#[test]
#[ignore = "boots VMs"]
fn processors_without_long_mode() {
    for (machine, processor) in [("pc", "qemu32"), ("microvm", "Skylake-Client,-nx")] {
        let line = Qemu {
            machine,
            processor,
            ..image()
        }
        .fail();
        assert!(line.contains("64-bit mode or no-execute pages"), "{line}");
    }
}
