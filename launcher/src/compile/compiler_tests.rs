//! The compiler as a program that does as it likes, and the real one with modules that do.

use std::fs;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use aot_config::Arch;

use super::*;

/// Runs a program with this module, and returns what has come of it.
fn run(
    program: &Path,
    module: &[u8],
    budget: Budget,
    deadline: &Deadline,
) -> Result<(Vec<u8>, u32), CompileError> {
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(module).unwrap();
    input.rewind().unwrap();
    let mut out = tempfile::tempfile().unwrap();
    let run = Run {
        module: &input,
        name: "'m.wasm'".to_string(),
        program: None,
        out: &out,
        target: Target::new(Arch::X86_64),
        budget: &budget,
        jail: Jail::Auto,
        background: false,
    };
    let mut told = 0;
    run.run_program(program, deadline, &mut |progress| told = progress.done)
        .unwrap()?;
    let mut code = Vec::new();
    out.rewind().unwrap();
    out.read_to_end(&mut code).unwrap();
    Ok((code, told))
}

/// The same with a script.
fn script(text: &str, time: Duration) -> Result<(Vec<u8>, u32), CompileError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("compiler");
    fs::write(
        &path,
        format!("#!/bin/sh\nid() {{ echo '{}' >&2; }}\n{text}\n", identity()),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let budget = Budget {
        time,
        memory: 512 * MIB,
    };
    run(&path, b"module", budget, &Deadline::never())
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn what_it_answers_is_taken() {
    let (code, told) = script("id; echo progress 3 4 >&2; printf 'code of '; cat", LONG).unwrap();
    assert_eq!((code.as_slice(), told), (b"code of module".as_slice(), 3));
}

#[test]
fn each_way_to_fail_is_an_error_of_its_own() {
    let error = |text: &str| script(text, LONG).unwrap_err();
    for other in [
        "",
        "echo hello >&2",
        "echo hermit-wasm-compiler 1.0 0 >&2; sleep 1000",
        "exec >&- 2>&-; sleep 1",
    ] {
        assert!(
            matches!(error(other), CompileError::OtherVersion { .. }),
            "{other}"
        );
    }
    let invalid = error("id; echo invalid 17 no such type >&2; exit 1");
    assert_eq!(
        invalid.to_string(),
        "'m.wasm' is not a valid module: no such type (at offset 0x11)"
    );
    assert!(invalid.refuses_the_module());
    let unsupported = error("id; echo unsupported threads,stack-switching at 5 >&2; exit 1");
    assert!(
        unsupported.to_string().contains("threads, stack-switching"),
        "{unsupported}"
    );
    assert!(matches!(
        error("id; echo failed so >&2; exit 1"),
        CompileError::Failed { .. }
    ));
    let memory = "id; echo memory allocation of 5 bytes failed >&2; exit 134";
    assert!(matches!(error(memory), CompileError::Memory { .. }));
    let hindered = error("id; echo hindered cannot start threads >&2; exit 1");
    let crashed = error("id; echo panicked here >&2; exit 101").to_string();
    assert!(
        crashed.contains("101") && crashed.contains("panicked here"),
        "{crashed}"
    );
    // What the host does is not the module's doing, and is tried again.
    for error in [hindered, error("id; exit 3")] {
        assert!(matches!(error, CompileError::Hindered { .. }), "{error}");
        assert!(!error.is_the_modules());
    }
    // Words without end, of whoever has taken it over.
    let noise = error("id; head -c 3000000 /dev/zero >&2; echo >&2; yes | head -c 3000000 >&2; exit 3");
    assert!(noise.to_string().len() < 200_000);
    let nothing = Path::new("/nonexistent");
    let budget = Budget::of(0);
    let start = run(nothing, b"", budget, &Deadline::never()).unwrap_err();
    assert!(matches!(start, CompileError::Start { .. }));
    for error in [invalid, unsupported] {
        assert!(error.is_the_modules());
    }
    assert!(!start.is_the_modules());
}

/// How a run ends whose compiler ends so.
fn crashed(status: i32, words: &str) -> CompileError {
    let file = tempfile::tempfile().unwrap();
    let run = Run {
        module: &file,
        name: "'m.wasm'".to_string(),
        program: None,
        out: &file,
        target: Target::new(Arch::X86_64),
        budget: &Budget::of(0),
        jail: Jail::Auto,
        background: false,
    };
    run.crashed(ExitStatus::from_raw(status), words)
}

#[test]
fn only_what_another_attempt_would_end_alike_is_the_modules() {
    assert!(matches!(crashed(101 << 8, ""), CompileError::Failed { .. }));
    let overflow = "thread '<unknown>' has overflowed its stack";
    assert!(matches!(
        crashed(libc::SIGABRT, overflow),
        CompileError::Failed { .. }
    ));
    assert!(matches!(
        crashed(libc::SIGABRT, "memory allocation of 5"),
        CompileError::Memory { .. }
    ));
    assert!(matches!(crashed(libc::SIGXFSZ, ""), CompileError::TooLong { limit, .. } if limit == 512 * MIB));
    // The system kills whoever takes memory that it does not have, and whoever is in the way.
    for status in [libc::SIGKILL, libc::SIGTERM, libc::SIGSEGV, 3 << 8] {
        let error = crashed(status, "");
        assert!(
            matches!(error, CompileError::Hindered { .. }) && !error.is_the_modules(),
            "{error}"
        );
    }
    let slow = CompileError::Time {
        module: String::new(),
        limit: LONG,
    };
    assert!(!slow.is_the_modules());
}

#[test]
fn code_is_as_long_as_memory_is_large() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("compiler");
    let text = format!(
        "#!/bin/sh\necho '{}' >&2\nyes | head -c 9000000 || exit 1\n",
        identity()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let with = |memory: u64| {
        let budget = Budget { time: LONG, memory };
        run(&path, b"module", budget, &Deadline::never()).map(|(code, _)| code.len())
    };
    assert_eq!(with(64 * MIB).unwrap(), 9_000_000);
    with(8 * MIB).unwrap_err();
}

/// Whoever takes the compiler over may have the other end of its words, and take back what it has said.
#[test]
fn a_compiler_that_reads_its_own_words_is_stopped_in_time() {
    let text = "id; exec 3</dev/fd/2 || exit 1; while :; do echo x >&2; read -r line <&3; done";
    match script(text, Duration::from_millis(500)).unwrap_err() {
        CompileError::Time { .. } => {}
        // Where the jail has no such name.
        CompileError::Hindered { .. } => println!("SKIP: it cannot open its own pipe in this jail"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_place_is_safe_if_only_its_owner_and_root_can_change_it() {
    let (own, other) = (1000, 1001);
    for (owner, group, mode, is_directory, safe) in [
        (own, 100, 0o755, true, true),
        (0, 0, 0o755, true, true),
        (0, 0, 0o1777, true, true),
        (own, 100, 0o755, false, true),
        // A group of one's own, and one of others.
        (own, own, 0o775, true, true),
        (own, 100, 0o775, true, false),
        (0, own, 0o775, true, false),
        (own, own, 0o777, true, false),
        (own, 100, 0o757, false, false),
        // The bit means something else of a file.
        (own, 100, 0o1777, false, false),
        (other, other, 0o755, true, false),
        (other, 0, 0o1777, true, false),
    ] {
        let found = is_safe(owner, group, mode, is_directory, own);
        assert_eq!(found, safe, "{owner} {group} {mode:o} {is_directory}");
    }
    // Root has no group of its own in this sense.
    assert!(!is_safe(0, 0, 0o775, true, 0));
}

#[test]
fn a_compiler_is_trusted_by_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().canonicalize().unwrap().join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("compiler");
    fs::write(&path, "").unwrap();
    let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&inner, 0o755);
    set(&path, 0o755);
    assert_eq!(trusted(&path), Ok(path.clone()));
    // By another name it is still the same file.
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(trusted(&link), Ok(path.clone()));
    set(&inner, 0o757);
    assert_eq!(trusted(&link), Err(inner.clone()));
    set(&inner, 0o755);
    set(&path, 0o757);
    assert_eq!(trusted(&path), Err(path.clone()));
}

#[test]
fn what_takes_too_long_is_stopped() {
    let short = Duration::from_millis(100);
    for slow in [
        "id; sleep 1000",
        "id; exec 2>&-; sleep 1000",
        "sleep 1000",
        "id; while :; do echo x >&2; done",
    ] {
        let error = script(slow, short).unwrap_err();
        assert!(matches!(error, CompileError::Time { .. }), "{slow}: {error}");
    }
}

/// It sees its libraries, its streams, and nothing else.
#[test]
fn it_sees_nothing_of_this_host() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let text = format!(
        "id; env | grep -v -e ^PWD -e ^SHLVL -e ^OLDPWD -e ^_=; read -r line <'{0}' && echo $line; \
         echo x >'{0}' && echo written; ls /dev/fd/ | grep -v -e '^[0123]$'; :",
        secret.display()
    );
    let (said, _) = script(&text, LONG).unwrap();
    assert_eq!(String::from_utf8(said).unwrap(), "");
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
}

/// The real compiler, if it was built of these sources.
fn real() -> Option<PathBuf> {
    let found = find().ok();
    let says = |path: &PathBuf| {
        let output = std::process::Command::new(path).arg("--version").output();
        output.is_ok_and(|output| output.stdout.trim_ascii() == identity().as_bytes())
    };
    let found = found.filter(says);
    if found.is_none() {
        println!("SKIP: no compiler was built of these sources; `cargo xtask compiler` builds it");
    }
    found
}

/// A number as WebAssembly writes it.
fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn section(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number], leb(content.len()).as_slice(), content].concat()
}

/// A module of so many functions, each of so many multiplications.
fn large(functions: usize, multiplications: usize) -> Vec<u8> {
    // Of its parameter, an i32, by itself.
    let mut body = vec![0];
    for _ in 0..multiplications {
        body.extend([0x20, 0, 0x20, 0, 0x6c, 0x21, 0]);
    }
    body.push(0x0b);
    let body = [leb(body.len()), body].concat();
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(section(1, &[1, 0x60, 1, 0x7f, 0]));
    module.extend(section(3, &[leb(functions), vec![0; functions]].concat()));
    module.extend(section(10, &[leb(functions), body.repeat(functions)].concat()));
    module
}

#[test]
fn a_module_is_compiled() {
    let Some(compiler) = real() else { return };
    let module = large(20, 3);
    let (code, _) = run(&compiler, &module, Budget::of(0), &Deadline::never()).unwrap();
    assert!(code.starts_with(b"\x7fELF"));
    let invalid = run(
        &compiler,
        &module[..module.len() - 1],
        Budget::of(0),
        &Deadline::never(),
    );
    assert!(
        matches!(invalid, Err(CompileError::Invalid { .. })),
        "{invalid:?}"
    );
}

#[test]
fn a_module_without_end_is_bounded_in_time_and_in_memory() {
    let Some(compiler) = real() else { return };
    let module = large(3000, 1000);
    let short = Budget {
        time: Duration::from_millis(20),
        ..Budget::of(1 << 30)
    };
    let error = run(&compiler, &module, short, &Deadline::never()).unwrap_err();
    assert!(matches!(error, CompileError::Time { .. }), "{error}");
    let small = Budget {
        time: LONG,
        memory: 64 * MIB,
    };
    let error = run(&compiler, &large(1, 300_000), small, &Deadline::never()).unwrap_err();
    assert!(matches!(error, CompileError::Memory { .. }), "{error}");
}
