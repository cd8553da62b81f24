//! What reaches a terminal besides the guest's own output: text that it does not obey, and not too much of it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use boot_protocol::console::FrameKind;
use boot_protocol::{exit_code, file_kind};
use libtest_mimic::Trial;

use crate::harness::{Done, MODULE, Scratch, finish, tcg, tcg_module, test};

/// A title, a cleared screen, overridden and isolated text, C1's CSI, zero width, DEL, and a line of its own. The first
/// letters tell that it was quoted.
const EVIL: &str = "EVIL\u{1b}]0;title\u{7}\u{1b}[2J\u{202e}\u{2066}\u{9b}31m\u{200b}\u{7f}\u{2028}\r";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("shown::words_of_the_command_line", words_of_the_command_line),
        test("shown::text_modules", text_modules),
        test("shown::names_in_a_copied_directory", names_in_a_copied_directory),
        test("shown::the_applications_messages", the_applications_messages),
        test("shown::machine_and_hypervisor", machine_and_hypervisor),
        test(
            "shown::the_guests_own_output_is_as_it_is",
            the_guests_own_output_is_as_it_is,
        ),
    ]
}

/// Most bytes of a message with what belongs to it.
const MOST: usize = 20 * 1024;

impl Done {
    /// Checks that a terminal only shows what came, and that it is not too much.
    #[track_caller]
    fn expect_harmless(self) -> Self {
        let obeyed = |c: char| {
            c.is_control() && c != '\n' && c != '\t'
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        };
        assert_eq!(self.stderr.find(obeyed), None, "{:?}", self.stderr);
        assert!(self.stderr.len() < MOST, "{} bytes", self.stderr.len());
        self
    }
}

fn words_of_the_command_line() {
    let scratch = Scratch::new();
    scratch.file("m.wasm", MODULE);
    let evil = |before: &str, after: &str| OsString::from(format!("{before}{EVIL}{after}"));
    for (words, code) in [
        (vec![evil("./", ".wasm")], exit_code::MODULE_NOT_FOUND),
        (vec![evil("--", "")], exit_code::USAGE),
        (vec![evil("--env-", "=1")], exit_code::USAGE),
        (vec![evil("--memory=", "")], exit_code::USAGE),
        (vec![evil("--timeout=", "")], exit_code::USAGE),
        (vec![evil("--machine=", "")], exit_code::USAGE),
        (vec![evil("--arch=", "")], exit_code::USAGE),
        (vec![evil("--verbose=", "")], exit_code::USAGE),
        (vec![evil("--volume=/", ":/b")], exit_code::USAGE),
        (
            vec![evil("--dir=/nonexistent/", "::/"), "m.wasm".into()],
            exit_code::USAGE,
        ),
        (
            vec![evil("--copy-dir=/nonexistent/", "::/"), "m.wasm".into()],
            exit_code::USAGE,
        ),
        (
            vec![evil("--tmpfs=", ""), evil("--tmpfs=./", ""), "m.wasm".into()],
            exit_code::USAGE,
        ),
        (vec![evil("--qemu=/", ""), "m.wasm".into()], exit_code::VM_FAILED),
        (
            vec![evil("--virtiofsd=/", ""), "--dir=.::/".into(), "m.wasm".into()],
            exit_code::VM_FAILED,
        ),
        (vec!["--env".into(), evil("", ".wasm")], exit_code::USAGE),
    ] {
        let run = |words: &[OsString]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"));
            command
                .args(["run", "--vmm=qemu"])
                .args(words)
                .current_dir(scratch.path());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            finish(&mut command).expect_output("").expect_harmless()
        };
        run(&words).expect_code(code).expect_message(&["EVIL"]);
        // What is not UTF-8, too.
        let broken = words.into_iter().map(|mut word| {
            word.push(OsStr::from_bytes(b"\xff\xed\xa0\x80"));
            word
        });
        run(&broken.collect::<Vec<_>>());
    }
}

fn text_modules() {
    let scratch = Scratch::new();
    let long = "x".repeat(8 << 20);
    let name = format!("{EVIL}.wat");
    for (name, text) in [
        ("m.wat", format!("(module (EVIL \"{EVIL}\" {EVIL}))")),
        (
            "m.wat",
            format!("(module (func ${EVIL}) (export \"a\" (func $EVIL)))"),
        ),
        ("m.wat", format!("(module {EVIL} {long}")),
        ("m.wat", format!("(module (EVIL \"{long}\"))")),
        ("m.wat", format!("(module {long}EVIL)")),
        (&name, "(module (EVIL))".to_string()),
        (&name, "\u{1b}EVIL\u{7}".to_string()),
    ] {
        // Its start tells that it is text.
        let text = " ".repeat(file_kind::START) + &text;
        scratch.file(name, text.as_bytes());
        finish(tcg_module(&scratch, "hello").arg(name))
            .expect_code(exit_code::MODULE_REFUSED)
            .expect_output("")
            .expect_message(&["hermit-wasm: ", ".wat"])
            .expect_harmless();
    }
}

fn names_in_a_copied_directory() {
    let scratch = Scratch::new();
    let tree = scratch.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    for number in 0..50 {
        let name = format!("{number}{EVIL}{}", "x".repeat(100));
        let fifo = tree.join(name);
        let status = Command::new("mkfifo").arg(fifo).status().unwrap();
        assert!(status.success());
    }
    finish(tcg(&scratch, "hello").args(["--copy-dir", "tree::/t"]))
        .expect_code(0)
        .expect_output("out\n")
        .expect_message(&["are left out", "and 4", "EVIL"])
        .expect_harmless();
}

/// The scenario that sends these frames.
fn frames(frames: &[(FrameKind, &[u8])]) -> String {
    let words = frames.iter().map(|(kind, payload)| {
        let digits: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:02x}/{digits}", kind.byte())
    });
    format!("frames:{}", words.collect::<Vec<_>>().join(" "))
}

fn the_applications_messages() {
    let scratch = Scratch::new();
    let message = format!("hermit-wasm: {EVIL}\n");
    let scenario = frames(&[(FrameKind::Diagnostic, message.as_bytes())]);
    finish(&mut tcg(&scratch, &scenario))
        .expect_code(0)
        .expect_message(&["hermit-wasm: EVIL"])
        .expect_harmless();
    // However much a fallen machine says.
    let much = message.repeat(300);
    let scenario = frames(&[(FrameKind::Diagnostic, much.as_bytes())]);
    finish(&mut tcg(&scratch, &scenario))
        .expect_code(0)
        .expect_harmless()
        .expect_message(&["bytes left out"]);
}

fn machine_and_hypervisor() {
    let scratch = Scratch::new();
    for (scenario, flags, code) in [
        ("say on the line", [].as_slice(), exit_code::VM_FAILED),
        ("say on the line", &["-vv"], exit_code::VM_FAILED),
        ("say on the line and exit", &["-v"], 0),
        ("say on the line and exit", &["--log", "debug"], 0),
        ("say as QEMU", &[], exit_code::VM_FAILED),
        ("say as QEMU", &["-v"], exit_code::VM_FAILED),
    ] {
        for text in [format!("{EVIL}\n"), format!("one\n{EVIL}\nthree {EVIL}\n")] {
            finish(tcg(&scratch, &format!("{scenario}:{text}")).args(flags))
                .expect_code(code)
                .expect_message(&["EVIL"])
                .expect_harmless();
        }
    }
    // Colours, which logs have, are left out.
    finish(&mut tcg(&scratch, "say as QEMU:\u{1b}[1;31mEVIL\u{1b}[0m\n"))
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["): EVIL. It had"])
        .expect_harmless();
}

fn the_guests_own_output_is_as_it_is() {
    let scratch = Scratch::new();
    let bytes = [EVIL.as_bytes(), b"\xff\xed\xa0\x80\0"].concat();
    let scenario = frames(&[(FrameKind::Stdout, &bytes), (FrameKind::Stderr, EVIL.as_bytes())]);
    let done = finish(&mut tcg(&scratch, &scenario)).expect_code(0);
    assert_eq!(done.stdout, bytes);
    assert_eq!(done.stderr, EVIL);
}
