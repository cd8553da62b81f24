//! Quoting, against the reader that the kernel uses, and a launcher's lines.

use super::*;
use crate::run_spec::{ModuleSource, RunSpec};
use alloc::vec;

const TRICKY: &[&str] = &[
    "",
    " ",
    "  two  spaces  ",
    "'",
    "''",
    "'''",
    "\"",
    "\"quoted\"",
    "it's",
    "\\",
    "\\\\",
    "ends with \\",
    "\\n",
    "a\nb",
    "\n",
    "\r\n",
    "\t",
    "#comment",
    "a#b",
    "$HOME",
    "`id`",
    "$(id)",
    "!!",
    "*",
    "~",
    "a;b",
    "a&b|c<d>e",
    "--",
    "-",
    "---",
    "-f",
    "--env=A=B",
    "env=A=B",
    "A=B",
    "äöü €  日本語 🦀",
    "\u{a0}\u{2028}",
    "\u{7f}\u{1}",
    "{a,b}",
    "[a]",
    "(a)",
    "a,b",
    "%s",
    "C:\\dir\\file",
];

fn split(line: &str) -> Vec<String> {
    shell_words::split(line).unwrap()
}

#[test]
fn each_tricky_word_is_read_back() {
    for word in TRICKY {
        assert_eq!(split(&quote(word)), [*word], "{word:?} became {}", quote(word));
    }
}

#[test]
fn all_tricky_words_on_one_line_are_read_back() {
    let line = TRICKY
        .iter()
        .map(|word| quote(word))
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(split(&line), TRICKY);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn every_ascii_character_is_read_back_anywhere_in_a_word() {
    for byte in 1..128u8 {
        let c = char::from(byte);
        for word in [
            String::from(c),
            alloc::format!("a{c}"),
            alloc::format!("{c}a"),
            alloc::format!("a{c}{c}b"),
            alloc::format!("-{c}=1"),
        ] {
            assert_eq!(split(&quote(&word)), [word.as_str()]);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn every_pair_of_special_characters_is_read_back() {
    let special: Vec<char> = " '\"\\\n\t#$`=-a".chars().collect();
    for first in &special {
        for second in &special {
            for third in &special {
                let word: String = [*first, *second, *third].iter().collect();
                assert_eq!(split(&quote(&word)), [word.as_str()]);
            }
        }
    }
}

#[test]
fn plain_words_stay_as_they_are() {
    for word in ["plain", "a/b.wasm", "-i", "--env=K=V", "12", "a_b-c:d,e@f%+g"] {
        assert!(matches!(quote(word), Cow::Borrowed(_)), "{word}");
    }
    // Would be an assignment in a shell.
    assert_eq!(quote("A=B"), "'A=B'");
}

#[test]
fn the_shortest_line() {
    assert_eq!(CommandLine::default().build(), "--");
}

#[test]
fn a_full_line_in_its_order() {
    let line = CommandLine {
        tsc_mhz: Some(2400),
        log: Some(LogLevel::Debug),
        console: Console::Framed,
        spec: Some("/run spec".into()),
    };
    assert_eq!(
        line.build(),
        "-freq 2400 -- --log=debug --console=framed '--spec=/run spec'"
    );
    let shared = CommandLine {
        console: Console::SharedMemory,
        ..CommandLine::default()
    };
    assert_eq!(shared.build(), "-- --console=shared");
}

#[test]
fn a_line_for_people() {
    let line = CommandLine {
        log: Some(LogLevel::Info),
        ..CommandLine::default()
    };
    let run = RunSpec {
        module: ModuleSource::Path("tag/m.wasm".into()),
        argv: vec!["m".into(), "it's".into()],
        ..RunSpec::default()
    };
    assert_eq!(
        join(line.words_with(&run).unwrap()),
        r"-- --log=info --terminals= --file=tag/m.wasm --argv0=m -- 'it'\''s'"
    );
}

#[test]
fn consoles_by_word() {
    for console in Console::ALL {
        assert_eq!(Console::from_word(console.word()), Some(console));
    }
    assert_eq!(Console::from_word("raw"), None);
}
