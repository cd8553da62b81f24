//! Tests of what is shown.

use super::*;
use std::format;
use std::string::ToString as _;

/// Unicode's `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt, 16.0).
const IGNORABLE: [core::ops::RangeInclusive<u32>; 17] = [
    0xad..=0xad,
    0x34f..=0x34f,
    0x61c..=0x61c,
    0x115f..=0x1160,
    0x17b4..=0x17b5,
    0x180b..=0x180f,
    0x200b..=0x200f,
    0x202a..=0x202e,
    0x2060..=0x206f,
    0x3164..=0x3164,
    0xfe00..=0xfe0f,
    0xfeff..=0xfeff,
    0xffa0..=0xffa0,
    0xfff0..=0xfff8,
    0x1bca0..=0x1bca3,
    0x1d173..=0x1d17a,
    0xe0000..=0xe0fff,
];

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn what_a_terminal_obeys_is_escaped() {
    let controls = (0..0x20u32).chain(0x7f..0xa0);
    // Overrides and isolates, marks of direction, separators.
    let others = [0x61c, 0x200e, 0x200f, 0x2028, 0x2029]
        .into_iter()
        .chain(0x202a..=0x202e)
        .chain(0x2066..=0x2069);
    // Interlinear annotation, private use, not assigned.
    let strange = [0xfff9, 0xfffa, 0xfffb, 0xe000, 0xf8ff, 0x10_fffd, 0x378, 0xffff];
    let ignorable = IGNORABLE.into_iter().flatten();
    for number in controls.chain(others).chain(strange).chain(ignorable) {
        let character = char::from_u32(number).unwrap();
        let shown = piece(format!("a{character}b"));
        assert!(
            shown.is_ascii() && shown.starts_with(r"a\") && shown.ends_with('b'),
            "{shown}"
        );
        assert!(!shown.contains(|c: char| c.is_control()), "{shown:?}");
    }
}

#[test]
fn ordinary_text_is_kept() {
    for text in [
        "plain: 'quoted' \"twice\" \\ ~ `name`",
        "é, e\u{301}, ñ, Ω, Ж, שלום, سلام, हिन्दी, ไทย, 한국어",
        "漢字\u{3000}かな、…—“”",
        "🎉 ❤\u{fe0f} ☂\u{fe0e} 👍🏽 → ≤ ∑ ½ €",
    ] {
        assert_eq!(piece(text), text);
        assert_eq!(message(text), text);
    }
}

#[test]
fn joined_emoji_come_apart_and_stray_selectors_are_seen() {
    assert_eq!(piece("👩\u{200d}💻"), r"👩\u{200d}💻");
    assert_eq!(piece("a\u{fe0f}"), r"a\u{fe0f}");
    assert_eq!(piece("❤\u{fe0f}\u{fe0f}"), "❤\u{fe0f}\\u{fe0f}");
}

#[test]
fn bytes_that_are_no_text_are_shown_one_by_one() {
    // A lone surrogate, a character cut short, an overlong slash.
    assert_eq!(
        piece(b"\xed\xa0\x80 \xe6\xbc \xc0\xaf"),
        r"\xed\xa0\x80 \xe6\xbc \xc0\xaf"
    );
}

#[test]
fn line_breaks_belong_to_messages_only() {
    assert_eq!(piece("a\n\tb\r\n"), r"a\n\tb\r\n");
    assert_eq!(message("a\n\tb\r\n"), "a\n\tb\\r\n");
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn what_was_shown_stays_when_it_is_shown_again() {
    let mut all = String::new();
    for number in (0..0x300).chain(0x2000..0x2100).chain([0xfe0f, 0xe0041]) {
        all.extend(char::from_u32(number));
    }
    let once = bounded(all.as_bytes(), Layout::Line, usize::MAX);
    assert_eq!(bounded(once.as_bytes(), Layout::Line, usize::MAX), once);
    let cut = piece("x".repeat(5000));
    assert_eq!(piece(&cut), cut);
    assert_eq!(message(&cut), cut);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn the_middle_of_much_is_left_out() {
    let long = format!("begin{}end", "x".repeat(1 << 20));
    let shown = piece(&long);
    assert!(shown.len() <= LONGEST_PIECE, "{}", shown.len());
    assert!(
        shown.starts_with("beginxxx") && shown.ends_with("xxxend"),
        "{shown}"
    );
    let (front, rest) = shown.split_once("…(").unwrap();
    let (number, end) = rest.split_once(" bytes left out)…").unwrap();
    let left_out: usize = number.parse().unwrap();
    assert_eq!(front.len() + left_out + end.len(), long.len());
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn the_limit_holds_for_what_is_shown_and_no_character_is_cut() {
    for unit in ["\u{1b}", "\u{e0041}", "漢", "é", "x", "\n"] {
        for count in [100, 1000, 1023, 1024, 1025, 5000] {
            let text = unit.repeat(count);
            let shown = piece(&text);
            assert!(shown.len() <= LONGEST_PIECE, "{}", shown.len());
            let whole = bounded(text.as_bytes(), Layout::Line, usize::MAX);
            if whole.len() <= LONGEST_PIECE {
                assert_eq!(shown, whole);
                continue;
            }
            let escaped = piece(unit);
            let (front, rest) = shown.split_once("…(").unwrap();
            let (number, end) = rest.split_once(" bytes left out)…").unwrap();
            let units = |text: &str| {
                assert_eq!(text.replace(&escaped, ""), "", "{text}");
                text.len() / escaped.len()
            };
            let left_out: usize = number.parse().unwrap();
            assert_eq!((units(front) + units(end)) * unit.len() + left_out, text.len());
        }
    }
    // Bytes that are no text, too.
    let shown = piece([0xff; 5000]);
    assert!(
        shown.len() <= LONGEST_PIECE && shown.contains("bytes left out"),
        "{shown}"
    );
}

#[test]
fn exactly_the_limit_fits() {
    let text = "x".repeat(LONGEST_PIECE);
    assert_eq!(piece(&text), text);
    assert!(piece(text + "x").contains("left out"));
}

#[test]
fn runs_are_the_same_without_a_heap() {
    let bytes = b"plain \x1b[1m \xff\xfe caf\xc3\xa9 \xe2\x80\xae end\n";
    let mut all = String::new();
    let mut calls = 0;
    runs(bytes, Layout::Text, |run| {
        all.push_str(run);
        calls += 1;
    });
    assert_eq!(all, message(bytes));
    assert!(calls < 12, "{calls}");
    assert_eq!(
        all,
        "plain \\u{1b}[1m \\xff\\xfe café \\u{202e} end\n".to_string()
    );
}
