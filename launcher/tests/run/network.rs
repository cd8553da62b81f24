//! The relay of a guest's network as runs have it: its ports, its wire, its jail and its end. The machine is played by
//! a stack on QEMU's end of the wire.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use boot_protocol::network::Grant;
use boot_protocol::run_spec::Network;
use hermit_wasm_vm::vmm::capabilities::Accelerator;
use hermit_wasm_vm::vmm::qemu::Qemu;
use hermit_wasm_vm::{Error, Input, Jail, MachineFailure, Module, Output, Run, Running};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal};

use crate::harness::{MODULE, Scratch, WATCHDOG, test, until};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("network::what_is_granted_is_reached", what_is_granted_is_reached),
        test(
            "network::names_are_resolved_in_the_jail",
            names_are_resolved_in_the_jail,
        ),
        test(
            "network::a_published_port_is_served_to_the_last_byte",
            a_published_port_is_served_to_the_last_byte,
        ),
        test("network::a_port_in_use_is_named", a_port_in_use_is_named),
        test("network::the_relay_is_in_a_jail", the_relay_is_in_a_jail),
        test(
            "network::a_relay_that_was_taken_over_is_held",
            a_relay_that_was_taken_over_is_held,
        ),
        test(
            "network::without_its_relay_a_run_ends",
            without_its_relay_a_run_ends,
        ),
        test("network::a_broken_wire_ends_the_run", a_broken_wire_ends_the_run),
        test(
            "network::the_relay_ends_with_the_run",
            the_relay_ends_with_the_run,
        ),
        test(
            "network::receivers_that_do_not_read_keep_nobody",
            receivers_that_do_not_read_keep_nobody,
        ),
        test(
            "network::what_is_no_hypervisor_for_it_is_refused",
            what_is_no_hypervisor_for_it_is_refused,
        ),
    ]
}

/// A run whose QEMU plays `scenario`, with these grants.
fn run(scratch: &Scratch, scenario: &str, grants: &[String], jail: Jail) -> Run {
    let network = Network {
        grants: grants.iter().map(|grant| grant.parse().unwrap()).collect(),
        ..Network::default()
    };
    Run::new(Module::from_bytes("m.wasm", MODULE).unwrap())
        .hypervisor(Qemu {
            program: Some(scratch.player("qemu", scenario)),
            virtiofsd: None,
        })
        .accelerator(Accelerator::Tcg)
        .network(network)
        .relay(env!("CARGO_BIN_EXE_hermit-wasm"))
        .jail(jail)
        .timeout(WATCHDOG)
}

/// A server of the host's that answers one client with what it is asked; its address.
fn server() -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut question = Vec::new();
        client.read_to_end(&mut question).unwrap();
        client.write_all(b"answer to ").unwrap();
        client.write_all(&question).unwrap();
    };
    (address, thread::spawn(serve))
}

/// An address of the loopback's that no other test of this process, nor another process with it, listens at.
fn own_address(number: u8) -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 64 + number, high, low)), 18080)
}

fn what_is_granted_is_reached() {
    for jail in [Jail::Auto, Jail::Off] {
        let scratch = Scratch::new();
        let (address, server) = server();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let grants = [format!("echo:80={address}"), format!("nobody:80={nobody}")];
        let asked = "ask the network:10.0.2.100:80 10.0.2.101:80 10.0.2.100:81 10.0.2.2:22";
        let result = run(&scratch, asked, &grants, jail).output().unwrap();
        server.join().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&result.stdout),
            "10.0.2.100:80: answer to question\n10.0.2.101:80: ConnectionRefused\n10.0.2.100:81: Prohibited\n\
             10.0.2.2:22: Prohibited\n"
        );
        assert_eq!(result.status.code(), 0);
    }
}

/// The relay reads the host's own list of names, and asks its servers for names.
fn names_are_resolved_in_the_jail() {
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let own = hosts.lines().find_map(|line| {
        let names = line.split('#').next()?.strip_prefix("127.")?;
        let mut names = names.split_whitespace().skip(1);
        names.find(|name| !name.ends_with("localhost") && format!("{name}:80").parse::<Grant>().is_ok())
    });
    let Some(own) = own else {
        return println!(
            "SKIP: names in the relay's jail NOT TRIED: /etc/hosts has no name of this host but localhost"
        );
    };
    let grants = ["own", "nowhere"].map(|name| {
        let target = if name == "own" { own } else { "nowhere.invalid" };
        format!("{name}:80={target}:80")
    });
    let scratch = Scratch::new();
    let asked = "ask the network:10.0.2.100:80 10.0.2.101:80";
    let result = run(&scratch, asked, &grants, Jail::Auto).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&result.stdout),
        // What is known to be this host is not reached by a name.
        "10.0.2.100:80: Prohibited\n10.0.2.101:80: HostUnreachable\n"
    );
}

fn a_published_port_is_served_to_the_last_byte() {
    for (number, jail) in [(0, Jail::Auto), (1, Jail::Off)] {
        let scratch = Scratch::new();
        let host = own_address(number);
        let run = run(&scratch, "serve the network", &[], jail)
            .publish(format!("{host}:8080").parse().unwrap())
            .stdin(Input::Null)
            .stdout(Output::Capture)
            .start()
            .unwrap();
        let mut client = connected(host);
        let question = vec![b'x'; 100_000];
        client.write_all(&question).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer == question, "{} bytes", answer.len());
        let result = run.wait().unwrap();
        assert_eq!(result.status.code(), 7);
        // Its address is special, so that the guest knows the client by the router's.
        assert_eq!(String::from_utf8_lossy(&result.stdout), "listening\n10.0.2.2\n");
        // Nobody listens there any more.
        TcpListener::bind(host).unwrap();
    }
}

/// A connection to a port that will be published.
fn connected(host: SocketAddr) -> TcpStream {
    let mut connection = None;
    until("somebody listens there", || {
        connection = TcpStream::connect(host).ok();
        connection.is_some()
    });
    connection.unwrap()
}

fn a_port_in_use_is_named() {
    let scratch = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = run(&scratch, "hello", &[], Jail::Auto)
        .publish(format!("{port}:8080").parse().unwrap())
        .run()
        .unwrap_err();
    assert_eq!(error.exit_code(), 125);
    let message = error.to_string();
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
    assert!(message.contains("another program listens there"), "{message}");
    assert!(scratch.started().is_empty());
}

/// A run that goes on, and its relay's process: a child of this one, known by what it was granted.
fn running(scratch: &Scratch, scenario: &str, mark: &str) -> (Running, Pid) {
    let grants = [format!("{mark}:80=192.0.2.1:80")];
    let run = run(scratch, scenario, &grants, Jail::Auto);
    let run = run.stdin(Input::Null).stdout(Output::Capture).start().unwrap();
    let mut found = None;
    until("the relay runs", || {
        found = find(mark);
        found.is_some()
    });
    (run, found.unwrap())
}

/// The relay's whole command line, which any user may read.
const RELAY: &[u8] = b"relay-of-a-network\0";

/// What the process was told on its standard input, which no other user may read.
fn told(process: i32) -> String {
    fs::read_to_string(format!("/proc/{process}/fd/0")).unwrap_or_default()
}

fn find(mark: &str) -> Option<Pid> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let number = numbers.find(|number: &i32| {
        let name = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        name == RELAY && told(*number).contains(&format!("grant={mark}:"))
    })?;
    Pid::from_raw(number)
}

fn the_relay_is_in_a_jail() {
    let scratch = Scratch::new();
    let (run, relay) = running(&scratch, "have a network", "jailed");
    let proc = format!("/proc/{relay}");
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    let status: BTreeMap<_, _> = status.lines().filter_map(|line| line.split_once(":\t")).collect();
    assert_eq!((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"));
    for set in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        // Whoever may not give up the bounding set gains nothing by it.
        if set != "CapBnd" || rustix::process::geteuid().is_root() {
            assert_eq!(status[set], "0000000000000000", "{set}");
        }
    }
    assert_eq!(fs::read(format!("{proc}/environ")).unwrap(), b"");
    let written = fs::File::options().write(true).open(format!("{proc}/fd/0"));
    assert!(written.and_then(|mut file| file.write(b"grant=more:80")).is_err());
    let namespace = |process: &str, kind: &str| fs::read_link(format!("/proc/{process}/ns/{kind}")).unwrap();
    let relay_s = relay.as_raw_nonzero().to_string();
    assert_eq!(namespace(&relay_s, "net"), namespace("self", "net"));
    if namespace(&relay_s, "mnt") == namespace("self", "mnt") {
        println!("SKIP: its namespaces and its root NOT LOOKED AT: this host gives none");
    } else {
        for kind in ["pid", "mnt", "ipc", "uts"] {
            assert_ne!(namespace(&relay_s, kind), namespace("self", kind), "{kind}");
        }
        let root = format!("{proc}/root");
        let seen = |directory: &str| {
            let entries = fs::read_dir(Path::new(&root).join(directory)).unwrap().flatten();
            entries
                .map(|entry| entry.file_name().into_string().unwrap())
                .collect::<Vec<_>>()
        };
        // Its grants are addresses: it resolves no names.
        assert_eq!(seen("etc"), ["ld.so.cache"]);
        assert_eq!(seen("tmp"), [""; 0]);
        assert!(!seen("").contains(&"home".to_string()));
    }
    let limits = fs::read_to_string(format!("{proc}/limits")).unwrap();
    for limit in ["Max file size             0", "Max locked memory         0"] {
        assert!(limits.contains(limit), "{limits}");
    }
    run.kill();
    assert!(matches!(run.wait(), Err(Error::Stopped(_))));
}

/// A program in the relay's place, which tries to get out.
fn a_relay_that_was_taken_over_is_held() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let grants = [format!("a:80={}", listener.local_addr().unwrap())];
    let done = |jail| {
        let scratch = Scratch::new();
        let run = run(&scratch, "have a network", &grants, jail).relay(std::env::current_exe().unwrap());
        let error = run.output().unwrap_err();
        let Error::Machine(machine) = &error else {
            panic!("{error}")
        };
        let MachineFailure::Relay { reason } = &machine.failure else {
            panic!("{error}")
        };
        let outcomes = reason.split(", ").filter_map(|part| part.split_once(": "));
        let outcomes: BTreeMap<_, _> = outcomes
            .map(|(name, how)| (name.to_string(), how.to_string()))
            .collect();
        assert_eq!(outcomes.len(), 13, "{reason}");
        assert_eq!(outcomes["environment"] == "0", jail != Jail::Off);
        let done = outcomes.into_iter().filter(|(_, how)| how == "done");
        done.map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(done(Jail::Auto), ["connect to what is granted", "send datagrams"]);
    // The same attempts succeed where nothing is in their way: they are real.
    let free = done(Jail::Off);
    for attempt in [
        "change routes",
        "listen on TCP",
        "make a Unix socket",
        "outlive the launcher",
        "read the users",
        "signal another process",
        "start a program",
        "write a file",
    ] {
        assert!(free.iter().any(|name| name == attempt), "{attempt}: {free:?}");
    }
}

fn without_its_relay_a_run_ends() {
    let scratch = Scratch::new();
    let (run, relay) = running(&scratch, "have a network", "killed");
    rustix::process::kill_process(relay, Signal::KILL).unwrap();
    let error = run.wait().unwrap_err();
    assert_eq!(error.exit_code(), 125);
    let Error::Machine(machine) = &error else {
        panic!("{error}")
    };
    assert!(matches!(machine.failure, MachineFailure::Relay { .. }), "{error}");
    assert!(error.to_string().contains("signal: 9"), "{error}");
}

fn a_broken_wire_ends_the_run() {
    let scratch = Scratch::new();
    let error = run(&scratch, "break the wire", &[], Jail::Auto)
        .output()
        .unwrap_err();
    let message = error.to_string();
    assert!(message.contains("a frame of 4294967295 bytes"), "{message}");
}

fn the_relay_ends_with_the_run() {
    let scratch = Scratch::new();
    let (run, relay) = running(&scratch, "have a network", "dropped");
    drop(run);
    assert_eq!(
        rustix::process::test_kill_process(relay),
        Err(rustix::io::Errno::SRCH)
    );
}

fn receivers_that_do_not_read_keep_nobody() {
    let scratch = Scratch::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let grants = [format!("silent:80={address}")];
    // What the guest has sent is waited for, but not beyond the time limit, and the guest has ended well.
    let result = run(&scratch, "flood the network:10.0.2.100:80", &grants, Jail::Auto)
        .timeout(Duration::from_secs(3))
        .output()
        .unwrap();
    assert_eq!((result.status.code(), &*result.stdout), (0, &b"sent\n"[..]));
    assert_eq!(find("silent"), None);
    drop(listener);
}

fn what_is_no_hypervisor_for_it_is_refused() {
    let error = Run::new(Module::from_bytes("m.wasm", MODULE).unwrap())
        .hypervisor(hermit_wasm_vm::vmm::uhyve::Uhyve::default())
        .network(Network::default())
        .run()
        .unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    assert!(
        message.contains("cannot give the guest a network") && message.contains("--vmm qemu"),
        "{message}"
    );
}
