//! Flags about the guest's network, and how their words are read.

use std::net::SocketAddr;

use boot_protocol::network::{Grant, Publish, WasiOption, listener};
use clap::{ArgAction, Args};
use hermit_wasm_vm as vm;

use super::run::Run;

/// What of a network the guest has. Each of these flags gives it one.
#[derive(Debug, Args)]
pub(super) struct NetworkFlags {
    /// Let the guest connect to this host and port; [=TARGET] says what is meant by it
    ///
    /// Can be repeated: redis:6379, api.example.com:443, db:5432=127.0.0.1:15432, time:123/udp=pool.ntp.org. The guest
    /// resolves NAME to an address that exists only inside; it is looked up on the host at each connect. Whatever else
    /// the guest connects to is EACCES. With a Hermitfile or a packed file, a TARGET for what NET grants
    /// (docs/network.md).
    #[arg(long = "net", value_name = "NAME:PORT[/udp][=TARGET]", action = ArgAction::Append, value_parser = parse_grant)]
    pub(super) net: Vec<Grant>,

    /// Listen on this host for connections to a port of the guest's; ADDR is 127.0.0.1 by default
    ///
    /// Can be repeated: 8080:80, 0.0.0.0:80:80, 5353:53/udp. HOST 0 is a free port. The guest listens there itself, or
    /// has a listener by --tcplisten or EXPOSE.
    #[arg(short = 'p', long, value_name = "[ADDR:]HOST:GUEST[/udp]", action = ArgAction::Append)]
    pub(super) publish: Vec<Publish>,

    /// Listen on this host, for a listener that the guest has when it starts
    ///
    /// Can be repeated. As wasmtime's: a descriptor that the guest accepts connections from. They come behind those of
    /// the directories, in order.
    #[arg(long, value_name = "ADDR:PORT", action = ArgAction::Append, value_parser = parse_listener)]
    pub(super) tcplisten: Vec<SocketAddr>,
}

impl NetworkFlags {
    /// The first flag that says where this host listens, which belongs to the host on which it runs.
    pub(super) fn listens(&self, wasi: &[Wasi]) -> Option<&'static str> {
        let listens = |option: &Wasi| matches!(option, Wasi::Network(WasiOption::Listen(_)));
        let said = [
            ("--publish", !self.publish.is_empty()),
            ("--tcplisten", !self.tcplisten.is_empty()),
            ("-S tcplisten", wasi.iter().any(listens)),
        ];
        said.into_iter()
            .find_map(|(flag, is_said)| is_said.then_some(flag))
    }
}

/// An option of -S.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wasi {
    /// All variables of the host.
    InheritEnv(bool),
    /// Something about the network.
    Network(WasiOption),
}

impl Run {
    /// Whether the host's variables are inherited.
    pub(super) fn inherits_env(&self) -> bool {
        let options = self.wasi.iter().rev();
        let mut said = options.filter_map(|option| match option {
            Wasi::InheritEnv(inherit) => Some(*inherit),
            Wasi::Network(_) => None,
        });
        said.next().unwrap_or(false)
    }

    /// `run` with the network that the flags describe.
    pub(super) fn with_network(&self, mut run: vm::Run) -> vm::Run {
        for grant in &self.network.net {
            run = run.grant(grant.clone());
        }
        for publish in &self.network.publish {
            run = run.publish(*publish);
        }
        for address in &self.network.tcplisten {
            run = run.listen(*address);
        }
        for option in &self.wasi {
            run = match option {
                Wasi::InheritEnv(_) => run,
                Wasi::Network(WasiOption::Inherit(inherit)) => run.inherit_network(*inherit),
                Wasi::Network(WasiOption::LookUp(allow)) => run.allow_ip_name_lookup(*allow),
                Wasi::Network(WasiOption::Listen(address)) => run.listen(*address),
            };
        }
        run
    }
}

/// One option of -S, which commas divide from others.
pub(super) fn parse_wasi(option: &str) -> Result<Wasi, String> {
    match option {
        "inherit-env" | "inherit-env=y" => return Ok(Wasi::InheritEnv(true)),
        "inherit-env=n" => return Ok(Wasi::InheritEnv(false)),
        _ => {}
    }
    match WasiOption::parse(option) {
        Some(Ok(option)) => Ok(Wasi::Network(option)),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!(
            "WASI preview 1 is always on and nothing else is supported; the options are inherit-env, {}",
            WasiOption::NAMES
        )),
    }
}

fn parse_grant(text: &str) -> Result<Grant, String> {
    match text {
        "none" => Err("omit it: without --net, --publish and --tcplisten the guest has no network".to_string()),
        "host" => Err(
            "a guest never has the host's own network; write -S inherit-network to let it connect to what this host reaches"
                .to_string(),
        ),
        "bridge" | "default" => {
            Err("name what the guest may connect to, as NAME:PORT, and publish its ports with -p".to_string())
        }
        _ => text.parse().map_err(|error: boot_protocol::network::GrantError| error.to_string()),
    }
}

fn parse_listener(text: &str) -> Result<SocketAddr, String> {
    listener(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::{Command, FromArgMatches as _};

    use super::*;

    fn run(words: &[&str]) -> Result<Run, String> {
        let words = ["run"].iter().chain(words).map(OsString::from);
        let matches = Run::augment_args(Command::new("run")).try_get_matches_from(words);
        Run::from_arg_matches(&matches.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_are_understood() {
        let words = "--net redis:6379 --net=time:123/udp=10.1.2.3 -p 8080:80 -p0.0.0.0:53:53/udp --tcplisten 127.0.0.1:81 \
                     --tcplisten=[::1]:82 -S inherit-network,inherit-env,tcplisten=127.0.0.1:83 -S allow-ip-name-lookup m.wasm";
        let words: Vec<&str> = words.split_whitespace().collect();
        let run = run(&words).unwrap();
        let shown = |items: &[&dyn ToString]| items.iter().map(|item| item.to_string()).collect::<Vec<_>>();
        let NetworkFlags {
            net,
            publish,
            tcplisten,
        } = &run.network;
        assert_eq!(
            shown(&[
                &net[0],
                &net[1],
                &publish[0],
                &publish[1],
                &tcplisten[0],
                &tcplisten[1]
            ]),
            [
                "redis:6379",
                "time:123/udp=10.1.2.3:123",
                "127.0.0.1:8080:80",
                "0.0.0.0:53:53/udp",
                "127.0.0.1:81",
                "[::1]:82"
            ]
        );
        assert_eq!(
            run.wasi,
            [
                Wasi::Network(WasiOption::Inherit(true)),
                Wasi::InheritEnv(true),
                Wasi::Network(WasiOption::Listen("127.0.0.1:83".parse().unwrap())),
                Wasi::Network(WasiOption::LookUp(true)),
            ]
        );
        assert!(run.inherits_env());
        assert_eq!(run.network.listens(&run.wasi), Some("--publish"));
    }

    #[test]
    fn what_cannot_be_understood_says_what_to_write() {
        for (words, reason) in [
            (&["--net", "redis"][..], "write NAME:PORT, such as redis:6379"),
            (&["--net", "none"], "omit it: without --net"),
            (&["--net", "host"], "-S inherit-network"),
            (&["--net", "bridge"], "as NAME:PORT"),
            (&["--net", "localhost:80"], "write localhost:80=127.0.0.1:80"),
            (&["-p", "80"], "write [ADDR:]HOST:GUEST[/udp], such as 8080:80"),
            (&["-p", "80:0"], "is no port"),
            (
                &["--tcplisten", "8080"],
                "write ADDR:PORT, such as 127.0.0.1:8080",
            ),
            (&["--tcplisten", "127.0.0.1:0"], "a port of its own"),
            (&["-S", "tcplisten"], "write ADDR:PORT"),
            (
                &["-S", "http"],
                "the options are inherit-env, inherit-network, allow-ip-name-lookup",
            ),
            (&["-S", "inherit-network=maybe"], "expected y or n"),
        ] {
            let error = run(&[words, &["m.wasm"]].concat()).unwrap_err();
            assert!(error.contains(reason), "{words:?}: {error}");
        }
    }
}
