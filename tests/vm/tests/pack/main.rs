//! What was packed, in machines: it runs from anywhere, stays beneath its ceiling without the launcher too, and gets the
//! devices that it was given and no others.
//!
//! Environment: `LAUNCHER`, `IMAGES`, `ARCH` and `ENGINE` of `environment.rs`.
//!
//! - `devices`: what the machine has, by QEMU's own list.

mod devices;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use sha2::{Digest as _, Sha256};
use test_qemu::{Arch, Engine, Qemu};
use vm_tests::{environment, virtiofsd};

/// Seconds after which a machine is ended. Far more than any takes.
const LIMIT: u32 = 120;

/// Prints its arguments, a line each, and then waits for the end of its input.
const GUEST: &str = r#"(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $at i32)
    (drop (call $sizes (i32.const 16) (i32.const 20)))
    (drop (call $get (i32.const 1024) (i32.const 8192)))
    ;; Each ends with a zero byte, which becomes a line's end.
    (loop $next
      (if (i32.eqz (i32.load8_u offset=8192 (local.get $at)))
        (then (i32.store8 offset=8192 (local.get $at) (i32.const 10))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.load (i32.const 20)))))
    (i32.store (i32.const 0) (i32.const 8192))
    (i32.store (i32.const 4) (local.get $at))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 0) (i32.const 512))
    (i32.store (i32.const 4) (i32.const 1))
    (loop $wait
      (if (i32.eqz (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (then (br_if $wait (i32.load (i32.const 8))))))))"#;

/// A test: its name, what it does, and whether it needs virtiofsd.
type Test = (&'static str, fn(Arch) -> Result<()>, bool);

const TESTS: &[Test] = &[
    ("executable", executable, false),
    ("image", image, false),
    ("application", application, false),
    ("ceiling", ceiling, false),
    ("wider", wider, false),
    ("uuid", uuid, false),
    ("limits", limits, false),
    ("damaged", damaged, false),
    ("identity", identity, false),
    ("clock", clock, false),
    ("devices/none", devices::none, false),
    ("devices/directory", devices::directory, true),
    ("devices/network", devices::network, false),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let arch = match environment::arch() {
        Ok(arch) => arch,
        Err(error) => {
            eprintln!("error: the tests of what was packed cannot begin: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let reason = virtiofsd::missing();
    if let Some(reason) = &reason {
        eprintln!("SKIP pack/devices/directory: {reason}");
    }
    let trials = TESTS.iter().map(|&(name, test, shares)| {
        let run = move || test(arch).map_err(|error| Failed::from(format!("{error:#}")));
        Trial::test(format!("pack/{name}"), run).with_ignored_flag(shares && reason.is_some())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The same without the wait: a serial line has no end.
fn without_input() -> String {
    GUEST.replace(
        "call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)",
        "i32.const 1",
    )
}

/// A directory of a test, removed at its end.
struct Work(PathBuf);

impl Work {
    fn new(arch: Arch, name: &str) -> Result<Self> {
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("hermit-wasm-pack-{id}-{}-{name}", arch.name()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        fs::write(path.join("guest.wat"), GUEST)?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Packs the guest for `arch`, with these flags.
    fn pack(&self, arch: Arch, name: &str, flags: &[&str]) -> Result<PathBuf> {
        self.pack_words(arch, name, &[flags, &["guest.wat", "packed"]].concat())
    }

    /// Packs what these words say, for the engine under test.
    fn pack_words(&self, arch: Arch, name: &str, words: &[&str]) -> Result<PathBuf> {
        let output = self.path(name);
        let made = Command::new(environment::needed(environment::LAUNCHER)?)
            .args(["pack", "--arch", arch.name(), "-o"])
            .arg(&output)
            .args(["--engine", environment::engine()?.name()])
            .args(words)
            .current_dir(&self.0)
            .output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(output)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A run of a packed file by the launcher, native code or not, without input.
fn run(arch: Arch, flags: &[&str], packed: &Path, words: &[&str]) -> Result<Output> {
    let mut command = Command::new(environment::needed(environment::LAUNCHER)?);
    command
        .args(["run", "--allow-precompiled", "--arch", arch.name()])
        .args(flags)
        .arg(packed)
        .args(words);
    Ok(command.stdin(Stdio::null()).output()?)
}

fn check(output: &Output, code: i32, expected: &str) -> Result<()> {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.code() == Some(code) && out == expected,
        "{}: printed {out:?}, and says {err:?}",
        output.status
    );
    Ok(())
}

/// It runs from another directory, and all words are the guest's.
fn executable(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "executable")?;
    let made = work.pack(arch, "guest", &["--format", "exe"])?;
    let directory = work.path("elsewhere");
    fs::create_dir(&directory)?;
    let moved = directory.join("moved");
    fs::rename(made, &moved)?;
    let output = Command::new(&moved)
        .args(["--version", "--", "-x", ""])
        .current_dir("/")
        .stdin(Stdio::null())
        .output()?;
    check(&output, 0, "guest.wat\npacked\n--version\n--\n-x\n\n")?;
    // Who wants less of it runs it as any packed file.
    let output = run(arch, &["-W", "max-output-bytes=5"], &moved, &["--version"])?;
    check(&output, 248, "guest")?;
    let output = run(arch, &["--tmpfs", "/"], &moved, &[])?;
    check(&output, 2, "")
}

/// A program of one file that a Hermitfile describes: it runs where it is made, and elsewhere, each time anew.
fn uuid(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "uuid")?;
    let folder = work.path("made");
    fs::create_dir(&folder)?;
    let hermitfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/hermitfiles/uuid/Hermitfile");
    let made = Command::new(environment::needed(environment::LAUNCHER)?)
        .args([
            "pack",
            "--arch",
            arch.name(),
            "--format",
            "exe",
            "-o",
            "uuid",
            "-f",
        ])
        .arg(&hermitfile)
        .current_dir(&folder)
        .output()?;
    check(&made, 0, "")?;
    let run = |folder: &Path| -> Result<String> {
        let output = Command::new("./uuid").current_dir(folder).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        check(&output, 0, &text)?;
        ensure!(is_random_uuid(&text), "{text:?}");
        Ok(text)
    };
    let first = run(&folder)?;
    let elsewhere = work.path("elsewhere");
    fs::create_dir(&elsewhere)?;
    fs::rename(folder.join("uuid"), elsewhere.join("uuid"))?;
    fs::remove_dir(&folder)?;
    ensure!(run(&elsewhere)? != first, "{first} twice");
    Ok(())
}

/// Whether this is a line with a UUID of version 4, in RFC 9562's form.
fn is_random_uuid(text: &str) -> bool {
    let shape = "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx\n";
    text.len() == shape.len()
        && shape.bytes().zip(text.bytes()).all(|(shape, byte)| match shape {
            b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            b'y' => b"89ab".contains(&byte),
            exact => byte == exact,
        })
}

/// What a machine of QEMU alone says that boots `kernel`, with a module.
fn boot(arch: Arch, kernel: &Path, module: Option<&Path>, line: &str) -> Result<String> {
    let qemu = Qemu {
        kernel: Some(kernel),
        initrd: module,
        append: Some(line),
        ..Qemu::usual(arch)
    };
    let output = qemu.limited(LIMIT).stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).replace('\r', ""))
}

/// A file of those that are built.
fn built(arch: Arch, name: &str) -> Result<PathBuf> {
    let name = match environment::engine()? {
        Engine::Interp => name.to_string(),
        Engine::Native => name.replace("hermit-wasm", "hermit-wasm-native"),
    };
    Ok(environment::needed(environment::IMAGES)?
        .join(arch.name())
        .join(name))
}

/// Boots the payload without the launcher.
fn plain(arch: Arch, payload: &Path, line: &str) -> Result<String> {
    boot(arch, &built(arch, "hermit-wasm.img")?, Some(payload), line)
}

/// It boots by itself, is a ceiling too, and nothing of it runs where it is damaged.
fn image(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "image")?;
    fs::write(work.path("guest.wat"), without_input())?;
    let image = work.pack(arch, "guest.img", &["--format", "image"])?;
    let said = boot(arch, &image, None, "-- -- more")?;
    ensure!(said.contains("guest.wat\npacked\nmore\n"), "{said:?}");
    let said = boot(arch, &image, None, "-- --env A=1")?;
    ensure!(
        said.contains("exceeds what was packed") && !said.contains("guest.wat"),
        "{said:?}"
    );
    let mut bytes = fs::read(&image)?;
    let module = bytes.windows(4).rposition(|bytes| bytes == b"\0asm");
    bytes[module.context("the image has no module")? + 40] ^= 4;
    let damaged = work.path("damaged.img");
    fs::write(&damaged, bytes)?;
    let said = boot(arch, &damaged, None, "--")?;
    ensure!(
        said.contains("its digest does not match") && !said.contains("guest.wat"),
        "{said:?}"
    );
    Ok(())
}

/// A Hermit loader that is given it boots it.
fn application(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "application")?;
    fs::write(work.path("guest.wat"), without_input())?;
    let application = work.pack(arch, "guest.app", &["--format", "app"])?;
    let loader = environment::needed(environment::IMAGES)?
        .join(arch.name())
        .join("hermit-loader");
    let said = boot(arch, &loader, Some(&application), "-- -- more")?;
    ensure!(said.contains("guest.wat\npacked\nmore\n"), "{said:?}");
    Ok(())
}

/// The application enforces the ceiling, whoever types the kernel command line.
fn ceiling(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "ceiling")?;
    let payload = work.pack(arch, "guest.tar", &[])?;
    for words in [
        "--tmpfs /",
        "--env A=1",
        "--share any::/",
        "--invoke other",
        "--argv0 other",
    ] {
        let said = plain(arch, &payload, &format!("-- {words}"))?;
        ensure!(
            said.contains("exceeds what was packed") && !said.contains("guest.wat"),
            "{words}: {said:?}"
        );
    }
    check(&run(arch, &["--tmpfs", "/"], &payload, &[])?, 2, "")?;
    let output = run(arch, &["--argv0", "guest.wat"], &payload, &["more"])?;
    check(&output, 0, "guest.wat\npacked\nmore\n")?;

    let payload = work.pack(arch, "sized.tar", &["--tmpfs", "/tmp,size=64k"])?;
    for (size, code, printed) in [("4k", 0, "guest.wat\npacked\n"), ("1M", 2, "")] {
        let output = run(arch, &["--tmpfs", &format!("/tmp,size={size}")], &payload, &[])?;
        check(&output, code, printed).context(size)?;
    }
    Ok(())
}

/// A time limit that was packed counts by the machine's own clock.
fn clock(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "clock")?;
    let payload = work.pack(arch, "guest.tar", &["-W", "timeout=60s"])?;
    let said = plain(arch, &payload, "-freq 1 --")?;
    ensure!(
        said.contains("-freq exceeds what was packed") && !said.contains("guest.wat"),
        "{said:?}"
    );
    check(&run(arch, &[], &payload, &[])?, 0, "guest.wat\npacked\n")
}

/// What says that it may be widened is given more, by whoever types the kernel command line, and by flags.
fn wider(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "wider")?;
    fs::write(work.path("guest.wat"), without_input())?;
    let file = work.path("Hermitfile");
    fs::write(&file, "FROM guest.wat\nARGV packed\nFUEL 1\nMAY_BE_WIDENED\n")?;
    let payload = work.pack_words(arch, "guest.tar", &["-f", "Hermitfile"])?;
    let run = |flags: &[&str]| run(arch, flags, &payload, &["more"]);
    check(&run(&[])?, 241, "")?;
    let flags = [
        "-W",
        "fuel=1000000",
        "--tmpfs",
        "/",
        "--argv0",
        "other",
        "--env",
        "A=1",
    ];
    check(&run(&flags)?, 0, "other\npacked\nmore\n")?;
    let words = "-- --limit fuel=1000000 --env A=1 --tmpfs / --argv0 other";
    let said = plain(arch, &payload, words)?;
    ensure!(said.contains("other"), "{said:?}");
    let said = plain(arch, &payload, "-- -f tag/other.wasm")?;
    ensure!(said.contains("exceeds what was packed"), "{said:?}");
    Ok(())
}

/// Of two limits the lower one holds, whoever types the kernel command line.
fn limits(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "limits")?;
    fs::write(
        work.path("Hermitfile"),
        "FROM guest.wat\nARGV [\"packed\"]\nOUTPUT_BYTES 12\n",
    )?;
    let payload = work.pack_words(arch, "guest.tar", &["-f", "Hermitfile"])?;
    for (given, holds, printed) in [(5, 5, "guest"), (1000, 12, "guest.wat\npa")] {
        let limit = format!("max-output-bytes={given}");
        let message = format!("reached its output limit ({holds} bytes)");
        let said = plain(arch, &payload, &format!("-- --limit {limit}"))?;
        ensure!(
            said.contains(&message) && said.contains(&format!("{printed}hermit-wasm: ")),
            "{limit}: {said:?}"
        );
        let output = run(arch, &["-W", &limit], &payload, &[])?;
        check(&output, 248, printed)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains(&message), "{limit}: {said:?}");
    }
    Ok(())
}

/// A bit that is different is found in the machine, before anything runs.
fn damaged(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "damaged")?;
    let payload = work.pack(arch, "guest.tar", &[])?;
    let mut bytes = fs::read(&payload)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&payload, bytes)?;
    let said = plain(arch, &payload, "--")?;
    ensure!(
        said.contains("its digest does not match") && !said.contains("guest.wat"),
        "{said:?}"
    );
    Ok(())
}

/// What `inspect` says runs is what a run says it hands over, and the image is the one that was built.
fn identity(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "identity")?;
    let payload = work.pack(arch, "guest.tar", &[])?;
    let seen = Command::new(environment::needed(environment::LAUNCHER)?)
        .args(["inspect", "--arch", arch.name()])
        .arg(&payload)
        .output()?;
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    let says = |level: &str| -> Result<String> {
        let output = run(arch, &["--log", level], &payload, &[])?;
        check(&output, 0, "guest.wat\npacked\n")?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let digest = |bytes: &[u8]| -> String {
        Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    let (image, bytes) = (fs::read(built(arch, "hermit-wasm.img")?)?, fs::read(&payload)?);
    let said = says("info")?;
    for bytes in [&image, &bytes, &[image.as_slice(), bytes.as_slice()].concat()] {
        let digest = digest(bytes);
        ensure!(said.contains(&digest), "{digest}, of a run: {said}");
        ensure!(seen.contains(&digest), "{digest}, by inspect: {seen}");
    }
    let said = says("warn")?;
    ensure!(!said.contains("SHA-256"), "nobody asked for it: {said}");
    Ok(())
}
