//! Tests of what a run has of the network, and where it is reached.

use super::*;
use crate::spec::module::Module;
use crate::spec::request::Request;

fn run() -> Run {
    Run::new(Module::greeting())
}

fn reach(run: &Run) -> Reach {
    Reach::of(run).unwrap().unwrap()
}

/// What is published, as flags have it.
fn shown(run: &Run) -> Vec<String> {
    reach(run).published.iter().map(ToString::to_string).collect()
}

#[test]
fn a_run_has_no_network_unless_it_is_given_one() {
    let none = run().inherit_network(false).allow_ip_name_lookup(false);
    assert!(!none.has_network());
    assert_eq!(Reach::of(&none).unwrap(), None);
    assert!(run().inherit_network(true).has_network());
    let looks_up = run().allow_ip_name_lookup(true);
    let Network {
        inherit,
        look_up,
        wire,
        ..
    } = reach(&looks_up).network;
    assert_eq!((inherit, look_up, wire), (false, true, Wire::Relay));
}

#[test]
fn of_two_grants_the_last_counts() {
    let grants = ["redis:6379", "a:1", "redis:6379=127.0.0.1:7000", "redis:6379/udp"];
    let run = grants
        .iter()
        .fold(run(), |run, grant| run.grant(grant.parse().unwrap()));
    let expected = ["redis:6379=127.0.0.1:7000", "a:1", "redis:6379/udp"];
    assert_eq!(
        reach(&run).network.grants,
        expected.map(|grant| grant.parse().unwrap())
    );
}

#[test]
fn what_is_exposed_is_published_here_unless_it_is_said_where() {
    let exposed = || {
        run()
            .expose(8080, Protocol::Tcp)
            .expose(53, Protocol::Udp)
            .expose(8080, Protocol::Tcp)
    };
    assert_eq!(shown(&exposed()), ["127.0.0.1:8080:8080", "127.0.0.1:53:53/udp"]);
    let elsewhere = exposed().publish("0.0.0.0:80:8080".parse().unwrap());
    assert_eq!(shown(&elsewhere), ["0.0.0.0:80:8080", "127.0.0.1:53:53/udp"]);
    let network = reach(&elsewhere).network;
    assert_eq!(network.listeners, ["0.0.0.0:8080".parse().unwrap()]);
    assert_eq!(network.published, [(53, Protocol::Udp)]);
    // The same port, in the other order.
    let published = run()
        .publish("0:8080".parse().unwrap())
        .expose(8080, Protocol::Tcp);
    assert_eq!(shown(&published), ["127.0.0.1:0:8080"]);
    assert_eq!(reach(&published).network.published, []);
}

#[test]
fn a_listener_is_where_it_listens() {
    let listens = run()
        .listen("127.0.0.1:8080".parse().unwrap())
        .listen("[::1]:8080".parse().unwrap())
        .publish("9090:8080".parse().unwrap());
    assert_eq!(
        shown(&listens),
        ["127.0.0.1:8080:8080", "[::1]:8080:8080", "127.0.0.1:9090:8080"]
    );
    assert_eq!(
        reach(&listens).network.listeners,
        ["0.0.0.0:8080".parse().unwrap()]
    );
    assert_eq!(reach(&listens).network.published, []);
}

#[test]
fn one_port_leads_to_one_port() {
    let publish = |texts: &[&str]| {
        texts
            .iter()
            .fold(run(), |run, text| run.publish(text.parse().unwrap()))
    };
    for good in [
        &["80:80", "80:80"][..],
        &["0:80", "0:81"],
        &["80:80", "80:81/udp"],
        &["80:80", "[::1]:80:81"],
    ] {
        assert!(Reach::of(&publish(good)).is_ok(), "{good:?}");
    }
    let error = Reach::of(&publish(&["80:80", "80:81"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--publish 127.0.0.1:80:81: 127.0.0.1:80 leads to the guest's port 80 already"
    );
}

#[test]
fn what_was_packed_is_reached_through_the_relay_and_never_widened() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("packed");
    let module = Module::from_bytes("m.wasm", b"\0asm\x01\0\0\0").unwrap();
    Run::new(module)
        .grant("redis:6379".parse().unwrap())
        .expose(8080, Protocol::Tcp)
        .pack(crate::pack::Format::Initrd, &file)
        .unwrap();
    let packed = || Packed::open(&file).unwrap().unwrap();
    let wire = packed().spec().network.as_ref().map(|network| network.wire);
    assert_eq!(wire, Some(Wire::Direct));

    let run = || Run::packed(packed()).unwrap();
    assert!(run().has_network());
    assert_eq!(shown(&run()), ["127.0.0.1:8080:8080"]);
    let narrowed = run()
        .grant("redis:6379=127.0.0.1:7000".parse().unwrap())
        .publish("0.0.0.0:80:8080".parse().unwrap());
    let Reach {
        network,
        published,
        said,
        ..
    } = reach(&narrowed);
    assert_eq!(said, 1);
    assert_eq!(network.wire, Wire::Relay);
    assert_eq!(network.grants, ["redis:6379=127.0.0.1:7000".parse().unwrap()]);
    assert_eq!(published, ["0.0.0.0:80:8080".parse().unwrap()]);
    // What is said beside it, in words on the machine's command line, says whose wire it is.
    let run = run();
    let beside = Request::for_tests(&run).spec(|_, _| unreachable!()).unwrap();
    assert_eq!(beside.network, Some(Box::default()));

    for wider in [
        narrowed.grant("other:1".parse().unwrap()),
        run.publish("80:81".parse().unwrap()),
    ] {
        let error = Reach::of(&wider).unwrap_err().to_string();
        assert!(error.contains("exceeds what was packed"), "{error}");
    }
}

#[test]
fn what_a_file_has_of_the_network_is_said_unless_it_was_said() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("packed");
    let module = Module::from_bytes("m.wasm", b"\0asm\x01\0\0\0").unwrap();
    let made = ["redis:6379", "192.168.1.5:445"].into_iter().fold(
        Run::new(module)
            .inherit_network(true)
            .allow_ip_name_lookup(true)
            .expose(8080, Protocol::Tcp),
        |made, grant| made.grant(grant.parse().unwrap()),
    );
    made.pack(crate::pack::Format::Initrd, &file).unwrap();
    let packed = || Packed::open(&file).unwrap().unwrap();
    let run = || Run::packed(packed()).unwrap();
    let chosen = |run: &Run| reach(run).chosen.unwrap_or_default();
    let all = chosen(&run());
    assert!(
        all.ends_with(
            "lets it connect to redis:6379, 192.168.1.5:445, whatever this host reaches (-S inherit-network), \
             servers of names, for any name (-S allow-ip-name-lookup)"
        ),
        "{all}"
    );
    assert_eq!(reach(&run()).said, 0);
    let said = run()
        .grant("192.168.1.5:445".parse().unwrap())
        .inherit_network(true);
    let left = chosen(&said);
    assert!(left.contains("connect to redis:6379, servers of names"), "{left}");
    let said = said
        .grant("redis:6379".parse().unwrap())
        .allow_ip_name_lookup(true);
    assert_eq!(reach(&said).chosen, None);
    // Whoever starts a program trusts it.
    let program = Run::packed(packed().as_program()).unwrap();
    assert_eq!(reach(&program).chosen, None);
}

#[test]
fn what_was_packed_does_not_choose_what_of_this_host_it_reaches() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("packed");
    for (grant, says, holds) in [
        ("db:1=127.0.0.1:2", None, false),
        ("169.254.169.254:80", None, false),
        ("db:1=127.0.0.1:2", Some("db:1"), false),
        ("db:1=127.0.0.1:2", Some("db:1=127.0.0.1:2"), true),
        ("db:1=127.0.0.1:2", Some("db:1=192.0.2.1"), true),
        ("169.254.169.254:80", Some("169.254.169.254:80"), true),
        ("[::1]:1=127.0.0.1:2", Some("[::1]:1"), false),
        ("db:1=192.0.2.1", None, true),
        ("db:1", None, true),
    ] {
        let module = Module::from_bytes("m.wasm", b"\0asm\x01\0\0\0").unwrap();
        let made = Run::new(module).grant(grant.parse().unwrap());
        made.pack(crate::pack::Format::Initrd, &file).unwrap();
        let packed = || Packed::open(&file).unwrap().unwrap();
        let run = Run::packed(packed()).unwrap();
        let run = match says {
            Some(says) => run.grant(says.parse().unwrap()),
            None => run,
        };
        match Reach::of(&run) {
            Ok(_) => assert!(holds, "{grant} with {says:?}"),
            Err(error) => {
                assert!(!holds, "{grant} with {says:?}: {error}");
                assert!(error.to_string().contains("if it may, write --net"), "{error}");
            }
        }
        // Whoever starts a program trusts it.
        let program = Run::packed(packed().as_program()).unwrap();
        assert!(Reach::of(&program).is_ok(), "{grant}");
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn nobody_is_reached_at_port_0() {
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for run in [
        run().listen(here),
        run().expose(0, Protocol::Tcp),
        run().expose(0, Protocol::Udp),
    ] {
        let error = Reach::of(&run).unwrap_err().to_string();
        assert!(error.contains("name the one at which it is to listen"), "{error}");
    }
}

#[test]
fn what_is_the_same_every_time_has_no_network() {
    let error = Reach::of(&run().deterministic(1).inherit_network(true)).unwrap_err();
    assert!(error.to_string().contains("another on every run"), "{error}");
}
