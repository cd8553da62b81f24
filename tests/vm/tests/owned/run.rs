//! A run of the launcher that is watched from outside: the memory that it takes, with all its children, what it prints,
//! and how it ends.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use vm_tests::memory::Memory;

/// What a run may take of the host's memory besides `--memory`, in bytes.
const BESIDES: u64 = 100_000_000;
/// Most that is kept of what the run prints.
const KEPT: usize = 1 << 20;
/// Longest that messages may be together, in bytes: the end of what the machine printed, prefixes, and a few lines.
const LONGEST: u64 = 1 << 20;
/// How long a run may take that should have met its time limit long before; not for ever, so that a test that fails
/// ends.
const PATIENCE: Duration = Duration::from_secs(400);

/// A run that has ended.
pub(crate) struct Ended {
    /// Its exit code, if no signal ended it.
    pub(crate) code: i32,
    /// The beginning of each, and its whole length.
    stdout: (Vec<u8>, u64),
    stderr: (Vec<u8>, u64),
    /// The most memory that was seen at once, and of what it consisted.
    peak: Memory,
    /// The most of each program that was seen at any time. At the peak virtiofsd may have ended: it does before QEMU,
    /// whose alone then is what they have shared.
    seen: Memory,
    time: Duration,
}

/// Runs the launcher to its end, or kills it when it does not come.
pub(crate) fn watch(launcher: &Path, arguments: &[String], module: &Path, reads: bool) -> Result<Ended> {
    let start = Instant::now();
    let mut child = Command::new(launcher)
        .args(arguments)
        .arg(module)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the launcher")?;
    let (mut stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = Arc::new(AtomicBool::new(false));
    let unread = if reads { None } else { stdout.take() };
    let stdout = reader(stdout);
    let stderr = reader(stderr);
    let memory = sampler(child.id(), Arc::clone(&ended));
    let code = wait(&mut child, start);
    ended.store(true, Ordering::Relaxed);
    drop(unread);
    let join = |thread: JoinHandle<_>| thread.join().ok().context("a thread of the test has panicked");
    let (peak, seen) = memory.join().ok().context("the sampler has panicked")?;
    Ok(Ended {
        code: code?,
        stdout: join(stdout)?,
        stderr: join(stderr)?,
        peak,
        seen,
        time: start.elapsed(),
    })
}

/// Waits for the exit code.
fn wait(child: &mut Child, start: Instant) -> Result<i32> {
    loop {
        if let Some(status) = child.try_wait()? {
            return status
                .code()
                .with_context(|| format!("the launcher was ended by a signal: {status}"));
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            anyhow::bail!("the launcher did not end by itself");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Reads to the end: the beginning, and the length of the whole.
fn reader(stream: Option<impl Read + Send + 'static>) -> JoinHandle<(Vec<u8>, u64)> {
    thread::spawn(move || {
        let (mut kept, mut length) = (Vec::new(), 0u64);
        let mut buffer = vec![0; 1 << 16];
        let Some(mut stream) = stream else {
            return (kept, length);
        };
        while let Ok(count) = stream.read(&mut buffer) {
            let part = buffer.get(..count).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            length += u64::try_from(count).unwrap_or_default();
            let room = KEPT.saturating_sub(kept.len()).min(count);
            kept.extend_from_slice(part.get(..room).unwrap_or_default());
        }
        (kept, length)
    })
}

/// Looks at the memory as often as it can; the most that it sees at once, and the most of each program.
fn sampler(process: u32, ended: Arc<AtomicBool>) -> JoinHandle<(Memory, Memory)> {
    thread::spawn(move || {
        let (mut peak, mut seen) = (Memory::default(), Memory::default());
        while !ended.load(Ordering::Relaxed) {
            let now = Memory::of(process);
            seen.join(&now);
            if now.total() > peak.total() {
                peak = now;
            }
            thread::sleep(Duration::from_millis(2));
        }
        (peak, seen)
    })
}

impl Ended {
    /// For people.
    pub(crate) fn summary(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / 1e6;
        let programs: Vec<String> = self
            .peak
            .programs
            .iter()
            .map(|(name, bytes)| format!("{name} {:.1}", mib(*bytes)))
            .collect();
        format!(
            "code {}, {:.1} s, at most {:.1} MB ({})",
            self.code,
            self.time.as_secs_f64(),
            mib(self.peak.total()),
            programs.join(", ")
        )
    }

    /// The beginning of what it wrote to standard output.
    pub(crate) fn stdout_start(&self) -> String {
        let start = self
            .stdout
            .0
            .get(..self.stdout.0.len().min(4096))
            .unwrap_or_default();
        String::from_utf8_lossy(start).into_owned()
    }

    /// What it wrote to standard error.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.0).into_owned()
    }

    /// Whether a text is in its output.
    pub(crate) fn printed(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.stdout.0).contains(text) || self.stderr().contains(text)
    }

    /// Fails for messages that command a terminal or have no end. The guest's own standard error is no message; no
    /// attack writes to it.
    pub(crate) fn nothing_raw(&self) -> Result<()> {
        let raw = |character: &char| match character {
            '\n' | '\t' => false,
            '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
            other => other.is_control(),
        };
        let text = self.stderr();
        if let Some(found) = text.chars().find(raw) {
            let line = text.lines().find(|line| line.contains(found)).unwrap_or_default();
            anyhow::bail!("a message holds {found:?} raw: {line:?}");
        }
        let length = self.stderr.1;
        ensure!(length <= LONGEST, "{length} bytes of messages");
        Ok(())
    }

    /// Fails if launcher, QEMU and virtiofsd took more memory together than they may; `memory` is the machine's, in
    /// MiB. `shares`: whether there is a virtiofsd.
    pub(crate) fn within_memory(&self, memory: u64, shares: bool) -> Result<()> {
        let seen = |part: &str| {
            self.seen
                .programs
                .iter()
                .any(|(name, bytes)| name.contains(part) && *bytes > 0)
        };
        // A run that breaks the protocol at once may be over before anybody has looked.
        let short = self.time < Duration::from_millis(500);
        ensure!(
            short || seen("qemu") && (!shares || seen("virtiofsd")),
            "the memory of QEMU or virtiofsd was not seen: {:?}, and at the peak {:?}",
            self.seen,
            self.peak
        );
        let most = (memory << 20) + BESIDES;
        ensure!(
            self.peak.total() <= most,
            "it took {} bytes of {most}: {}",
            self.peak.total(),
            self.summary()
        );
        Ok(())
    }
}
