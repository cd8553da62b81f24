//! Compiling for the next time: a process that goes on when the launcher has ended.
//!
//! It is `hermit-wasm compile --for-next-time`, with the module as its standard input, in a session of its own, and
//! with no other descriptor: nobody who waits for the launcher's pipes, its terminal or its group waits for it. One at
//! a time runs for a user; whoever comes second leaves it to a later run.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::cache::Cache;
use super::compiler::{VARIABLE as COMPILER, stand_back};
use super::{Compilation, Target};
use crate::error::Error;
use crate::host::files::HostFile;
use crate::jail::{self, Jail};
use crate::spec::deadline::Deadline;
use crate::spec::module::Module;
use crate::spec::run::DEFAULT_MEMORY;

/// The environment that it needs: where the cache and the compiler are.
const VARIABLES: [&str; 3] = ["XDG_CACHE_HOME", "HOME", "PATH"];

/// The flag of `hermit-wasm compile` by which it knows what it is.
pub(super) const FLAG: &str = "--for-next-time";

/// Starts it; why not, if not.
pub(super) fn start(
    program: &Path,
    module: &Module,
    target: Target,
    jail: Jail,
    cache: &Cache,
    deadline: &Deadline,
) -> Result<(), String> {
    if rustix::process::getpid() == Pid::INIT {
        return Err("this is the first process, whose end is that of all others".to_string());
    }
    cache.is_writable()?;
    let compiler = super::compiler::find().map_err(|error| error.to_string())?;
    // Its own lock, which it takes again; here it tells whether it would.
    if cache.try_lock(ONE_AT_A_TIME).is_none() {
        return Err("another compilation for later is under way".to_string());
    }
    let text = |error: io::Error| error.to_string();
    let mut copy = None;
    let stdin: File = match module.file() {
        Some((file, _)) => file.try_clone().map_err(text)?,
        None => {
            let file = HostFile::empty("module.wasm").map_err(text)?;
            let written = module.write_to(&mut file.file(), deadline);
            written.map_err(|error| error.into_error("copy the module").to_string())?;
            let descriptor = file.file().as_fd().try_clone_to_owned().map_err(text)?;
            copy = Some(file);
            descriptor.into()
        }
    };
    // It starts elsewhere: what is named from here is named in full.
    let program = std::path::absolute(program).map_err(text)?;
    let mut command = Command::new(program);
    command
        .args([
            "compile",
            FLAG,
            "--jail",
            jail.name(),
            "--cpu",
            target.level.name(),
        ])
        .args(target.options.fuel.then_some("--fuel"))
        .args(target.options.deterministic.then_some("--deterministic"))
        .arg("/dev/stdin")
        .current_dir("/")
        .env_clear()
        .envs(
            VARIABLES
                .iter()
                .filter_map(|name| Some((name, env::var_os(name)?))),
        )
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if env::var_os(COMPILER).is_some_and(|name| !name.is_empty()) {
        command.env(COMPILER, compiler);
    }
    let started = jail::close_in_programs(&mut command).spawn();
    drop(copy);
    reap(started.map_err(text)?);
    Ok(())
}

/// Waits for a process on a thread of its own. Whoever starts many, as a program that embeds this library, would keep a
/// dead one of each; where this process ends first, the system does it.
fn reap(mut child: Child) {
    let wait = move || drop(child.wait());
    // Without a thread, it stays until this process ends.
    let _ = thread::Builder::new()
        .name("hermit-wasm later".to_string())
        .spawn(wait);
}

/// The name of the lock that whoever compiles for later holds.
pub(super) const ONE_AT_A_TIME: &str = "later";

/// What it may take in all: as long as any compilation, and as long again for one that it waits for.
const LONGEST: Duration = Duration::from_secs(20 * 60);

/// No module is larger that runs.
const LARGEST: u64 = 1 << 30;

/// What that process does: it leaves the launcher's session, runs when nothing else wants to, and compiles what its
/// standard input holds, if no other compiles for later.
///
/// # Errors
/// Nobody reads them, but for whoever starts it by hand.
pub fn perform(target: Target, jail: Jail, deadline: &Deadline) -> Result<(), Error> {
    // Fails only for whoever leads a group already, as a shell's command.
    let _ = rustix::process::setsid();
    let _ = rustix::process::nice(19);
    stand_back("self");
    let deadline = &Deadline::since(Instant::now(), LONGEST).and(deadline.clone());
    let cache = Cache::open().map_err(Error::Invalid)?;
    let Some(_lock) = cache.try_lock(ONE_AT_A_TIME) else {
        return Ok(());
    };
    let module = Module::open_until("/dev/stdin", DEFAULT_MEMORY, deadline)?;
    // The launcher hands over a module in binary form. Whoever owns the file may have made something else of it.
    if module.file().is_none_or(|(_, length)| length > LARGEST) {
        return Ok(());
    }
    let compilation = Compilation::new(&module, target, deadline)?.in_the_background();
    compilation.compile(&compilation.budget(), jail, deadline, &mut |_| {})??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use aot_config::Arch;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What the process is: its words, the module, its session, its descriptors, its environment.
    const SCRIPT: &str = "#!/bin/sh
cd \"$(dirname \"$0\")\"
{ echo \"$@\"; cat /dev/stdin; echo; readlink /proc/$$/fd/*; env | sed 's/=.*//'; pwd; } >saw
mv saw done
";

    #[test]
    fn a_process_is_started_that_has_the_module_and_nothing_else() {
        if super::super::compiler::find().is_err() {
            println!("SKIP: the compiler is not built here; `cargo xtask compiler` builds it");
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::at(&scratch.path().join("cache")).unwrap();
        let program = scratch.path().join("program");
        fs::write(&program, SCRIPT).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let module = Module::from_bytes("m.wasm", b"\0asm\x01\0\0\0".to_vec()).unwrap();
        let target = Target::new(Arch::X86_64);
        let begin = |cache: &Cache| start(&program, &module, target, Jail::Auto, cache, &Deadline::never());
        // One that is inherited unless something is done about it.
        let open = File::create(scratch.path().join("open")).unwrap();
        rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty()).unwrap();
        begin(&cache).unwrap();
        let done = scratch.path().join("done");
        let until = Instant::now() + LONGEST;
        while !done.exists() {
            assert!(Instant::now() < until, "it has not run");
            thread::sleep(Duration::from_millis(5));
        }
        // What this process has open is open for other programs still.
        let flags = rustix::io::fcntl_getfd(&open).unwrap();
        assert_eq!(flags, rustix::io::FdFlags::empty());
        let saw = fs::read(done).unwrap();
        let saw = String::from_utf8_lossy(&saw);
        let mut lines = saw.lines();
        let words = format!("compile {FLAG} --jail auto --cpu x86-64-v2 /dev/stdin");
        assert_eq!(lines.next(), Some(words.as_str()), "{saw}");
        assert_eq!(lines.next(), Some("\0asm\x01\0\0\0"), "{saw}");
        for line in lines {
            // Variables of the shell's own too. What it has open are the module, the null device, and two files here.
            let variable = VARIABLES.contains(&line)
                || line == COMPILER
                || ["PWD", "OLDPWD", "SHLVL", "_"].contains(&line);
            let module = line.contains("module.wasm");
            let here = ["", "saw", "program"].map(|name| scratch.path().join(name));
            let file = here.contains(&line.into()) || line == "/dev/null";
            assert!(variable || module || file, "{line}: {saw}");
        }
        // While one runs, and where nothing can be kept.
        let held = cache.try_lock(ONE_AT_A_TIME).unwrap();
        assert!(begin(&cache).unwrap_err().contains("under way"));
        drop(held);
    }
}
