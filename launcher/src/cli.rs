//! The command line: its flags, their help, and what they mean. Flags are called as wasmtime calls them where it has
//! them.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::arch::Arch;
use crate::directories::DirectoryFlags;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::qemu::machine::Machine;
use crate::units::{self, MIB};

/// 256 MiB: room for the image (a few MiB), a module of tens of MiB with its translation, and a guest memory of 128
/// MiB that is copied when it grows. QEMU takes from the host only what the guest has touched, so more costs nothing,
/// but a guest that runs wild is stopped before it troubles the host.
const DEFAULT_MEMORY: &str = "256M";

/// Below this not even the image fits, whatever the module: a unit was forgotten, most likely. With a little more it
/// is the loader in the machine that says what is missing.
const SMALLEST_MEMORY: u64 = 4 * MIB;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "hermit-wasm",
    max_term_width = 100,
    version,
    about = "Runs WASI programs in a Hermit microVM",
    long_about = "Runs WASI programs in a Hermit microVM.\n\n\
        A virtual machine under QEMU boots straight into the module: there is no other operating system in it, and \
        nothing of this host but what a flag gives to it. Standard input, output and error are connected, and the \
        guest's exit code is this program's.",
    after_help = "Without a command, 'run' is meant: 'hermit-wasm app.wasm' is 'hermit-wasm run app.wasm'.\n\
        'hermit-wasm run --help' explains the flags, with examples and the exit codes.\n\
        'hermit-wasm completions --help' says how a shell learns to complete them.",
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    override_usage = "hermit-wasm run [OPTIONS] MODULE [ARGS]...\n       hermit-wasm [OPTIONS] MODULE [ARGS]..."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a module
    #[command(after_help = EXAMPLES_AND_EXIT_CODES, override_usage = "hermit-wasm run [OPTIONS] MODULE [ARGS]...")]
    Run(Box<Run>),
    /// Print a script that completes flags and values in a shell
    #[command(after_help = COMPLETIONS, override_usage = "hermit-wasm completions SHELL")]
    Completions {
        /// The shell that is to read the script
        shell: Shell,
    },
}

impl Cli {
    /// What is asked for.
    pub(crate) fn into_command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Run(Box::new(self.run)))
    }

    /// Whether a flag has this long name.
    pub(crate) fn knows(long: &str) -> bool {
        Self::command()
            .get_arguments()
            .any(|flag| flag.get_long() == Some(long))
    }

    /// The commands, for messages.
    pub(crate) fn commands() -> String {
        let command = Self::command();
        let names: Vec<String> = command
            .get_subcommands()
            .map(|command| format!("'{}'", command.get_name()))
            .collect();
        names.join(", ")
    }
}

/// What to run, and how.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Memory of the virtual machine: 512M, 1G, 256MiB or bytes
    ///
    /// Everything must fit in: the system, the module, its translation, and the guest's own memory. The host gives
    /// only what is really used.
    #[arg(long, value_name = "SIZE", default_value = DEFAULT_MEMORY, value_parser = parse_memory)]
    pub(crate) memory: u64,

    /// Set an environment variable of the guest; with K alone, to its value here
    ///
    /// May be given several times. The guest sees no variable but these. `--env K` for a variable that is not set
    /// here sets none.
    #[arg(long = "env", value_name = "K[=V]", action = ArgAction::Append)]
    pub(crate) env: Vec<OsString>,

    /// The guest's directories.
    #[command(flatten)]
    pub(crate) directories: DirectoryFlags,

    /// The program that makes the virtual machine
    ///
    /// uhyve: needs KVM and x86-64, and shares the directories of --dir itself; some of what a guest can do in them
    /// with QEMU has an errno then (docs/uhyve.md).
    #[arg(long, value_enum, default_value_t = Vmm::Qemu)]
    pub(crate) vmm: Vmm,

    /// What executes the guest
    ///
    /// auto: KVM if it works here, else QEMU's translation. Whether it works is tried out once, by booting, and
    /// remembered until the next start of this host.
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto)]
    pub(crate) accel: AccelChoice,

    /// The architecture of the virtual machine; default: this host's
    ///
    /// The module is the same for all of them. One that is not this host's is translated by QEMU.
    #[arg(long, value_enum, default_value_t = Arch::host())]
    pub(crate) arch: Arch,

    /// The machine that QEMU is to be; default: microvm on x86_64, virt elsewhere
    #[arg(long, value_enum)]
    machine: Option<Machine>,

    /// The guest's first argument, its own name; default: the module's file name
    #[arg(long, value_name = "NAME")]
    pub(crate) argv0: Option<OsString>,

    /// End the run after this time: 10s, 500ms, 2m
    ///
    /// Wall time of the whole run, boot included. The virtual machine is ended, with exit code 124.
    #[arg(long, value_name = "DUR", value_parser = units::parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// Show the log of kernel and application on standard error, from this level on
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub(crate) log: Option<LogLevel>,

    /// The QEMU program; default: qemu-system- with the architecture's name, in PATH
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    pub(crate) qemu: Option<PathBuf>,

    /// The virtiofsd program, for --dir; default: virtiofsd, in PATH
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    pub(crate) virtiofsd: Option<PathBuf>,

    /// The uhyve program, for --vmm uhyve; default: uhyve, in PATH
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    pub(crate) uhyve: Option<PathBuf>,

    /// Run the greeting that is built in, instead of a module
    #[arg(long, conflicts_with = "module_and_args")]
    pub(crate) greet: bool,

    /// Print a QEMU command line that runs the module by hand, and end
    ///
    /// The image is kept in the cache directory for it. Output is plain then: standard output and standard error
    /// are one stream. QEMU's own exit status is the guest's on riscv64; on x86_64 it is 3 for the guest's exit code 0,
    /// and 1 for any other; on aarch64 it tells nothing.
    #[arg(long)]
    pub(crate) print_command: bool,

    /// Say what is done, with the QEMU command line and all that the machine prints; -vv also names each frame
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// The module, .wasm or .wat, and its arguments: all that follows is the guest's, flags too
    #[arg(value_name = "MODULE [ARGS]", trailing_var_arg = true, value_hint = ValueHint::FilePath)]
    module_and_args: Vec<OsString>,
}

/// The program that makes the virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Vmm {
    /// Works everywhere
    Qemu,
    /// Hermit's own, with KVM
    Uhyve,
}

/// A choice of [`crate::qemu::machine::Accelerator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccelChoice {
    /// KVM if it works here, else TCG
    Auto,
    /// The processor's virtualisation, by /dev/kvm
    Kvm,
    /// QEMU's translation: slower, works everywhere
    Tcg,
}

/// The log levels that kernel and application know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Nothing
    Off,
    /// What went wrong
    Error,
    /// What may be wrong
    Warn,
    /// What is done
    Info,
    /// What helps to find a fault
    Debug,
    /// Everything
    Trace,
}

impl LogLevel {
    /// Its name on the boot line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Run {
    /// The machine that QEMU is to be.
    pub(crate) fn machine(&self) -> Result<Machine, Failure> {
        let machine = self.machine.unwrap_or(self.arch.usual_machine());
        if machine.is_of(self.arch) {
            return Ok(machine);
        }
        Err(Failure::usage(format!(
            "--machine {}: there is no such machine of --arch {}; use {}, or leave --machine out",
            machine.name(),
            self.arch.name(),
            self.arch.usual_machine().name()
        )))
    }

    /// The module to run; `None`: the greeting.
    pub(crate) fn module(&self) -> Option<&Path> {
        self.module_and_args.first().map(Path::new)
    }

    /// The guest's argv\[1..\].
    pub(crate) fn args(&self) -> Result<Vec<String>, Failure> {
        let args = self.module_and_args.iter().skip(1).enumerate();
        args.map(|(index, arg)| utf8(arg, || format!("argument {} of the guest", index + 1)))
            .collect()
    }

    /// The guest's argv\[0\], which for the greeting is the application's to choose.
    pub(crate) fn argv0(&self) -> Result<Option<String>, Failure> {
        if let Some(name) = &self.argv0 {
            return utf8(name, || "--argv0".to_string()).map(Some);
        }
        let Some(module) = self.module() else {
            return Ok(None);
        };
        let name = module.file_name().unwrap_or(module.as_os_str());
        Ok(Some(name.to_string_lossy().into_owned()))
    }

    /// The guest's environment; `lookup` finds the values that are taken over from the host.
    pub(crate) fn environment(
        &self,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Vec<(String, String)>, Failure> {
        let mut environment = Vec::new();
        for setting in &self.env {
            let setting = utf8(setting, || "--env".to_string())?;
            let (key, value) = match setting.split_once('=') {
                Some((key, value)) => (key.to_string(), value.to_string()),
                None => match lookup(&setting) {
                    Some(value) => {
                        let value = utf8(&value, || format!("--env: the value of {setting}"))?;
                        (setting, value)
                    }
                    None => continue,
                },
            };
            if key.is_empty() {
                return Err(Failure::usage(
                    "--env: the variable has no name; expected K=V or K",
                ));
            }
            environment.push((key, value));
        }
        Ok(environment)
    }
}

/// WASI strings are UTF-8, and so is the boot line.
fn utf8(text: &std::ffi::OsStr, what: impl Fn() -> String) -> Result<String, Failure> {
    let text = text.to_str();
    text.map(str::to_string).ok_or_else(|| {
        Failure::usage(format!(
            "{} is not UTF-8, which is all that a WASI program can be given",
            what()
        ))
    })
}

fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = units::parse_size(text)?;
    if bytes < SMALLEST_MEMORY {
        let smallest = units::show_size(SMALLEST_MEMORY);
        let hint = match text.parse::<u64>() {
            Ok(number) => format!("; a number without a unit is bytes, did you mean {number}M?"),
            Err(_) => String::new(),
        };
        return Err(format!(
            "no machine boots with {}; the least is {smallest}{hint}",
            units::show_size(bytes)
        ));
    }
    Ok(bytes)
}

/// Writes a shell's completion script to standard output.
pub(crate) fn complete(shell: Shell) -> Result<Outcome, Failure> {
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
    let script = String::from_utf8_lossy(&script).replace(" hermit_wasm\n", " hermit-wasm\n");
    match std::io::stdout().write_all(script.as_bytes()) {
        Ok(()) => Ok(Outcome::Exit(boot_protocol::exit_code::SUCCESS)),
        Err(error) => Err(Failure::machine(format!("completions: cannot write: {error}"))),
    }
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
  hermit-wasm run --dir . app.wasm input.txt    with this directory, shared
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
#[path = "cli_tests.rs"]
mod tests;
