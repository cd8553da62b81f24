//! The compiler: a program of its own, found beside the launcher or where it was built, and run in a jail.
//!
//! It sees its libraries, and nothing else of this host: the module comes as its standard input, code goes to its
//! standard output, and what it says to standard error is read line by line.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use aot_config::protocol::{Message, PROGRAM, Refusal, identity};
use rustix::event::PollFlags;

use super::{Budget, CompileError, Progress, Target};
use crate::error::{Error, StartError};
use crate::host::program;
use crate::host::shown;
use crate::host::units::MIB;
use crate::jail::{self, Calls, Child, Confinement, Jail, Limits, Program};
use crate::spec::deadline::Deadline;

/// The variable that names the compiler.
pub(super) const VARIABLE: &str = "HERMIT_WASM_COMPILER";

/// Where this checkout builds it.
const BUILT: &str = env!("HERMIT_WASM_COMPILER_BUILT");

/// The compiler to use: its absolute path, which leads to the same file whatever the current directory is.
pub(super) fn find() -> Result<PathBuf, CompileError> {
    let named = env::var_os(VARIABLE).filter(|name| !name.is_empty());
    if let Some(name) = named.map(PathBuf::from) {
        let found = program::search_path(&name);
        let found = found.and_then(|path| std::path::absolute(path).ok());
        return found.ok_or_else(|| {
            CompileError::NoCompiler(format!(
                "{VARIABLE} names '{}', which is not there, or is not an executable file",
                shown::path(&name)
            ))
        });
    }
    let beside = env::current_exe()
        .ok()
        .and_then(|this| Some(this.parent()?.join(PROGRAM)));
    let built = PathBuf::from(BUILT);
    let places = beside.into_iter().chain([built]);
    let mut distrusted = None;
    for path in places.filter(|path| program::search_path(path).is_some()) {
        match trusted(&path) {
            Ok(path) => return Ok(path),
            Err(whose) => distrusted = distrusted.or(Some((path, whose))),
        }
    }
    Err(CompileError::NoCompiler(match distrusted {
        Some((path, whose)) => format!(
            "the compiler for native code, '{}', is not taken: other users can change '{}'. Take that right away \
             (chmod go-w), or name the compiler by {VARIABLE}; --engine interp does without",
            shown::path(&path),
            shown::path(&whose)
        ),
        None => format!(
            "the compiler for native code, {PROGRAM}, is not here: neither beside hermit-wasm nor at '{}'. Build it \
             with `cargo xtask compiler` in the checkout, or install it with `cargo install --path compiler`; --engine \
             interp does without",
            shown::path(Path::new(BUILT))
        ),
    }))
}

/// A program's own path, without links, if neither it nor a directory above it can be changed by other users than root:
/// the place where it was built may be anybody's by now. Else, what they can change.
fn trusted(path: &Path) -> Result<PathBuf, PathBuf> {
    let real = path.canonicalize().map_err(|_| path.to_path_buf())?;
    let own = rustix::process::geteuid().as_raw();
    let foreign = real.ancestors().find(|place| {
        place.symlink_metadata().map_or(true, |metadata| {
            !is_safe(
                metadata.uid(),
                metadata.gid(),
                metadata.mode(),
                metadata.is_dir(),
                own,
            )
        })
    });
    match foreign {
        Some(place) => Err(place.to_path_buf()),
        None => Ok(real),
    }
}

/// Whether other users than `own` and root cannot replace what is here.
fn is_safe(owner: u32, group: u32, mode: u32, is_directory: bool, own: u32) -> bool {
    // In a sticky directory nobody renames what is another's.
    let sticky = is_directory && mode & 0o1000 != 0;
    // A group of this user's own, with which some systems use a umask of 002.
    let own_group = own != 0 && owner == own && group == own;
    let others = if own_group { 0o002 } else { 0o022 };
    [0, own].contains(&owner) && (sticky || mode & others == 0)
}

/// One run of it.
pub(super) struct Run<'a> {
    /// The module, from its position on.
    pub(super) module: &'a File,
    /// What messages call it.
    pub(super) name: String,
    /// The program that does it; [`find`] if none is named.
    pub(super) program: Option<&'a Path>,
    /// Where the code goes.
    pub(super) out: &'a File,
    pub(super) target: Target,
    pub(super) budget: &'a Budget,
    pub(super) jail: Jail,
    /// Whether it is to run when nothing else wants to.
    pub(super) background: bool,
}

/// The most that the compiler has to say on one line, in bytes: it quotes the module's names.
const LONGEST_LINE: usize = 1 << 16;

/// No module has more code.
const LONGEST_CODE: u64 = 4 << 30;

/// What it has said so far.
#[derive(Default)]
struct Said {
    /// The beginning of a line.
    line: Vec<u8>,
    identity: Option<String>,
    refusal: Option<Refusal>,
    /// Its other words: of a panic, or of an allocation that fails.
    words: String,
}

impl Run<'_> {
    /// Compiles. `progress` is told how far it is.
    pub(super) fn run(
        &self,
        deadline: &Deadline,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Result<(), CompileError>, Error> {
        let program = match self.program {
            Some(named) => named.to_path_buf(),
            None => match find() {
                Ok(program) => program,
                Err(error) => return Ok(Err(error)),
            },
        };
        self.run_program(&program, deadline, progress)
    }

    fn run_program(
        &self,
        path: &Path,
        deadline: &Deadline,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Result<(), CompileError>, Error> {
        let begun = Instant::now();
        let until = begun.checked_add(self.budget.time);
        let (mut errors, stderr) = jail::pipe().map_err(StartError::file("make a pipe"))?;
        let mut child = match self.start(path, &stderr) {
            Ok(child) => child,
            Err(source) => {
                let path = path.into();
                return Ok(Err(CompileError::Start { path, source }));
            }
        };
        drop(stderr);
        if self.background {
            stand_back(&child.pid().as_raw_nonzero().to_string());
        }
        let mut said = Said::default();
        let mut buffer = vec![0; 4096];
        loop {
            if !deadline.wait(Some((errors.as_fd(), PollFlags::IN)), until)? {
                return Ok(Err(self.too_slow()));
            }
            let count = match errors.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if jail::is_again(&error) => continue,
                Err(error) => return Err(StartError::file("listen to the compiler")(error)),
                Ok(count) => count,
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            said.hear(bytes, &mut |done, all| {
                let elapsed = begun.elapsed();
                progress(Progress { done, all, elapsed });
            });
            if let Some(found) = said.identity.as_ref().filter(|found| **found != identity()) {
                return Ok(Err(other_version(path, found)));
            }
        }
        let Some(status) = ended(&mut child, deadline, until)? else {
            return Ok(Err(self.too_slow()));
        };
        Ok(match (said.identity, said.refusal) {
            (None, _) => Err(other_version(path, &said.words)),
            (_, Some(refusal)) => Err(self.refused(refusal)),
            _ if status.success() => Ok(()),
            _ => Err(self.crashed(status, &said.words)),
        })
    }

    fn start(&self, path: &Path, stderr: &io::PipeWriter) -> io::Result<Child> {
        let mut arguments = vec!["--cpu", self.target.level.name()];
        if self.target.options.fuel {
            arguments.push("--fuel");
        }
        if self.target.options.deterministic {
            arguments.push("--deterministic");
        }
        let arguments: Vec<_> = arguments.into_iter().map(Into::into).collect();
        let confinement = Confinement::new(self.jail)
            .calls(Calls::Hypervisor)
            .alone()
            .limits(Limits {
                files: Some(16),
                // A file in memory is none of its own memory, and is bounded for itself.
                file_size: Some(self.longest_code()),
                locked: Some(0),
                data: Some(self.budget.memory),
                stack: Some(STACK),
                processes: Some(PROCESSES),
                ..Limits::default()
            });
        let program = Program {
            path,
            name: None,
            arguments: &arguments,
            streams: [self.module.as_fd(), self.out.as_fd(), stderr.as_fd()],
            descriptors: &[],
            asks: None,
        };
        Ok(jail::start(&program, &confinement)?.0)
    }

    fn too_slow(&self) -> CompileError {
        CompileError::Time {
            module: self.name.clone(),
            limit: self.budget.time,
        }
    }

    fn refused(&self, refusal: Refusal) -> CompileError {
        let module = self.name.clone();
        match refusal {
            Refusal::Invalid { offset, message } => CompileError::Invalid {
                module,
                offset,
                reason: message,
            },
            Refusal::Unsupported { proposals, message } => CompileError::Unsupported {
                module,
                proposals,
                reason: message,
            },
            Refusal::Failed(reason) => CompileError::Failed { module, reason },
            Refusal::Hindered(reason) => CompileError::Hindered { module, reason },
        }
    }

    /// The longest code that it may write.
    fn longest_code(&self) -> u64 {
        LONGEST_CODE.min(self.budget.memory)
    }

    /// What an end means that it has said nothing about.
    fn crashed(&self, status: ExitStatus, words: &str) -> CompileError {
        /// What a program of Rust's ends with that has panicked.
        const PANICKED: i32 = 101;
        let module = self.name.clone();
        // Which signal follows these words depends on the namespace: its first process cannot end itself by SIGABRT.
        let says = |these: &[&str]| these.iter().any(|text| words.contains(text));
        let reason = match words.lines().next() {
            Some(line) => format!("the compiler failed ({status}): {line}"),
            None => format!("the compiler failed ({status})"),
        };
        if says(&["memory allocation of", "out of memory"]) {
            // Rust's and bumpalo's words for an allocation that fails.
            let limit = self.budget.memory;
            CompileError::Memory { module, limit }
        } else if status.signal() == Some(libc::SIGXFSZ) {
            let limit = self.longest_code();
            CompileError::TooLong { module, limit }
        } else if status.code() == Some(PANICKED) || says(&["has overflowed its stack"]) {
            CompileError::Failed { module, reason }
        } else {
            // Somebody has ended it, as the system does where memory is short; or it has been taken over.
            CompileError::Hindered { module, reason }
        }
    }
}

/// Each thread's stack: Cranelift's recursion follows the module's.
const STACK: u64 = 8 * MIB;

/// Its threads, of which it has as many as there are processors, and those of a script that starts it.
const PROCESSES: u64 = 1024;

/// Has a process run when nothing else wants to, and end first where memory is short. `nice` says so too, but counts in
/// its own session only where the system shares its time among sessions. What is not there to be written is not needed.
pub(super) fn stand_back(process: &str) {
    for (file, value) in [("autogroup", "19"), ("oom_score_adj", "1000")] {
        let _ = fs::write(format!("/proc/{process}/{file}"), value);
    }
}

fn other_version(path: &Path, found: &str) -> CompileError {
    CompileError::OtherVersion {
        path: path.into(),
        found: found.lines().next().unwrap_or_default().to_string(),
        wanted: identity(),
    }
}

/// How a program ends that has closed its standard error; `None`: not in time.
fn ended(
    child: &mut Child,
    deadline: &Deadline,
    until: Option<Instant>,
) -> Result<Option<ExitStatus>, Error> {
    /// How often it is looked at where no event tells.
    const MOMENT: Duration = Duration::from_millis(5);
    loop {
        if let Some(status) = child
            .try_wait()
            .map_err(StartError::file("wait for the compiler"))?
        {
            return Ok(Some(status));
        }
        let now = Instant::now();
        if until.is_some_and(|until| until <= now) {
            return Ok(None);
        }
        deadline.wait(Some((child.end(), PollFlags::IN)), Some(now + MOMENT))?;
    }
}

impl Said {
    /// The next bytes that it says.
    fn hear(&mut self, bytes: &[u8], progress: &mut dyn FnMut(u32, u32)) {
        for byte in bytes {
            if *byte != b'\n' {
                // The rest of a line that is too long is not looked at.
                if self.line.len() < LONGEST_LINE {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
            match Message::parse(&line) {
                Some(Message::Identity(identity)) => {
                    self.identity.get_or_insert(identity);
                }
                Some(Message::Progress { done, all }) => progress(done, all),
                Some(Message::Refused(refusal)) => self.refusal = Some(refusal),
                None if self.words.len() < LONGEST_LINE => {
                    self.words.push_str(&line);
                    self.words.push('\n');
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "compiler_tests.rs"]
mod tests;
