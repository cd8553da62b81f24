//! Where the guest's standard streams go: this process's own, files, pipes, or memory.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _, PipeReader, PipeWriter, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use boot_protocol::run_spec::Terminals;
use rustix::fs::MemfdFlags;

/// Where the guest's standard input comes from.
#[derive(Default)]
#[non_exhaustive]
pub enum Input {
    /// This process's standard input.
    #[default]
    Inherit,
    /// Nowhere: it is at its end.
    Null,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A pipe whose other end is [`Running::stdin`](crate::Running::stdin).
    Pipe,
    /// A file, a socket, the reading end of a pipe. What the guest did not read is given back to a file.
    File(OwnedFd),
}

impl fmt::Debug for Input {
    /// Without the bytes: they may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherit => f.write_str("Inherit"),
            Self::Null => f.write_str("Null"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Pipe => f.write_str("Pipe"),
            Self::File(descriptor) => f.debug_tuple("File").field(descriptor).finish(),
        }
    }
}

/// Where the guest's standard output or standard error goes.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Output {
    /// This process's own stream of that name.
    #[default]
    Inherit,
    /// Nowhere.
    Null,
    /// Into memory, without a limit: [`RunResult`](crate::RunResult) has the bytes. A guest that is not trusted should
    /// get a [`Self::Pipe`] or a [`Self::File`].
    Capture,
    /// A pipe whose other end is [`Running::stdout`](crate::Running::stdout) or
    /// [`Running::stderr`](crate::Running::stderr). Somebody must read it, or the guest waits.
    Pipe,
    /// A file, a socket, the writing end of a pipe.
    File(OwnedFd),
}

/// The session's ends.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// The user's ends of pipes, and the files that keep what is captured.
#[derive(Debug, Default)]
pub(crate) struct OtherEnds {
    pub(crate) stdin: Option<PipeWriter>,
    pub(crate) stdout: Option<PipeReader>,
    pub(crate) stderr: Option<PipeReader>,
    pub(crate) captured: Captured,
}

/// What is captured of standard output and standard error.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    stdout: Option<File>,
    stderr: Option<File>,
}

/// Opens what is asked for.
pub(crate) fn open(stdin: Input, stdout: Output, stderr: Output) -> io::Result<(Streams, OtherEnds)> {
    let mut ends = OtherEnds::default();
    let stdin = match stdin {
        Input::Inherit => io::stdin().as_fd().try_clone_to_owned()?,
        Input::Null => File::open("/dev/null")?.into(),
        Input::Bytes(bytes) => {
            let mut file = memory_file("hermit-wasm-stdin")?;
            file.write_all(&bytes)?;
            file.rewind()?;
            file.into()
        }
        Input::Pipe => {
            let (reader, writer) = io::pipe()?;
            ends.stdin = Some(writer);
            reader.into()
        }
        Input::File(descriptor) => descriptor,
    };
    let inherit = io::stdout().as_fd().try_clone_to_owned();
    let stdout = output(stdout, inherit, &mut ends.stdout, &mut ends.captured.stdout)?;
    let inherit = io::stderr().as_fd().try_clone_to_owned();
    let stderr = output(stderr, inherit, &mut ends.stderr, &mut ends.captured.stderr)?;
    Ok((
        Streams {
            stdin,
            stdout,
            stderr,
        },
        ends,
    ))
}

fn output(
    output: Output,
    inherit: io::Result<OwnedFd>,
    pipe: &mut Option<PipeReader>,
    captured: &mut Option<File>,
) -> io::Result<OwnedFd> {
    match output {
        Output::Inherit => inherit,
        Output::Null => Ok(File::options().write(true).open("/dev/null")?.into()),
        Output::Capture => {
            let file = memory_file("hermit-wasm-output")?;
            *captured = Some(file.try_clone()?);
            Ok(file.into())
        }
        Output::Pipe => {
            let (reader, writer) = io::pipe()?;
            *pipe = Some(reader);
            Ok(writer.into())
        }
        Output::File(descriptor) => Ok(descriptor),
    }
}

fn memory_file(label: &str) -> io::Result<File> {
    Ok(rustix::fs::memfd_create(label, MemfdFlags::CLOEXEC)?.into())
}

impl Streams {
    /// The same once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            stdin: self.stdin.try_clone()?,
            stdout: self.stdout.try_clone()?,
            stderr: self.stderr.try_clone()?,
        })
    }

    /// Which of them are terminals.
    pub(crate) fn terminals(&self) -> Terminals {
        Terminals {
            stdin: self.stdin.is_terminal(),
            stdout: self.stdout.is_terminal(),
            stderr: self.stderr.is_terminal(),
        }
    }
}

impl Captured {
    /// The same files once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let copy = |file: &Option<File>| file.as_ref().map(File::try_clone).transpose();
        Ok(Self {
            stdout: copy(&self.stdout)?,
            stderr: copy(&self.stderr)?,
        })
    }

    /// The bytes, once the session is over.
    pub(crate) fn take(self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let read = |file: Option<File>| {
            let mut bytes = Vec::new();
            if let Some(mut file) = file {
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
            }
            Ok::<_, io::Error>(bytes)
        };
        Ok((read(self.stdout)?, read(self.stderr)?))
    }
}
