//! A job: checks laid out in a directory, the script that runs them, and its report, one line for each check.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Tools;
use super::checks::Check;

/// The script that runs all checks of the directory `$1` and reports on standard output. POSIX shell; it runs under
/// busybox too.
const SCRIPT: &str = r#"
FILES=$1/files; export FILES
# Nothing that this user's runs left behind counts.
XDG_CACHE_HOME=$1/cache; export XDG_CACHE_HOME
# uhyve's warnings are no results.
RUST_LOG=error; export RUST_LOG
box=$1/box
for check in "$1"/checks/*; do
    rm -rf "$box"; mkdir -p "$box/here"; cd "$box/here"
    read -r start _ </proc/uptime
    timeout -s KILL "$(cat "$check/limit")" sh "$check/run" <"$check/stdin" >"$box/out" 2>"$box/err"
    status=$?
    read -r end _ </proc/uptime
    echo "check ${check##*/} $status $start $end .$(base64 <"$box/out" | tr -d '\n') .$(base64 <"$box/err" | tr -d '\n')"
done
cd /; rm -rf "$box"
echo "end of checks"
"#;

/// How one check went.
pub(super) struct Outcome {
    /// The check's name, as a directory's.
    pub(super) name: String,
    pub(super) status: i32,
    pub(super) seconds: f64,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Lays out the job in `work` and returns where the files for the checks lie.
pub(super) fn prepare(work: &Path, checks: &[Check], images: &Path, guests: &Path) -> Result<PathBuf> {
    if work.exists() {
        fs::remove_dir_all(work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    let files = work.join("files");
    fs::create_dir_all(&files)?;
    for name in ["hermit-wasm", "hermit-loader", "hermit-wasm.img"] {
        copy(&images.join(name), &files.join(name))?;
    }
    copy(&guests.join("hello-rust.wasm"), &files.join("hello-rust.wasm"))?;
    for check in checks {
        for guest in &check.guests {
            let name = format!("{guest}.wasm");
            if guest == LARGE {
                fs::write(files.join(name), large_module()?)?;
            } else {
                copy(&guests.join(&name), &files.join(&name))?;
            }
        }
        let directory = work.join("checks").join(check.file_name());
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("run"), &check.run)?;
        fs::write(directory.join("stdin"), check.input()?)?;
        fs::write(directory.join("limit"), check.limit.to_string())?;
    }
    fs::write(work.join("job"), SCRIPT)?;
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// A guest that is made here because of its size.
const LARGE: &str = "large";

/// The size of its data. With it the module is as large as the largest programs that people run, such as interpreters.
const LARGE_DATA: usize = 26 << 20;

/// A module of 26 MiB that checks its own data: it exits with 0 if every byte arrived, else with 1.
fn large_module() -> Result<Vec<u8>> {
    let words = LARGE_DATA / 8;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let (mut data, mut sum) = (Vec::with_capacity(LARGE_DATA), 0_u64);
    for _ in 0..words {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend(state.to_le_bytes());
        sum = sum.rotate_left(1) ^ state;
    }
    let mut module = wat::parse_str(format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") {pages})
            (func (export "_start") (local $at i32) (local $sum i64)
                (loop $next
                    (local.set $sum
                        (i64.xor (i64.rotl (local.get $sum) (i64.const 1)) (i64.load (local.get $at))))
                    (local.set $at (i32.add (local.get $at) (i32.const 8)))
                    (br_if $next (i32.lt_u (local.get $at) (i32.const {LARGE_DATA}))))
                (call $exit (i64.ne (local.get $sum) (i64.const {sum})))))"#,
        pages = LARGE_DATA / 65536,
    ))?;
    // The data section comes last, so it can be put behind the rest: one active segment at address 0.
    let mut section = vec![1, 0, 0x41, 0, 0x0b];
    leb128(&mut section, data.len());
    section.extend(data);
    module.push(11);
    leb128(&mut module, section.len());
    module.extend(section);
    Ok(module)
}

/// Appends an unsigned number in WebAssembly's encoding.
fn leb128(bytes: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Runs the job on this machine.
pub(super) fn run_here(work: &Path, tools: &Tools) -> Result<Vec<Outcome>> {
    let bin = work.join("bin");
    fs::create_dir_all(&bin)?;
    for (name, program) in [
        ("hermit-wasm", &tools.launcher),
        ("uhyve", &tools.uhyve),
        ("qemu-system-x86_64", &tools.qemu),
    ] {
        std::os::unix::fs::symlink(program, bin.join(name))?;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path)))?;
    let mut child = Command::new("sh")
        .arg(work.join("job"))
        .arg(work)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start sh")?;
    let outcomes = report(BufReader::new(child.stdout.take().context("no output")?))?;
    child.wait()?;
    Ok(outcomes)
}

/// Reads the job's report up to its last line, or the end if there is none.
pub(super) fn report(lines: impl BufRead) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for line in lines.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        if line == "end of checks" {
            break;
        }
        if let Some(fields) = line.strip_prefix("check ") {
            let outcome = parse(fields).with_context(|| format!("not a report of a check: {line}"))?;
            eprintln!("nested: {} has run, {:.1} s", outcome.name, outcome.seconds);
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

fn parse(fields: &str) -> Result<Outcome> {
    let fields: Vec<&str> = fields.split(' ').collect();
    let [name, status, start, end, stdout, stderr] = fields.as_slice() else {
        anyhow::bail!("{} fields instead of 6", fields.len());
    };
    let bytes = |field: &str| decode(field.strip_prefix('.').context("a field without its mark")?);
    Ok(Outcome {
        name: (*name).to_owned(),
        status: status.parse()?,
        seconds: end.parse::<f64>()? - start.parse::<f64>()?,
        stdout: bytes(stdout)?,
        stderr: bytes(stderr)?,
    })
}

/// Reads base64.
fn decode(text: &str) -> Result<Vec<u8>> {
    ensure!(text.len().is_multiple_of(4), "base64 that is cut off");
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0_u32);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => anyhow::bail!("not base64: {:?}", char::from(digit)),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff)?);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9vYmFy", b"foobar"),
            ("//8A", b"\xff\xff\0"),
        ] {
            assert_eq!(decode(text).unwrap(), bytes);
        }
        assert!(decode("Zg").is_err());
        assert!(decode("Z$==").is_err());
    }

    #[test]
    fn a_report_is_read_up_to_its_end() {
        let text = b"noise\ncheck uhyve.exit 42 1.50 2.75 .Zm8= .\r\nend of checks\ncheck no\n";
        let outcomes = report(&text[..]).unwrap();
        assert_eq!(outcomes.len(), 1);
        let outcome = &outcomes[0];
        assert_eq!((outcome.name.as_str(), outcome.status), ("uhyve.exit", 42));
        assert_eq!(
            (outcome.stdout.as_slice(), outcome.stderr.as_slice()),
            (&b"fo"[..], &b""[..])
        );
        assert!((outcome.seconds - 1.25).abs() < 1e-9);
        assert!(report(&b"check too few\n"[..]).is_err());
    }

    #[test]
    fn the_large_module_is_one() {
        let module = large_module().unwrap();
        assert!(module.len() > LARGE_DATA);
        assert_eq!(module.get(..4), Some(&b"\0asm"[..]));
        let mut bytes = Vec::new();
        leb128(&mut bytes, 624_485);
        assert_eq!(bytes, [0xe5, 0x8e, 0x26]);
    }
}
