//! The network by flags, by a Hermitfile and of what was packed: what the relay and the machine are told of it. The
//! machine is played by a stack on QEMU's end of the wire.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread::{self, JoinHandle};

use libtest_mimic::Trial;

use crate::harness::{MODULE, Scratch, finish, tcg_module, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("network_flags::a_flag_grants", a_flag_grants),
        test(
            "network_flags::a_flag_says_what_a_hermitfile_means",
            a_flag_says_what_a_hermitfile_means,
        ),
        test(
            "network_flags::a_flag_says_what_was_packed_means",
            a_flag_says_what_was_packed_means,
        ),
        test("network_flags::what_a_file_has_is_said", what_a_file_has_is_said),
        test(
            "network_flags::a_command_by_hand_has_qemu_s_network",
            a_command_by_hand_has_qemu_s_network,
        ),
        test(
            "network_flags::what_cannot_be_is_refused",
            what_cannot_be_is_refused,
        ),
    ]
}

/// A server of the host's that greets one client; its address.
fn greeter() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let (mut client, _) = listener.accept().unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        client.write_all(b"hello").unwrap();
    };
    (address, thread::spawn(serve))
}

/// The machine connects to the first name that is granted, at port 80, and to the second.
const ASK: &str = "ask the network:10.0.2.100:80 10.0.2.101:80";
const ANSWERS: &str = "10.0.2.100:80: hello\n10.0.2.101:80: Prohibited\n";

fn with_module() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("m.wasm", MODULE);
    scratch
}

fn run(scratch: &Scratch, words: &[&str]) -> Command {
    let mut command = tcg_module(scratch, ASK);
    command.args(["--engine", "interp"]).args(words);
    command
}

fn a_flag_grants() {
    let scratch = with_module();
    let (address, server) = greeter();
    let grant = format!("greeter:80={address}");
    finish(&mut run(&scratch, &["--net", &grant, "m.wasm"]))
        .expect_code(0)
        .expect_output(ANSWERS);
    server.join().unwrap();
}

fn a_flag_says_what_a_hermitfile_means() {
    let scratch = with_module();
    scratch.file("Hermitfile", b"FROM m.wasm\nNET [\"greeter:80\"]\n");
    let (address, server) = greeter();
    let grant = format!("greeter:80={address}");
    finish(&mut run(&scratch, &["-f", "Hermitfile", "--net", &grant]))
        .expect_code(0)
        .expect_output(ANSWERS);
    server.join().unwrap();
}

fn a_flag_says_what_was_packed_means() {
    let scratch = with_module();
    scratch.file("Hermitfile", b"FROM m.wasm\nNET [\"greeter:80\"]\n");
    let packed = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"))
        .args(["pack", "-o", "packed"])
        .current_dir(scratch.path())
        .status();
    assert!(packed.unwrap().success());
    let (address, server) = greeter();
    let grant = format!("greeter:80={address}");
    finish(&mut run(&scratch, &["--net", &grant, "packed"]))
        .expect_code(0)
        .expect_output(ANSWERS);
    server.join().unwrap();
    for wider in [
        &["--net", "other:80", "packed"][..],
        &["-p", "0:80", "packed"],
        &["-S", "inherit-network", "packed"],
    ] {
        finish(&mut run(&scratch, wider))
            .expect_code(2)
            .expect_message(&["exceeds what was packed", "NET and EXPOSE"]);
    }
    assert_eq!(scratch.started().len(), 1);
}

/// A file may be somebody else's: what it lets its program reach, and which ports of this host it opens, is said unless
/// flags say the same.
fn what_a_file_has_is_said() {
    let scratch = with_module();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = free.port();
    let hermitfile = format!("FROM m.wasm\nNET [\"192.0.2.7:443\"]\nEXPOSE {port}\n");
    scratch.file("Hermitfile", hermitfile.as_bytes());
    let packed = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"))
        .args(["pack", "-o", "packed"])
        .current_dir(scratch.path())
        .status();
    assert!(packed.unwrap().success());
    let nothing = "10.0.2.100:80: Prohibited\n10.0.2.101:80: Prohibited\n";
    let opened = format!("this host listens on {free} for the guest's tcp port {port}");
    let done = |words: &[&str]| {
        finish(&mut run(&scratch, words))
            .expect_code(0)
            .expect_output(nothing)
    };
    done(&["packed"]).expect_message(&["what was packed lets it connect to 192.0.2.7:443", &opened]);
    done(&["-f", "Hermitfile"]).expect_message(&[&opened]);
    let publish = format!("{port}:{port}");
    done(&["--net", "192.0.2.7:443", "-p", &publish, "packed"]).expect_silence();
}

fn a_command_by_hand_has_qemu_s_network() {
    let scratch = with_module();
    let words = ["-p", "8080:80", "--net", "redis:6379=127.0.0.1", "m.wasm"];
    let done = finish(run(&scratch, &["--print-command"]).args(words)).expect_code(0);
    let command = String::from_utf8(done.stdout).unwrap();
    for part in [
        "-netdev 'user,id=net,hostfwd=tcp:127.0.0.1:8080-:80' ",
        "netdev=net",
        "--wire=direct --net=redis:6379=10.0.2.2:6379 ",
        "--publish=80 ",
    ] {
        assert!(command.contains(part), "{part}: {command}");
    }
    assert!(!command.contains("--wire relay"), "{command}");
    assert!(scratch.started().is_empty());
}

fn what_cannot_be_is_refused() {
    let scratch = with_module();
    for words in [
        &["--deterministic", "--net", "a:1", "m.wasm"][..],
        &["--record", "r", "-p", "0:80", "m.wasm"],
    ] {
        finish(&mut run(&scratch, words))
            .expect_code(2)
            .expect_message(&["another on every run"]);
    }
    finish(&mut run(
        &scratch,
        &["--print-command", "--net", "redis:6379", "m.wasm"],
    ))
    .expect_code(2)
    .expect_message(&["--print-command: --net redis:6379", "nobody", "the name 'redis'"]);
    finish(&mut run(&scratch, &["-p", "1:80", "-p", "1:81", "m.wasm"]))
        .expect_code(2)
        .expect_message(&["127.0.0.1:1 leads to the guest's port 80 already"]);
    assert!(scratch.started().is_empty());
}
