//! The command line: its commands, and what a first word means. clap's types stay in this folder.
//!
//! - [`run`]: the flags of a run, and the run that they describe.
//! - [`mounts`]: the flags that give the guest directories.
//! - [`habits`]: what people write out of habit, and what to write here.
//! - [`values`]: the words that flags take.
//! - [`hypervisors`]: the command that shows what each hypervisor can do.

mod habits;
mod hypervisors;
mod mounts;
mod run;
mod values;

use std::ffi::OsString;
use std::io::{self, Write as _};

use boot_protocol::exit_code;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use hermit_wasm_vm::{Error, StartError};

use habits::Refusal;
use run::Run;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "hermit-wasm",
    max_term_width = 100,
    version,
    about = "Runs WASI programs in a Hermit microVM",
    long_about = "Runs WASI programs in a Hermit microVM.\n\n\
        A virtual machine boots straight into the module. It has no other operating system in it, and it sees nothing of \
        this host but what a flag gives to it. Standard input, output and error are connected, and the guest's exit code \
        is this program's.",
    after_help = "Without a command, 'run' is meant: 'hermit-wasm app.wasm' is 'hermit-wasm run app.wasm'.\n\
        'hermit-wasm run --help' explains the flags, with examples and the exit codes.\n\
        'hermit-wasm completions --help' says how a shell learns to complete them.",
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
    /// Show the hypervisors that this program knows, and what each can do
    #[command(override_usage = "hermit-wasm hypervisors")]
    Hypervisors,
    /// Print a script that completes flags and values in a shell
    #[command(after_help = COMPLETIONS, override_usage = "hermit-wasm completions SHELL")]
    Completions {
        /// The shell that is to read the script
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
pub(crate) fn perform(words: impl IntoIterator<Item = OsString>) -> Result<u8, Error> {
    let words: Vec<OsString> = words.into_iter().collect();
    match habits::parse(&words) {
        Ok(Command::Run(run)) => run.perform(),
        Ok(Command::Hypervisors) => print(&hypervisors::table()),
        Ok(Command::Completions { shell }) => print(&completions(shell)),
        Err(Refusal::Ours(error)) => Err(error),
        Err(Refusal::Claps(error)) => error.exit(),
    }
}

/// Writes a command's own output to standard output.
fn print(text: &str) -> Result<u8, Error> {
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

const COMPLETIONS: &str = "\
For one shell, until it ends:
  bash   source <(hermit-wasm completions bash)
  zsh    source <(hermit-wasm completions zsh)       after compinit
  fish   hermit-wasm completions fish | source

For good:
  bash   hermit-wasm completions bash > ~/.local/share/bash-completion/completions/hermit-wasm
  zsh    hermit-wasm completions zsh > DIR/_hermit-wasm    with DIR in $fpath
  fish   hermit-wasm completions fish > ~/.config/fish/completions/hermit-wasm.fish";

const EXAMPLES_AND_EXIT_CODES: &str = "\
Examples:
  hermit-wasm run --greet                       the built-in greeting: does it work here?
  hermit-wasm run app.wasm -i 12 --verbose      flags after the module are the guest's
  hermit-wasm app.wat < input > output          'run' may be left out; text modules work too
  hermit-wasm run --env LANG --env MODE=fast --memory 1G app.wasm
  hermit-wasm run --dir . app.wasm input.txt    with this directory
  hermit-wasm run --copy-dir project::/ --tmpfs /tmp app.wasm /input.txt
                                                with a copy of a directory and an empty one
  hermit-wasm run --timeout 10s app.wasm        exit code 124 if it takes longer
  hermit-wasm run --log debug app.wasm          what the kernel does
  hermit-wasm run -- -odd-name.wasm             a module whose name looks like a flag

Exit codes:
  0-255  the guest's own
  1      the guest exited with a code above 255 (a message says so)
  2      the command line is wrong
  124    --timeout ran out
  125    the virtual machine failed: QEMU is missing or failed, KVM was asked for and does not work,
         memory of the machine ran out, it ended without the guest's exit code, output cannot be written
  126    the module cannot be run: no WebAssembly, truncated, a component, needs what is not supported,
         has no _start, wants more memory than the machine has
  127    the module is not found or not readable
  134    the guest trapped
  130, 143, 129, 141   ended by Ctrl-C, SIGTERM, SIGHUP, or a closed output, as a shell reports it
  All but the guest's own come with a message on standard error, except the last line's.";

#[cfg(test)]
mod tests;
