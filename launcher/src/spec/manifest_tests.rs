//! Tests of `manifest`: Hermitfiles as runs.

use super::*;
use crate::pack::{Format, Packed};
use crate::spec::run::DEFAULT_MEMORY;

/// A directory with a Hermitfile, two modules and a directory to copy; what becomes of the Hermitfile.
fn applied(text: &str) -> Result<(tempfile::TempDir, Run), Error> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("Hermitfile");
    std::fs::write(&path, text).unwrap();
    std::fs::write(directory.path().join("m.wat"), "(module)").unwrap();
    std::fs::write(directory.path().join("other.wat"), "(module)").unwrap();
    std::fs::create_dir(directory.path().join("lib")).unwrap();
    std::fs::write(directory.path().join("a.txt"), "a").unwrap();
    std::os::unix::fs::symlink("a.txt", directory.path().join("link")).unwrap();
    let deadline = Deadline::never();
    let file = Hermitfile::open(path, &deadline)?;
    let run = Run::new(file.module(DEFAULT_MEMORY, &deadline)?);
    let run = file.apply(run.env("A", "0"), DEFAULT_MEMORY, &deadline)?;
    Ok((directory, run))
}

#[test]
fn what_it_says_is_in_the_run() {
    let (directory, run) = applied(
        "FROM m.wat\nARGV [\"-v\", \"\"]\nENV A=1\nENTRYPOINT f\nMAP [\"src:/there:ro\"]\nCOPY lib /lib\n\
         TMPFS /tmp 1M\nLINK env=other.wat\nENGINE interp\nFUEL 7\nTIMEOUT 90s\n\
         TRAP_ON_GROW_FAILURE\nDETERMINISTIC 5\nENV_PWD_IS_HOST_CWD\nENV_EXE_NAME_IS_HOST_EXE_NAME\n",
    )
    .unwrap();
    assert_eq!(run.name().as_deref(), Some("m.wat"));
    assert_eq!(run.spec.argv, ["-v", ""]);
    assert_eq!(run.spec.entry.as_deref(), Some("f"));
    let variable = |name: &str| {
        let values = run.spec.env.iter().filter(|(key, _)| key == name);
        values.map(|(_, value)| value.clone()).next_back()
    };
    assert_eq!(variable("A").as_deref(), Some("1"));
    let path = |path: std::io::Result<PathBuf>| path.unwrap().to_str().map(str::to_string);
    assert_eq!(variable("PWD"), path(std::env::current_dir()));
    assert_eq!(variable("EXE_NAME"), path(std::env::current_exe()));
    let mounts: Vec<String> = run.mounts.iter().map(ToString::to_string).collect();
    let lib = directory.path().join("lib");
    assert_eq!(
        mounts,
        [
            "--dir src::/there:ro".to_string(),
            format!("--copy-dir {}::/lib:ro", lib.display()),
            "--tmpfs /tmp,size=1048576".to_string(),
        ]
    );
    assert_eq!(run.preloads.len(), 1);
    assert_eq!(run.engines.demanded, Some(Engine::Interp));
    let limits = Limits::NONE
        .with(Limit::Fuel, 7)
        .with(Limit::Deadline, 90_000_000_000)
        .trapping_on_grow_failure();
    assert_eq!(run.spec.limits, limits);
    assert_eq!(run.spec.deterministic, Some(5));
    // Of several values the lowest holds.
    let run = run.limits(Limits::NONE.with(Limit::Fuel, 8).with(Limit::Deadline, 1));
    assert_eq!(run.spec.limits, limits.with(Limit::Deadline, 1));
}

#[test]
fn directories_of_the_host_are_looked_for_where_it_runs() {
    let text = "FROM m.wat\nMAP nowhere-at-all:/data\n";
    let error = applied(text).unwrap_err().to_string();
    assert!(error.contains("nowhere-at-all"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("Hermitfile");
    std::fs::write(&path, text).unwrap();
    std::fs::write(directory.path().join("m.wat"), "(module)").unwrap();
    let deadline = Deadline::never();
    let file = Hermitfile::open(path, &deadline).unwrap().to_be_packed();
    let run = Run::new(file.module(DEFAULT_MEMORY, &deadline).unwrap());
    let run = file.apply(run, DEFAULT_MEMORY, &deadline).unwrap();
    assert_eq!(run.mounts[0].to_string(), "--dir nowhere-at-all::/data");
}

#[test]
fn files_that_are_copied_make_directories() {
    let (directory, run) = applied(
        "FROM m.wat\nCOPY a.txt /etc/b.txt\nCOPY lib /etc/lib\nCOPY link /etc/\nCOPY a.txt /c\nCOPY m.wat .\n\
         COPY m.wat d\nCOPY m.wat ./x/y\nCOPY m.wat \"/etc//./e\"\n",
    )
    .unwrap();
    let mounts: Vec<String> = run.mounts.iter().map(ToString::to_string).collect();
    let here = directory.path().display();
    assert_eq!(
        mounts,
        [
            format!("COPY {here}/a.txt /etc/b.txt, COPY {here}/link /etc/link, COPY {here}/m.wat /etc/e"),
            format!("--copy-dir {here}/lib::/etc/lib:ro"),
            format!("COPY {here}/a.txt /c"),
            format!("COPY {here}/m.wat ./m.wat, COPY {here}/m.wat ./d"),
            format!("COPY {here}/m.wat ./x/y"),
        ]
    );
    assert!(run.mounts.iter().all(|mount| mount.access == Access::ReadOnly));
}

#[test]
fn the_machine_has_what_memory_grants() {
    let memory_of = |text: &str, demanded, limits, deterministic| {
        let manifest = Manifest::parse("H", format!("FROM m\n{text}").as_bytes()).unwrap();
        let path = "H".into();
        let file = Hermitfile {
            path,
            manifest,
            runs_here: true,
        };
        file.memory(demanded, &limits, deterministic)
    };
    let memory = |text: &str, demanded, limits| memory_of(text, demanded, limits, false);
    let none = Limits::NONE;
    assert_eq!(memory("", None, none).unwrap(), DEFAULT_MEMORY);
    assert_eq!(memory("", Some(7), none).unwrap(), 7);
    assert_eq!(memory("MEMORY 64M", None, none).unwrap(), DEFAULT_MEMORY);
    assert_eq!(memory("MEMORY 1G", None, none).unwrap(), 1344 * MIB);
    assert_eq!(memory("MEMORY 1G", Some(1 << 30), none).unwrap(), 1 << 30);
    assert_eq!(
        memory("MEMORY 1G", Some(1), none).unwrap_err().to_string(),
        "H: MEMORY 1GiB: the machine has only 1 bytes; pass --memory 1.3 GiB or more, or omit --memory"
    );
    let less = Limits::NONE.with(Limit::Memory, 5);
    assert_eq!(memory("MEMORY 1G", Some(5), less).unwrap(), 5);
    // The half more of a deterministic run must be free.
    let said = memory("MEMORY 1G\nDETERMINISTIC", None, none);
    assert_eq!(said.unwrap(), 1600 * MIB);
    assert_eq!(memory_of("MEMORY 1G", None, none, true).unwrap(), 1600 * MIB);
    assert_eq!(memory_of("MEMORY 64M", None, none, true).unwrap(), DEFAULT_MEMORY);
    assert_eq!(memory_of("", None, none, true).unwrap(), DEFAULT_MEMORY);
}

#[test]
fn what_cannot_be_done_is_refused_by_its_name() {
    for (text, expected) in [
        ("COPY nothing /lib", "COPY nothing /lib: '"),
        ("COPY a.txt /x/..", "COPY a.txt /x/..: the copy has no file name"),
        ("COPY a.txt /x/\nCOPY link /x/a.txt", "COPY link /x/a.txt: '"),
        (
            "COPY /dev/null /x",
            "COPY /dev/null /x: it is neither a file nor a directory",
        ),
        ("FDS 2", "FDS 2: the program starts with 3"),
        ("FDS 4\nTMPFS /a\nTMPFS /b", "FDS 4: the program starts with 5"),
        ("MAP nothing:/x", "MAP [\"nothing:/x\"]: 'nothing' (seen from '"),
        (
            "MAP /dev/null:/x",
            "MAP [\"/dev/null:/x\"]: '/dev/null' is not a directory",
        ),
        ("NET tcp", "2:5: 'tcp' has no port"),
        ("FDS 4\nTMPFS /a\nEXPOSE 80", "FDS 4: the program starts with 5"),
        ("LINK a=nothing.wasm", "nothing.wasm"),
    ] {
        let error = applied(&format!("FROM m.wat\n{text}\n")).unwrap_err().to_string();
        assert!(
            error.contains(&format!("Hermitfile:{expected}")) || error.contains(expected),
            "{error}"
        );
    }
    let missing = Hermitfile::open("/nonexistent/Hermitfile", &Deadline::never()).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("the Hermitfile '/nonexistent/Hermitfile' cannot be read: ")
    );
}

#[test]
fn what_was_packed_has_the_memory_that_its_hermitfile_grants() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("m.wasm"), b"\0asm\x01\0\0\0").unwrap();
    std::fs::write(at("H"), "FROM m.wasm\nMEMORY 512MiB\n").unwrap();
    let never = Deadline::never();
    let file = Hermitfile::open(at("H"), &never).unwrap().to_be_packed();
    let run = Run::new(file.module(DEFAULT_MEMORY, &never).unwrap());
    let run = file.apply(run, DEFAULT_MEMORY, &never).unwrap();
    run.pack(Format::Initrd, &at("packed")).unwrap();
    let packed = Packed::open(&at("packed")).unwrap().unwrap();
    assert_eq!(packed.memory(), None);
    assert_eq!(Run::packed(packed).unwrap().machine.memory, 704 * MIB);
}
