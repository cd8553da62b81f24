//! The description of a run: what a launcher encodes is what the application decodes, with every field; any other bytes
//! are decoded or refused, and so are the words of any kernel command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use arbitrary::{Arbitrary, Unstructured};
use boot_protocol::command_line::words::{self, Words};
use boot_protocol::command_line::{CommandLine, Console, join, quote};
use boot_protocol::file_kind;
use boot_protocol::network::{Grant, Host, Protocol, inside};
use boot_protocol::run_spec::{
    Access, Ipv4Source, Limit, Limits, LogLevel, ModuleSource, Mount, MountSource, Network, Preload, RunSpec,
    SpecError, Terminals, Tracing, Wire, unique_variables,
};
use kernel_app::preflight;

/// A run, and how the machine is to be told.
#[derive(Arbitrary, Debug)]
struct Parts {
    tsc_mhz: Option<u32>,
    console: u8,
    spec: Option<String>,
    module: Module,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    mounts: Vec<Directory>,
    terminals: u8,
    log: Option<u8>,
    entry: Option<String>,
    invoked: bool,
    may_be_widened: bool,
    preloads: Vec<(String, String)>,
    limits: Vec<(u8, u64)>,
    trap_on_grow_failure: bool,
    deterministic: Option<u64>,
    replay: Option<bool>,
    open: Vec<String>,
    network: Option<Net>,
}

/// An address: IPv4's bytes or IPv6's.
type Address = Result<[u8; 4], [u8; 16]>;

/// What the guest has of a network.
#[derive(Arbitrary, Debug)]
struct Net {
    address: Option<([u8; 4], u8, Option<[u8; 4]>)>,
    relay: bool,
    grants: Vec<String>,
    listeners: Vec<(Address, u16)>,
    published: Vec<(u16, bool)>,
    inherit: bool,
    look_up: bool,
}

#[derive(Arbitrary, Debug)]
enum Module {
    Payload,
    Embedded,
    Path(String),
}

#[derive(Arbitrary, Debug)]
struct Directory {
    source: Source,
    guest: String,
    read_only: bool,
}

#[derive(Arbitrary, Debug)]
enum Source {
    Tmpfs(Option<u64>),
    Copy(String),
    VirtioFs(String),
    UhyveMap(String),
}

impl Parts {
    fn console(&self) -> Console {
        Console::ALL[usize::from(self.console) % Console::ALL.len()]
    }

    fn spec(self) -> RunSpec {
        RunSpec {
            module: match self.module {
                Module::Payload => ModuleSource::Payload,
                Module::Embedded => ModuleSource::Embedded,
                Module::Path(path) => ModuleSource::Path(path),
            },
            argv: self.argv,
            env: self.env,
            open: self.open,
            mounts: self.mounts.into_iter().map(Directory::mount).collect(),
            terminals: Terminals {
                stdin: self.terminals & 1 != 0,
                stdout: self.terminals & 2 != 0,
                stderr: self.terminals & 4 != 0,
            },
            log: self
                .log
                .map(|level| LogLevel::ALL[usize::from(level) % LogLevel::ALL.len()]),
            entry: self.entry,
            invoked: self.invoked,
            may_be_widened: self.may_be_widened,
            preloads: self
                .preloads
                .into_iter()
                .map(|(name, member)| Preload { name, member })
                .collect(),
            limits: limits(&self.limits, self.trap_on_grow_failure),
            deterministic: self.deterministic,
            tracing: self.replay.map(|replay| match replay {
                true => Tracing::Replay,
                false => Tracing::Record,
            }),
            network: self.network.map(|network| network.network().into()),
        }
    }
}

impl Net {
    fn network(self) -> Network {
        Network {
            address: match self.address {
                None => Ipv4Source::Dhcp,
                Some((address, prefix, gateway)) => Ipv4Source::Static {
                    address: address.into(),
                    prefix,
                    gateway: gateway.map(Ipv4Addr::from),
                },
            },
            wire: match self.relay {
                true => Wire::Relay,
                false => Wire::Direct,
            },
            grants: self.grants.iter().filter_map(|text| text.parse().ok()).collect(),
            listeners: self
                .listeners
                .into_iter()
                .map(|(address, port)| SocketAddr::new(address.map_or_else(IpAddr::from, IpAddr::from), port))
                .collect(),
            published: self
                .published
                .into_iter()
                .map(|(port, udp)| (port, if udp { Protocol::Udp } else { Protocol::Tcp }))
                .collect(),
            inherit: self.inherit,
            look_up: self.look_up,
        }
    }
}

fn limits(values: &[(u8, u64)], trap_on_grow_failure: bool) -> Limits {
    let mut limits = match trap_on_grow_failure {
        true => Limits::NONE.trapping_on_grow_failure(),
        false => Limits::NONE,
    };
    for (limit, value) in values {
        limits.set(Limit::ALL[usize::from(*limit) % Limit::ALL.len()], Some(*value));
    }
    limits
}

impl Directory {
    fn mount(self) -> Mount {
        Mount {
            source: match self.source {
                Source::Tmpfs(size) => MountSource::Tmpfs { size },
                Source::Copy(member) => MountSource::Copy { member },
                Source::VirtioFs(tag) => MountSource::VirtioFs { tag },
                Source::UhyveMap(path) => MountSource::UhyveMap { path },
            },
            guest: self.guest,
            access: if self.read_only {
                Access::ReadOnly
            } else {
                Access::ReadWrite
            },
        }
    }
}

/// The first byte says what the others are: a run, a whole line, a description, or a file.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, parts)) => {
            if let Ok(parts) = Parts::arbitrary_take_rest(Unstructured::new(parts)) {
                round_trips(parts);
            }
        }
        Some((1, line)) => any_line(line),
        Some((2, bytes)) => any_description(bytes),
        Some((_, bytes)) => {
            let kind = file_kind::FileKind::of(bytes);
            assert_eq!(
                file_kind::refusal(bytes).is_none(),
                kind == file_kind::FileKind::Module
            );
            let _ = preflight::missing_proposal(&String::from_utf8_lossy(bytes));
        }
        None => {}
    }
}

/// What is meant arrives, as a description and as words.
fn round_trips(parts: Parts) {
    let console = parts.console();
    let (tsc_mhz, path) = (parts.tsc_mhz, parts.spec.clone());
    let mut spec = parts.spec();
    description(&spec);

    let mut line = CommandLine {
        tsc_mhz,
        log: spec.log,
        console,
        spec: path.filter(|path| !path.is_empty()),
    };
    through_kernel(&line.words(), tsc_mhz, true, |read| {
        assert_eq!(
            (read.spec, read.console, read.run.log),
            (line.spec.as_deref(), console, spec.log)
        );
        assert_eq!(read.run_word, None);
    });

    // As words: what `check` would refuse of the environment does not get that far.
    line.spec = None;
    spec.env
        .retain(|(name, _)| !name.is_empty() && !name.contains('='));
    spec.env = unique_variables(
        spec.env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    if let ModuleSource::Path(_) = spec.module
        && spec.check().is_err()
    {
        return;
    }
    if spec
        .mounts
        .iter()
        .any(|mount| mount.guest.is_empty() || mount.source.name() == Some(""))
    {
        return;
    }
    if let Ok(words) = line.words_with(&spec) {
        through_kernel(&words, tsc_mhz, spec.module != ModuleSource::Embedded, |read| {
            assert_eq!((read.run, read.console), (spec, console));
        });
    }
}

/// A grant is shown as it is read, and all names have an address of their own, which nobody was granted.
fn grants(grants: &[Grant]) {
    for grant in grants {
        assert_eq!(grant.to_string().parse().as_ref(), Ok(grant));
    }
    if let Ok(names) = inside::names(grants) {
        let mut seen: Vec<IpAddr> = Vec::new();
        for (_, (v4, v6)) in names.iter() {
            for address in [IpAddr::from(v4), IpAddr::from(v6)] {
                assert!(inside::contains(address) && !seen.contains(&address));
                let is_granted = |grant: &Grant| grant.host == Host::Address(address);
                assert!(!grants.iter().any(is_granted), "{address}");
                seen.push(address);
            }
        }
    }
}

/// There and back as bytes, unless it is refused on either side for one reason.
fn description(spec: &RunSpec) {
    let encoded = spec.encode();
    let decoded = RunSpec::decode(&encoded);
    match spec.check() {
        Ok(()) => assert_eq!(decoded.as_ref(), Ok(spec)),
        // Read back, such a name ends at its first `=`: it is another variable, or one more of a name.
        Err(SpecError::VariableName(_)) => {}
        Err(error) if has_odd_name(spec) => drop(error),
        Err(error) => assert_eq!(decoded, Err(error)),
    }
    any_description(&encoded);
}

fn has_odd_name(spec: &RunSpec) -> bool {
    spec.env.iter().any(|(name, _)| name.contains('='))
}

/// Decoded or refused; what was decoded is stable.
fn any_description(bytes: &[u8]) {
    match RunSpec::decode(bytes) {
        Ok(spec) => {
            assert_eq!(spec.check(), Ok(()));
            if let Some(network) = &spec.network {
                grants(&network.grants);
            }
            let encoded = spec.encode();
            // Records may stand in another order.
            assert_eq!(encoded.len(), bytes.len());
            assert_eq!(RunSpec::decode(&encoded), Ok(spec));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The words as the application gets them, through the kernel's splitter.
fn through_kernel(words: &[String], tsc_mhz: Option<u32>, payload: bool, check: impl FnOnce(Words<'_>)) {
    let split = shell_words::split(&join(words)).expect("what was quoted can be split");
    assert_eq!(split, words);
    // The kernel takes its own words up to the first `--`.
    let mut split = split.iter().map(String::as_str);
    let kernel: Vec<_> = split.by_ref().take_while(|word| *word != "--").collect();
    match tsc_mhz {
        Some(mhz) => assert_eq!(kernel, ["-freq", &mhz.to_string()]),
        None => assert!(kernel.is_empty()),
    }
    check(words::parse(split, [], payload).expect("what a launcher writes is understood"));
}

/// Any line: split or refused, parsed or refused; its words survive another round of quoting, and what they describe
/// becomes a description.
fn any_line(line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    let Ok(words) = shell_words::split(&line) else {
        return;
    };
    let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
    assert_eq!(shell_words::split(&quoted.join(" ")).as_ref(), Ok(&words));
    let variables = words
        .iter()
        .filter_map(|word| word.strip_prefix("env=")?.split_once('='));
    for payload in [false, true] {
        match words::parse(words.iter().map(String::as_str), variables.clone(), payload) {
            Ok(words) => {
                for (name, _) in &words.run.env {
                    let same = words.run.env.iter().filter(|(other, _)| other == name);
                    assert_eq!(same.count(), 1);
                }
                description(&words.run);
            }
            Err(error) => assert!(error.to_string().starts_with("kernel command line: "), "{error}"),
        }
    }
}
