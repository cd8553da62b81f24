//! The boot line: whatever words go in come out of the kernel's splitter, and the application understands what the
//! launcher meant; any other line is understood or refused.

use arbitrary::{Arbitrary, Unstructured};
use boot_protocol::boot_line::{BootLine, Console, quote};
use kernel_app::{
    config::{self, Config},
    module_source::ModuleSource,
    preflight,
};

/// What to put on the line.
#[derive(Arbitrary, Debug)]
struct Parts {
    tsc_mhz: Option<u32>,
    log: Option<u8>,
    console: u8,
    terminals: u8,
    file: Option<String>,
    argv0: Option<String>,
    env: Vec<(String, String)>,
    args: Vec<String>,
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The first byte says what the others are: parts of a line, or a whole one.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, parts)) => {
            if let Ok(parts) = Parts::arbitrary_take_rest(Unstructured::new(parts)) {
                round_trip(parts);
            }
        }
        Some((1, line)) => any_line(line),
        Some((_, bytes)) => {
            let _ = boot_protocol::file_kind::refusal(bytes);
            let _ = preflight::missing_proposal(&String::from_utf8_lossy(bytes));
        }
        None => {}
    }
}

/// What the launcher builds is what the application gets.
fn round_trip(parts: Parts) {
    let line = BootLine {
        directories: Vec::new(),
        tsc_mhz: parts.tsc_mhz,
        log: parts
            .log
            .map(|level| LEVELS[usize::from(level) % LEVELS.len()].to_owned()),
        console: match parts.console % 3 {
            0 => Console::Plain,
            1 => Console::Framed,
            _ => Console::Shared,
        },
        terminals: ["stdin", "stdout", "stderr"]
            .iter()
            .enumerate()
            .filter(|(bit, _)| parts.terminals & (1 << bit) != 0)
            .map(|(_, name)| (*name).to_owned())
            .collect(),
        file: parts.file,
        argv0: parts.argv0,
        // The launcher refuses such names.
        env: parts
            .env
            .into_iter()
            .filter(|(name, _)| !name.is_empty() && !name.contains('='))
            .collect(),
        args: parts.args,
    };
    let built = line.build();
    let words = shell_words::split(&built).expect("what was quoted can be split");
    assert_eq!(words, line.words());

    // The kernel takes its own words up to the first `--`.
    let mut words = words.iter().map(String::as_str);
    let kernel: Vec<_> = words.by_ref().take_while(|word| *word != "--").collect();
    match line.tsc_mhz {
        Some(mhz) => assert_eq!(kernel, ["-freq", &mhz.to_string()]),
        None => assert!(kernel.is_empty()),
    }
    let config = Config::parse(words, []).expect("what the launcher builds is understood");
    assert_eq!(
        (&config.file, &config.argv0, &config.args),
        (&line.file, &line.argv0, &line.args)
    );
    let console = match config.console {
        config::Console::Plain => Console::Plain,
        config::Console::Framed => Console::Framed,
        config::Console::Shared => Console::Shared,
    };
    assert_eq!(console, line.console);
    if let Some(level) = &line.log {
        assert_eq!(config.log.as_str().to_lowercase(), *level);
    }
    let terminals = config.terminals();
    for (name, is) in [
        ("stdin", terminals.stdin),
        ("stdout", terminals.stdout),
        ("stderr", terminals.stderr),
    ] {
        let expected = if line.terminals.is_empty() {
            console == Console::Plain
        } else {
            line.terminals.iter().any(|listed| listed == name)
        };
        assert_eq!(is, expected, "{name}");
    }
    // The last value of a name counts, at the place of its first.
    for (name, _) in &line.env {
        let last = line.env.iter().rev().find(|(other, _)| other == name);
        let found: Vec<_> = config.env.iter().filter(|(other, _)| other == name).collect();
        assert_eq!(found, [last.expect("it is there")]);
    }
    let mut names: Vec<_> = line.env.iter().map(|(name, _)| name).collect();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    assert!(config.env.iter().map(|(name, _)| name).eq(names));
}

/// Any line: split or refused, parsed or refused; and its words survive another round of quoting.
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
    match Config::parse(words.iter().map(String::as_str), variables) {
        Ok(config) => {
            for boot_module in [false, true] {
                let _ = ModuleSource::choose(&config, boot_module).argv0(&config);
            }
            for (name, _) in &config.env {
                assert_eq!(config.env.iter().filter(|(other, _)| other == name).count(), 1);
            }
        }
        Err(error) => assert!(error.to_string().starts_with("boot line: "), "{error}"),
    }
}
