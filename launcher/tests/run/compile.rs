//! `hermit-wasm compile` with a compiler that is a script: what it does once, what it does again, and what it says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use aot_config::protocol::identity;
use boot_protocol::exit_code;
use libtest_mimic::Trial;

use crate::harness::{Done, MODULE, Scratch, finish, runs, test, until};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("compile::code_is_kept_and_found", kept),
        test("compile::many_at_once_compile_once", once),
        test("compile::damaged_code_is_compiled_again", damaged),
        test("compile::the_module_is_handed_over_for_reading", for_reading),
        test("compile::what_is_no_module_any_more_is_left", left),
        test("compile::text_is_translated_first", text),
        test("compile::each_failure_says_what_to_do", failures),
        test("compile::a_compiler_that_hangs_ends_with_the_time", hangs),
        test("compile::for_the_next_time_one_at_a_time", next_time),
        test("compile::without_a_cache_it_compiles_all_the_same", no_cache),
    ]
}

/// What a script writes beside itself, which no jail lets it.
const STARTED: &str = "echo $$ >>\"$(dirname \"$0\")/started\"";

struct Place {
    scratch: Scratch,
    compiler: PathBuf,
}

impl Place {
    /// A compiler that answers as ours does, and then does this.
    fn new(script: &str) -> Self {
        let scratch = Scratch::new();
        scratch.file("m.wasm", MODULE);
        let text = format!("#!/bin/sh\n{STARTED}\necho '{}' >&2\n{script}\n", identity());
        let compiler = scratch.file("compiler", text.as_bytes());
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
        Self { scratch, compiler }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"));
        command
            .args(["compile", "--jail", "off"])
            .env("HERMIT_WASM_COMPILER", &self.compiler)
            .env("XDG_CACHE_HOME", self.scratch.path().join("cache"))
            .current_dir(self.scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn compile(&self, words: &[&str]) -> Done {
        finish(self.command().args(words))
    }

    /// The compilers that were started.
    fn started(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.scratch.path().join("started")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.scratch.path().join(name)).unwrap()
    }

    /// What the cache holds.
    fn entries(&self) -> Vec<PathBuf> {
        let cache = self.scratch.path().join("cache/hermit-wasm");
        let versions = fs::read_dir(cache).into_iter().flatten();
        versions
            .flat_map(|version| fs::read_dir(version.unwrap().path()).into_iter().flatten())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "cwasm"))
            .collect()
    }
}

/// It gives the module back as its code, behind what code begins with.
const ECHO: &str = r"printf '\177ELF\002\001\001\310code: '; cat";

/// Its code of [`MODULE`].
const ECHOED: &[u8] = b"\x7fELF\x02\x01\x01\xc8code: \0asm\x01\0\0\0hwcwasm";

fn kept() {
    let place = Place::new(ECHO);
    place.compile(&["m.wasm"]).expect_code(0).expect_silence();
    let first = place.read("m.cwasm");
    assert!(first.starts_with(ECHOED));
    place
        .compile(&["m.wasm", "-o", "again"])
        .expect_code(0)
        .expect_silence();
    let done = place.compile(&["-o", "/dev/stdout", "m.wasm"]).expect_code(0);
    assert!(first == place.read("again") && first == done.stdout);
    assert_eq!((place.started().len(), place.entries().len()), (1, 1));
    // Another module, processor or architecture is another entry.
    place.compile(&["m.wasm", "--cpu", "x86-64-v3"]).expect_code(0);
    place
        .compile(&["m.wasm", "--target", "riscv64gc-unknown-linux-gnu"])
        .expect_code(0);
    place.scratch.file("n.wasm", &[MODULE, b"\0\x02\x01x"].concat());
    place.compile(&["n.wasm"]).expect_code(0);
    assert_eq!((place.started().len(), place.entries().len()), (4, 4));
}

fn once() {
    let place = Place::new(&format!("sleep 0.3; {ECHO}"));
    thread::scope(|scope| {
        for number in 0..6 {
            let place = &place;
            scope.spawn(move || {
                let name = format!("out{number}");
                place
                    .compile(&["m.wasm", "-o", &name])
                    .expect_code(0)
                    .expect_silence();
            });
        }
    });
    assert_eq!(place.started().len(), 1);
    for number in 1..6 {
        assert!(place.read("out0") == place.read(&format!("out{number}")));
    }
}

fn damaged() {
    let place = Place::new(ECHO);
    place.compile(&["m.wasm"]).expect_code(0);
    let good = place.read("m.cwasm");
    let entry = place.entries().pop().unwrap();
    for at in [0, 8, good.len() - 100, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&entry, &bad).unwrap();
        let before = place.started().len();
        place.compile(&["m.wasm"]).expect_code(0);
        assert_eq!(place.started().len(), before + 1, "byte {at}");
        assert!(fs::read(&entry).unwrap() == good);
    }
    // Code of another cache: another key.
    let other = Place::new(ECHO);
    other.compile(&["m.wasm"]).expect_code(0);
    fs::copy(&entry, other.entries().pop().unwrap()).unwrap();
    other.compile(&["m.wasm"]).expect_code(0);
    assert_eq!(other.started().len(), 2);
}

fn for_reading() {
    let begin = r"cat >/dev/null; printf '\177ELF\002\001\001\310'";
    let place = Place::new(&format!(
        "{begin}; printf x 2>&- >&0 && printf written || printf kept"
    ));
    place.compile(&["m.wasm"]).expect_code(0);
    assert!(place.read("m.cwasm").starts_with(b"\x7fELF\x02\x01\x01\xc8kept"));
}

/// The file of a module may be something else by the time it is compiled.
fn left() {
    let place = Place::new(ECHO);
    for (name, content) in [("t.wat", &b"(module)"[..]), ("n.wasm", b"nonsense")] {
        let path = place.scratch.file(name, content);
        let mut command = place.command();
        command
            .args(["--for-next-time", "--cpu", "x86-64-v2", "/dev/stdin"])
            .stdin(fs::File::open(path).unwrap());
        finish(&mut command);
        assert_eq!((place.started().len(), place.entries().len()), (0, 0), "{name}");
    }
}

fn text() {
    let place = Place::new(ECHO);
    place.scratch.file("t.wat", b"(module)");
    place.compile(&["t.wat"]).expect_code(0).expect_silence();
    assert!(place.read("t.cwasm").starts_with(ECHOED));
    place.compile(&["m.wasm"]).expect_code(0);
    assert_eq!(place.started().len(), 1, "the same module");
    place.scratch.file("bad.wat", b"(module (nonsense))");
    place
        .compile(&["bad.wat"])
        .expect_code(exit_code::MODULE_REFUSED)
        .expect_message(&["bad.wat:1:"]);
}

fn failures() {
    let failing = |script: &str| Place::new(script).compile(&["m.wasm"]);
    failing("echo 'invalid 258 no such type' >&2; exit 1")
        .expect_code(exit_code::MODULE_REFUSED)
        .expect_message(&["'m.wasm' is not a valid module: no such type", "0x102"]);
    failing("echo 'unsupported stack-switching at 5' >&2; exit 1")
        .expect_code(exit_code::MODULE_REFUSED)
        .expect_message(&["stack-switching"]);
    failing("echo 'thread panicked' >&2; exit 101")
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["cannot be compiled", "thread panicked"]);
    failing("echo 'hindered cannot start threads' >&2; exit 1")
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["'m.wasm' was not compiled", "cannot start threads"]);
    failing("echo nonsense")
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["no native code"]);
    let place = Place::new(ECHO);
    let nowhere = finish(
        place
            .command()
            .arg("m.wasm")
            .env("HERMIT_WASM_COMPILER", "/nonexistent"),
    );
    nowhere
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["HERMIT_WASM_COMPILER", "/nonexistent"]);
    let other = finish(
        place
            .command()
            .arg("m.wasm")
            .env("HERMIT_WASM_COMPILER", "/bin/true"),
    );
    other
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["does not belong to this hermit-wasm", "build both"]);
    assert!(place.entries().is_empty());
    place
        .compile(&["m.wasm", "--arch", "aarch64", "--cpu", "x86-64-v2"])
        .expect_code(exit_code::USAGE)
        .expect_message(&["--cpu", "x86_64", "aarch64"]);
    place
        .compile(&["nothing.wasm"])
        .expect_code(exit_code::MODULE_NOT_FOUND)
        .expect_message(&["nothing.wasm"]);
    place
        .compile(&["m.wasm", "-o", "no/such/directory"])
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["-o", "No such file"]);
}

fn hangs() {
    let place = Place::new("sleep 1000");
    place
        .compile(&["m.wasm", "--timeout", "300ms"])
        .expect_code(exit_code::TIMEOUT);
    for pid in place.started() {
        until("the compiler is gone", || !runs(pid));
    }
    assert!(!place.scratch.path().join("m.cwasm").exists());
}

fn next_time() {
    let place = Place::new(&format!("sleep 0.5; {ECHO}"));
    let later = |module: &Path| {
        let mut command = place.command();
        command
            .args(["--for-next-time", "--cpu", "x86-64-v2", "/dev/stdin"])
            .stdin(fs::File::open(module).unwrap());
        command.spawn().unwrap()
    };
    let first = later(&place.scratch.path().join("m.wasm"));
    until("the compiler runs", || !place.started().is_empty());
    // Whoever comes second leaves it.
    let other = place.scratch.file("n.wasm", &[MODULE, b"\0\x02\x01x"].concat());
    crate::harness::wait(later(&other)).expect_code(0);
    crate::harness::wait(first).expect_code(0);
    assert_eq!((place.started().len(), place.entries().len()), (1, 1));
    crate::harness::wait(later(&other)).expect_code(0);
    assert_eq!(place.entries().len(), 2);
}

fn no_cache() {
    let place = Place::new(ECHO);
    place.scratch.file("cache", b"no directory");
    place.compile(&["m.wasm"]).expect_code(0);
    place.compile(&["m.wasm"]).expect_code(0);
    assert_eq!(place.started().len(), 2);
    assert!(place.read("m.cwasm").starts_with(ECHOED));
}
