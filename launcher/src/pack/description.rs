//! The description of a run, as `inspect` shows it: for people, and for programs.

use std::time::Duration;

use boot_protocol::network::Protocol;
use boot_protocol::run_spec::{
    Access, Limit, ModuleSource, Mount, MountSource, Network, Preload, RunSpec, Terminals, Tracing,
};

use crate::host::json;
use crate::host::units::{parse_size, show_duration, show_size};

/// A directory, as flags have it.
fn mount(mount: &Mount) -> String {
    let Mount {
        source,
        guest,
        access,
    } = mount;
    let what = match source {
        MountSource::Tmpfs { size: None } => "empty, in memory".to_string(),
        MountSource::Tmpfs { size: Some(size) } => format!("empty, in memory, of {}", show_size(*size)),
        MountSource::Copy { member } => format!("packed, {member}"),
        MountSource::VirtioFs { tag: _ } => "of the host, given with --dir".to_string(),
        MountSource::UhyveMap { path } => {
            format!("of the host, given with uhyve's --file-mapping HOST:{path}")
        }
    };
    let access = match access {
        Access::ReadWrite => "",
        Access::ReadOnly => ", read-only",
    };
    format!("{guest} ({what}{access})")
}

/// The same for programs.
fn mount_json(mount: &Mount) -> String {
    let Mount {
        source,
        guest,
        access,
    } = mount;
    let (kind, size) = match source {
        MountSource::Tmpfs { size } => ("tmpfs", *size),
        MountSource::Copy { member: _ } => ("copy", None),
        MountSource::VirtioFs { tag: _ } | MountSource::UhyveMap { path: _ } => ("host", None),
    };
    format!(
        "{{\"guest\":{},\"source\":\"{kind}\",\"name\":{},\"bytes\":{},\"read_only\":{}}}",
        json::string(guest),
        json::or_null(source.name().map(json::string)),
        json::or_null(size.map(|size| size.to_string())),
        *access == Access::ReadOnly
    )
}

/// A limit's value, with its unit; a size that has no short form in bytes, so that nothing is rounded.
fn amount(limit: Limit, value: u64) -> String {
    match limit {
        Limit::Fuel | Limit::TableElements | Limit::Descriptors => value.to_string(),
        Limit::Deadline => show_duration(Duration::from_nanos(value)),
        Limit::Memory | Limit::Stack | Limit::FileBytes | Limit::OutputBytes => {
            let short = show_size(value);
            match parse_size(&short) {
                Ok(same) if same == value => short,
                _ => format!("{value} bytes"),
            }
        }
    }
}

/// The streams that are terminals.
fn terminals(terminals: Terminals) -> Vec<String> {
    let Terminals {
        stdin,
        stdout,
        stderr,
    } = terminals;
    [(stdin, "stdin"), (stdout, "stdout"), (stderr, "stderr")]
        .into_iter()
        .filter(|(is_one, _)| *is_one)
        .map(|(_, name)| name.to_string())
        .collect()
}

/// Where the program is.
fn module(module: &ModuleSource) -> &str {
    match module {
        ModuleSource::Payload => "payload",
        ModuleSource::Embedded => "embedded",
        ModuleSource::Path(path) => path,
    }
}

/// What is done with what the guest's calls answer.
const fn tracing(tracing: Tracing) -> &'static str {
    match tracing {
        Tracing::Record => "record",
        Tracing::Replay => "replay",
    }
}

/// What the run is, a line for each thing: its name and its value.
pub(super) fn run(spec: &RunSpec) -> Vec<(&'static str, String)> {
    // Each by its name, so that the compiler misses a field that is not shown.
    let RunSpec {
        module: source,
        argv,
        env,
        open,
        mounts,
        terminals: streams,
        log,
        entry,
        invoked,
        preloads,
        limits,
        deterministic,
        tracing: traced,
        may_be_widened,
        network,
    } = spec;
    let mut lines = Vec::new();
    let mut line = |name: &'static str, value: String| lines.push((name, value));
    if *source != ModuleSource::Payload {
        line("module", module(source).to_string());
    }
    for argument in argv {
        line("argument", argument.clone());
    }
    for (name, value) in env {
        line("variable", format!("{name}={value}"));
    }
    for name in open {
        line("variable", format!("{name} (given by whoever runs it)"));
    }
    for one in mounts {
        line("directory", mount(one));
    }
    for stream in terminals(*streams) {
        line("terminal", stream);
    }
    if let Some(level) = log {
        line("log", level.to_string());
    }
    if let Some(entry) = entry {
        let warns = if *invoked {
            " (with wasmtime's warnings)"
        } else {
            ""
        };
        line("function", format!("{entry}{warns}"));
    }
    for Preload { name, member } in preloads {
        line("preload", format!("{name} ({member})"));
    }
    let (values, traps) = limits.parts();
    for (limit, value) in values {
        line("limit", format!("{}: {}", limit.word(), amount(limit, value)));
    }
    if traps {
        line("limit", "trap-on-grow-failure".to_string());
    }
    if let Some(seed) = deterministic {
        line("seed", format!("{seed} (deterministic)"));
    }
    if let Some(traced) = traced {
        line("tracing", tracing(*traced).to_string());
    }
    if let Some(network) = network {
        show_network(network, &mut line);
    }
    if *may_be_widened {
        line(
            "widening",
            "whoever runs it may give it more than this".to_string(),
        );
    }
    lines
}

/// What the guest has of a network, a line for each thing.
fn show_network(network: &Network, line: &mut impl FnMut(&'static str, String)) {
    let Network {
        address,
        wire,
        grants,
        listeners,
        published: ports,
        inherit,
        look_up,
    } = network;
    line("network", format!("{address} ({})", wire.name()));
    for grant in grants {
        line("grant", grant.to_string());
    }
    for listener in listeners {
        line("listener", listener.to_string());
    }
    for port in ports {
        line("port", published(*port));
    }
    if *inherit {
        line(
            "network",
            "whatever the host reaches (inherit-network)".to_string(),
        );
    }
    if *look_up {
        line("network", "any name (allow-ip-name-lookup)".to_string());
    }
}

/// The same for programs.
fn network_json(network: &Network) -> String {
    let Network {
        address,
        wire,
        grants,
        listeners,
        published: ports,
        inherit,
        look_up,
    } = network;
    let texts = |texts: Vec<String>| strings(&texts);
    object([
        ("address", json::string(&address.to_string())),
        ("wire", json::string(wire.name())),
        ("grants", texts(grants.iter().map(ToString::to_string).collect())),
        (
            "listeners",
            texts(listeners.iter().map(ToString::to_string).collect()),
        ),
        ("published", texts(ports.iter().copied().map(published).collect())),
        ("inherit", inherit.to_string()),
        ("look_up", look_up.to_string()),
    ])
}

/// A port of the guest's.
fn published((port, protocol): (u16, Protocol)) -> String {
    match protocol {
        Protocol::Tcp => port.to_string(),
        Protocol::Udp => format!("{port}/udp"),
    }
}

/// An array of JSON.
pub(super) fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

/// An object of JSON, of names and values.
pub(super) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields = fields
        .into_iter()
        .map(|(name, value)| format!("{}:{value}", json::string(name)));
    let fields: Vec<String> = fields.collect();
    format!("{{{}}}", fields.join(","))
}

pub(super) fn strings(items: &[String]) -> String {
    list(items.iter().map(|item| json::string(item)))
}

/// What the run is, for programs: one object.
pub(super) fn run_json(spec: &RunSpec) -> String {
    // As in `run`.
    let RunSpec {
        module: source,
        argv,
        env,
        open,
        mounts,
        terminals: streams,
        log,
        entry,
        invoked,
        preloads,
        limits,
        deterministic,
        tracing: traced,
        may_be_widened,
        network,
    } = spec;
    let (values, traps) = limits.parts();
    let pairs = env
        .iter()
        .map(|(name, value)| list([json::string(name), json::string(value)]));
    let preloads = preloads.iter().map(|Preload { name, member }| {
        object([("name", json::string(name)), ("member", json::string(member))])
    });
    object([
        ("module", json::string(module(source))),
        ("arguments", strings(argv)),
        ("environment", list(pairs)),
        ("open", strings(open)),
        ("directories", list(mounts.iter().map(mount_json))),
        ("terminals", strings(&terminals(*streams))),
        ("log", json::or_null(log.map(|level| json::string(level.name())))),
        ("function", json::or_null(entry.as_deref().map(json::string))),
        ("invoked", invoked.to_string()),
        ("preloads", list(preloads)),
        (
            "limits",
            object(values.map(|(limit, value)| (limit.word(), value.to_string()))),
        ),
        ("trap_on_grow_failure", traps.to_string()),
        ("seed", json::or_null(deterministic.map(|seed| seed.to_string()))),
        (
            "tracing",
            json::or_null(traced.map(|traced| json::string(tracing(traced)))),
        ),
        ("network", json::or_null(network.as_deref().map(network_json))),
        ("may_be_widened", may_be_widened.to_string()),
    ])
}
