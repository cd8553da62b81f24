//! The command line: its commands, and what a first word means. clap's types stay in this folder.
//!
//! - [`compile`]: the command that makes native code.
//! - [`check`]: the command that shows what this host has.
//! - [`run`]: the flags of a run, and the run that they describe.
//! - [`guest`]: what those give the guest besides directories.
//! - [`mounts`]: the flags that give the guest directories.
//! - [`replay`]: the command that runs a recorded run again.
//! - [`habits`]: what people write out of habit, and what to write here.
//! - [`pack`]: the commands that make one file of all that a run needs, and look at it.
//! - [`packed`]: runs of what those have made.
//! - [`status`]: where the report of a run goes.
//! - [`values`]: the words that flags take.
//! - [`hypervisors`]: the command that shows what each hypervisor can do.
//! - [`oci`]: the command by which container engines call.

mod check;
mod compile;
mod guest;
mod habits;
mod hypervisors;
mod mounts;
mod network;
mod oci;
mod outputs;
mod pack;
mod packed;
mod replay;
mod run;
mod status;
mod values;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::time::Instant;

use boot_protocol::exit_code;
use boot_protocol::shown::{self, Layout};
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use hermit_wasm_vm::{Error, StartError};

use crate::stderr;
use check::Check;
use compile::Compile;
use habits::Refusal;
use pack::{Inspect, Pack, Unpack};
use replay::Replay;
use run::Run;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "hermit-wasm",
    max_term_width = 100,
    version,
    about = "Runs WASI programs in a Hermit microVM",
    long_about = "Runs WASI programs in a Hermit microVM.\n\n\
        A virtual machine boots straight into the module. It contains no other operating system, and it sees nothing of \
        this host except what a flag gives it. Standard input, output and error are connected, and hermit-wasm exits \
        with the guest's exit code.",
    after_help = "'run' is the default: 'hermit-wasm app.wasm' means 'hermit-wasm run app.wasm'.\n\
        'hermit-wasm run --help' explains every flag, with examples and exit codes.\n\
        'hermit-wasm completions --help' shows how to set up completion in your shell.",
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    override_usage = "hermit-wasm run [OPTIONS] MODULE [ARGS]...\n       hermit-wasm [OPTIONS] MODULE [ARGS]..."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a module
    #[command(after_help = EXAMPLES_AND_EXIT_CODES, override_usage = "hermit-wasm run [OPTIONS] MODULE [ARGS]...")]
    Run(Box<Run>),
    /// Run a recorded run again, with the answers that it got
    #[command(after_help = REPLAY, override_usage = "hermit-wasm replay [OPTIONS] FILE [MODULE]")]
    Replay(Box<Replay>),
    /// Compile a module to native code
    #[command(after_help = COMPILE, override_usage = "hermit-wasm compile [OPTIONS] MODULE")]
    Compile(Compile),
    /// Pack a module with all that it runs with into one file
    #[command(after_help = PACK, override_usage = PACK_USAGE)]
    Pack(Box<Pack>),
    /// Show what is in a packed file
    #[command(override_usage = "hermit-wasm inspect [--json] [--arch ARCH] FILE")]
    Inspect(Inspect),
    /// Take a packed file apart
    #[command(override_usage = "hermit-wasm unpack FILE DIRECTORY")]
    Unpack(Unpack),
    /// List the supported hypervisors and what each can do
    #[command(override_usage = "hermit-wasm hypervisors")]
    Hypervisors,
    /// Show what this host has for running modules, and how to get what is missing
    #[command(after_help = CHECK, override_usage = "hermit-wasm check [--json]")]
    Check(Check),
    /// Be an OCI runtime, for podman, containerd, Docker and Kubernetes
    #[command(after_help = OCI, override_usage = "hermit-wasm oci [--delegate PATH] [OPTIONS] COMMAND ...")]
    Oci {
        /// What an engine says to runc, crun or youki
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
        words: Vec<OsString>,
    },
    /// Print a shell script that completes commands, flags and values
    #[command(after_help = COMPLETIONS, override_usage = "hermit-wasm completions SHELL")]
    Completions {
        /// The shell that reads the script
        shell: Shell,
    },
}

impl Cli {
    /// What is asked for.
    fn into_command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Run(Box::new(self.run)))
    }

    /// Whether a flag has this long name.
    fn knows(long: &str) -> bool {
        Self::command()
            .get_arguments()
            .any(|flag| flag.get_long() == Some(long))
    }

    /// The commands, for messages.
    fn commands() -> String {
        let command = Self::command();
        let names: Vec<String> = command
            .get_subcommands()
            .map(|command| format!("'{}'", command.get_name()))
            .collect();
        names.join(", ")
    }
}

/// Does what the words ask for; the exit code. Help, and what clap refuses, end the program here.
/// `start` is when the program began.
pub(crate) fn perform(words: impl IntoIterator<Item = OsString>, start: Instant) -> Result<u8, Error> {
    let words: Vec<OsString> = words.into_iter().collect();
    if let Some(run) = Run::of_itself(&words)? {
        return run.perform(start);
    }
    if let Some(words) = oci::words_of(&words) {
        return oci::perform(words, start);
    }
    match habits::parse(&words) {
        Ok(Command::Run(run)) => run.perform(start),
        Ok(Command::Replay(replay)) => replay.perform(start),
        Ok(Command::Compile(compile)) => compile.perform(start),
        Ok(Command::Pack(pack)) => pack.perform(start),
        Ok(Command::Inspect(inspect)) => inspect.perform(start),
        Ok(Command::Unpack(unpack)) => unpack.perform(start),
        Ok(Command::Hypervisors) => print(&hypervisors::table()),
        Ok(Command::Check(check)) => check.perform(),
        Ok(Command::Oci { words }) => oci::perform(words, start),
        Ok(Command::Completions { shell }) => print_exactly(&completions(shell)),
        Err(Refusal::Ours(error)) => Err(error),
        Err(Refusal::Claps(error)) => claps(&error),
    }
}

/// clap's help, or its refusal, which repeats words of the command line.
fn claps(error: &clap::Error) -> Result<u8, Error> {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return print(&text);
    }
    stderr::show(&text);
    Ok(u8::try_from(error.exit_code()).unwrap_or(exit_code::USAGE))
}

/// Writes a command's own output, for people, to standard output.
fn print(text: &str) -> Result<u8, Error> {
    print_exactly(&shown::bounded(text.as_bytes(), Layout::Text, usize::MAX))
}

/// Writes a command's own output, for programs, to standard output.
fn print_exactly(text: &str) -> Result<u8, Error> {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(exit_code::SUCCESS),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Error::OutputClosed),
        Err(source) => Err(StartError::File {
            attempt: "write to standard output",
            source,
        }
        .into()),
    }
}

/// A shell's completion script.
fn completions(shell: Shell) -> String {
    // clap_complete 4.6.11 completes nothing after a command in bash if the program's name has a dash (clap-rs/clap
    // issue 6421), so it gets a name without, which only the script's last lines show. The test
    // `errors::completions` has bash use the script.
    let name = if shell == Shell::Bash {
        "hermit_wasm"
    } else {
        "hermit-wasm"
    };
    // Into memory first: clap_complete panics if its reader goes away.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), name, &mut script);
    String::from_utf8_lossy(&script).replace(" hermit_wasm\n", " hermit-wasm\n")
}

const COMPILE: &str = "\
The code is made for hermit-wasm's machines, and bears a digest with a key of yours: 'run' takes it on this host, as the
same user, and elsewhere with --allow-precompiled. It is kept in the cache too, so that 'run MODULE' finds it.";

const PACK_USAGE: &str = "\
hermit-wasm pack [OPTIONS] -o FILE MODULE [ARGS]...
       hermit-wasm pack [OPTIONS] -o FILE [-f HERMITFILE]
       hermit-wasm pack [OPTIONS] -o FILE DIRECTORY";

const PACK: &str = "\
What is packed is the most that the file's runs can do: flags and boot words add arguments, and narrow the rest. Of --dir
only the guest's name is packed; whoever runs the file gives the directory. With --engine native, native code is packed,
with the module. A DIRECTORY is one that 'unpack' made: it is packed again as it is. See docs/pack.md. Of container
images that holds for --oci sealed; the others are a module with files, for any runtime.

Examples:
  hermit-wasm pack -o app.hermit app.wasm            then: hermit-wasm run app.hermit ARGS
  hermit-wasm pack --format exe -o app app.wasm      then: ./app ARGS
  hermit-wasm pack --format oci --tag localhost/app:1 -o app.tar app.wasm
                                                     then: podman load -i app.tar
  hermit-wasm inspect app.hermit
  hermit-wasm unpack app.hermit parts && hermit-wasm pack -o same.hermit parts";

const REPLAY: &str = "\
The guest gets what it got when 'run --record FILE' recorded it, without files, input, clocks or random numbers: it \
prints the same and ends with the same exit code. Files are not written, and nothing is waited for. The module must be \
the one that was recorded, which its digest shows.

Exit codes besides those of 'run':
  249    the guest did something else than it had done when it was recorded; a message says what
  250    the recording ends before the guest does, and does not say how the recorded run ended";

const CHECK: &str = "\
Nothing is booted, and nothing changed, but that the cache for native code is made. The exit code is 0 if a module \
can be run here, and 125 if not.";

const OCI: &str = "\
Containers whose ENTRYPOINT is a WebAssembly module or a packed file become virtual machines: 'create' and 'run' rewrite \
the container, and runc, crun or youki makes it. 'exec' is refused, and all else is theirs. Called as 'hermit-oci', the \
program needs no 'oci'. --delegate names the runtime; the first that is installed otherwise. See docs/containers.md.

Example:
  ln -s $(command -v hermit-wasm) /usr/local/bin/hermit-oci
  podman --runtime /usr/local/bin/hermit-oci run IMAGE";

const COMPLETIONS: &str = "\
For the current shell:
  bash   source <(hermit-wasm completions bash)
  zsh    source <(hermit-wasm completions zsh)       after compinit
  fish   hermit-wasm completions fish | source

Permanently:
  bash   hermit-wasm completions bash > ~/.local/share/bash-completion/completions/hermit-wasm
  zsh    hermit-wasm completions zsh > DIR/_hermit-wasm    with DIR in $fpath
  fish   hermit-wasm completions fish > ~/.config/fish/completions/hermit-wasm.fish";

const EXAMPLES_AND_EXIT_CODES: &str = "\
Examples:
  hermit-wasm run --greet                       run the built-in greeting, to see that all works
  hermit-wasm run app.wasm -i 12 --verbose      flags after the module go to the guest
  hermit-wasm app.wat < input > output          'run' can be omitted; text modules work too
  hermit-wasm run --env LANG --env MODE=fast --memory 1G app.wasm
  hermit-wasm run --dir . app.wasm input.txt    share the current directory
  hermit-wasm run --copy-dir project::/ --tmpfs /tmp app.wasm /input.txt
                                                copy one directory in, add an empty one
  hermit-wasm run --timeout 10s app.wasm        exit code 124 if it takes longer
  hermit-wasm run --jail strict --dir .,quota=64M app.wasm
                                                not without every layer of the jail; 64 MiB of disk
  hermit-wasm run --log debug app.wasm          show the kernel's log
  hermit-wasm run -- -odd-name.wasm             a module whose name looks like a flag

Exit codes:
  0-255  the guest's own exit code
  1      the guest exited with a code above 255 (a message says so)
  2      the command line is wrong
  124    --timeout expired
  125    the virtual machine failed: QEMU or virtiofsd is missing or failed, --accel kvm or
         --jail strict cannot be had here ('hermit-wasm check' says why), the machine ran out of
         memory or ended without an exit code, or output cannot be written
  126    the module cannot be run: not WebAssembly, truncated, a component, needs an unsupported
         feature, has no _start, or wants more memory than the machine has
  127    the module was not found or cannot be read
  134    the guest trapped
  241    the guest used up its fuel: -W fuel
  242    the guest reached its deadline: -W timeout
  243    the guest reached a limit of memory: -W max-memory-size
  244    the guest reached a limit of tables: -W max-table-elements
  245    the guest reached its limit of stack: -W max-wasm-stack
  246    the guest reached its limit of descriptors: -W max-descriptors
  247    the guest reached its limit of bytes written to files: -W max-file-bytes
  248    the guest reached its limit of output: -W max-output-bytes
  249, 250   of 'replay' alone: see 'hermit-wasm replay --help'
  130, 143, 129, 141   ended by Ctrl-C, SIGTERM, SIGHUP, or a closed output, as a shell reports it
  Codes other than the guest's own come with a message on standard error, except for the last line.";

#[cfg(test)]
mod tests;
