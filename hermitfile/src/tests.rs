//! Hermitfiles: each directive, each error with its place and its hint, and the canonical form.

use super::*;

fn read(text: &str) -> Manifest {
    let manifest = Manifest::parse("Hermitfile", text.as_bytes()).unwrap();
    let printed = manifest.to_string();
    assert_eq!(
        Manifest::parse("printed", printed.as_bytes()).unwrap(),
        manifest,
        "{printed}"
    );
    manifest
}

/// The error of a text that begins with `FROM m` and a line break.
fn refused(text: &str) -> String {
    let text = format!("FROM m\n{text}");
    Manifest::parse("Hermitfile", text.as_bytes())
        .unwrap_err()
        .to_string()
}

/// Everything at once, as people write it.
const FULL: &str = r#"
# What CPython needs.
FROM python.wasm
entrypoint  run
ARGV ["-c", "print(\"é \u00e9 \ud83e\udd80\")"]
ENV PYTHONHOME=/usr LANG=C.UTF-8 \
    # The empty one.
    EMPTY= \
    GREETING="it's $5 \\ #1"
ENV_PWD_IS_HOST_CWD
ENV_EXE_NAME_IS_HOST_EXE_NAME
MAP [ "data", "/var/in:/in:ro",
]
"#;

#[test]
fn several_files_go_into_one_directory() {
    let manifest = Manifest::parse("H", b"FROM m\nCOPY a /d/\nCOPY b /d/\nCOPY c .\nCOPY d .\n").unwrap();
    let guests: Vec<&str> = manifest
        .directories
        .iter()
        .map(|one| one.guest.as_str())
        .collect();
    assert_eq!(guests, ["/d/", "/d/", ".", "."]);
}

#[test]
fn a_list_ends_on_its_line_or_goes_on_with_a_backslash() {
    let error = Manifest::parse("Hermitfile", FULL.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Hermitfile:12:5: unterminated list; end it with ']'; to continue it on the next line, end this one with a \
         backslash"
    );
    assert_eq!((error.line(), error.column()), (12, 5));
}

#[test]
fn everything() {
    let text = FULL.replace("/in:ro\",\n", "/in:ro\" \\\r\n  # so\n");
    let text = text
        + r#"MAP .:/work
COPY lib /usr/lib
TMPFS /tmp 16MiB
TMPFS "/with space"
LINK env=env.wasm
LINK "a b"=c.wat
NET none
ENGINE native
MEMORY 1G
FUEL 1000000
TIMEOUT 1.5s
STACK 512K
FDS 64
TABLE_ELEMENTS 1000
FILE_BYTES 100MB
OUTPUT_BYTES 1
TRAP_ON_GROW_FAILURE
DETERMINISTIC
may_be_widened"#;
    let manifest = read(&text);
    assert_eq!(
        manifest.to_string(),
        r#"FROM python.wasm
ENTRYPOINT run
ARGV ["-c", "print(\"é é 🦀\")"]
ENV PYTHONHOME=/usr
ENV LANG=C.UTF-8
ENV EMPTY=
ENV GREETING="it's $5 \\ #1"
ENV_PWD_IS_HOST_CWD
ENV_EXE_NAME_IS_HOST_EXE_NAME
MAP ["data:data"]
MAP ["/var/in:/in:ro"]
MAP [".:/work"]
COPY lib /usr/lib
TMPFS /tmp 16MiB
TMPFS "/with space"
LINK env=env.wasm
LINK "a b"=c.wat
ENGINE native
FUEL 1000000
TIMEOUT 1500ms
MEMORY 1GiB
TABLE_ELEMENTS 1000
STACK 512KiB
FDS 64
FILE_BYTES 100000000
OUTPUT_BYTES 1
TRAP_ON_GROW_FAILURE
DETERMINISTIC 0
MAY_BE_WIDENED
"#
    );
    assert_eq!(manifest.limits.get(Limit::Deadline), Some(1_500_000_000));
    assert_eq!(manifest.engine, Some(Engine::Native));
    assert_eq!(manifest.env.len(), 4);
    let access: Vec<Access> = manifest.directories.iter().map(Directory::access).collect();
    use Access::{ReadOnly, ReadWrite};
    assert_eq!(
        access,
        [ReadWrite, ReadOnly, ReadWrite, ReadOnly, ReadWrite, ReadWrite]
    );
}

#[test]
fn the_smallest() {
    for text in [
        "FROM m.wasm",
        "\u{feff}from m.wasm\r\n",
        "\n\n  # c\n\tFROM \\\n m.wasm \t\n#",
        "FROM \"m\".wa\"sm\"",
        "FROM m.wasm\nNET none\nENGINE auto\nARGV []",
    ] {
        let manifest = read(text);
        assert_eq!(manifest, Manifest::new("m.wasm"), "{text}");
        assert_eq!(manifest.to_string(), "FROM m.wasm\n");
    }
}

#[test]
fn what_a_terminal_would_obey_is_escaped() {
    let manifest = Manifest {
        argv: vec![
            "\u{1b}[31m".into(),
            "\u{202e}x\n\u{7f}".into(),
            "\u{e0001}".into(),
            String::new(),
        ],
        ..Manifest::new("[a\u{200b}")
    };
    let printed = manifest.to_string();
    assert_eq!(
        printed,
        "FROM \"[a\\u200b\"\nARGV [\"\\u001b[31m\", \"\\u202ex\\n\\u007f\", \"\\udb40\\udc01\", \"\"]\n"
    );
    assert_eq!(read(&printed), manifest);
}

#[test]
fn each_error_has_its_place_and_says_what_to_do() {
    for (text, expected) in [
        ("FORM x", "2:1: unknown directive 'FORM'; did you mean FROM?"),
        (
            "  RUN make",
            "2:3: unknown directive 'RUN'; a Hermitfile builds nothing; build the module first, and name it with FROM",
        ),
        (
            "\n\nFROM n",
            "4:1: duplicate FROM; first on line 1; keep one of them",
        ),
        (
            "FUEL",
            "2:1: FUEL takes one word, found none; the syntax is FUEL NUMBER",
        ),
        (
            "FUEL 1 2",
            "2:1: FUEL takes one word, found 2; the syntax is FUEL NUMBER",
        ),
        (
            "FUEL -1",
            "2:6: '-1': expected a whole number of at most 18446744073709551615",
        ),
        (
            "FUEL 18446744073709551616",
            "2:6: '18446744073709551616': expected a whole number of at most 18446744073709551615",
        ),
        (
            "FUEL [\"1\"]",
            "2:1: FUEL takes no list; the syntax is FUEL NUMBER",
        ),
        ("FUEL \"\"", "2:6: the word is empty; the syntax is FUEL NUMBER"),
        (
            "DETERMINISTIC -1",
            "2:15: '-1': expected a whole number of at most 18446744073709551615",
        ),
        (
            "DETERMINISTIC 1 2",
            "2:1: DETERMINISTIC takes at most one word, found 2; the syntax is DETERMINISTIC [SEED]",
        ),
        (
            "TIMEOUT 0s",
            "2:9: '0s': zero would stop the run before it starts",
        ),
        (
            "MEMORY 1X",
            "2:8: '1X': unknown unit 'X'; expected a whole number with a unit, such as 512M, 1G or 256MiB",
        ),
        (
            "ENV A",
            "2:5: variable 'A' has no value; write NAME=VALUE; to pass the host's value, run with --env NAME",
        ),
        (
            "ENV =1",
            "2:5: the variable has no name; the syntax is ENV NAME=VALUE…",
        ),
        (
            "ENV A=1 é=2 A=3",
            "2:13: duplicate variable 'A'; first on line 2; keep one of them",
        ),
        (
            "ENV PWD=/\nENV_PWD_IS_HOST_CWD",
            "3:1: duplicate variable 'PWD'; first on line 2; keep one of them",
        ),
        (
            "ENV A='b c'",
            "2:7: the character ' is only allowed in quotation marks; use double quotation marks, as in \"it's\"",
        ),
        (
            "ENV A=$B",
            "2:7: the character $ is only allowed in quotation marks; variables are not expanded; for a dollar sign, write \"$\"",
        ),
        (
            "ENV A=b # c",
            "2:9: a word begins with '#'; a comment must be on a line of its own; if this is not a comment, put the word in quotation marks",
        ),
        (
            "ENV A=a\\b",
            "2:8: the character \\ is only allowed in quotation marks; for a backslash, write \"\\\\\"; to continue on the next line, end the line with it",
        ),
        (
            "ENV A=\u{a0}",
            "2:7: the character U+00A0 is only allowed in quotation marks; write it in quotation marks, as \\u and four hexadecimal digits",
        ),
        (
            "ENV A=\"b",
            "2:7: unterminated string; end it with '\"' on this line; for a line break in it, write \\n",
        ),
        (
            "ENV A=\"\\x\"",
            "2:8: unknown escape sequence; for a backslash, write \\\\; the others are those of JSON: \\\" \\/ \\b \\f \\n \\r \\t \\uXXXX",
        ),
        (
            "ENV A=\"\t\"",
            "2:8: control character U+0009 in a string; write \\u0009",
        ),
        (
            "ENV A=\"\\u0000\"",
            "2:8: WASI programs cannot be given zero bytes",
        ),
        (
            "ENV A=\"\\ud83e\"",
            "2:8: \\ud83e is half of a surrogate pair; write both halves, as \\ud83e\\udd80",
        ),
        (
            "ENV A=\"\\u12\"",
            "2:8: \\u needs four hexadecimal digits; write \\u00e9 for 'é'",
        ),
        (
            "ENV_PWD_IS_HOST_CWD 1",
            "2:21: ENV_PWD_IS_HOST_CWD takes no arguments; write ENV_PWD_IS_HOST_CWD alone",
        ),
        (
            "MAP",
            "2:1: MAP takes at least one word, found none; the syntax is MAP [\"HOST[:GUEST[:ro]]\", …]",
        ),
        (
            "MAP [a]",
            "2:6: the items of a list must be in quotation marks; write [\"one\", \"two\"]",
        ),
        (
            "MAP [\"a\",]",
            "2:10: unexpected comma before the list's ']'; omit it",
        ),
        (
            "MAP [\"a\" \"b\"]",
            "2:10: expected ',' or ']' after an item of the list",
        ),
        ("MAP [\"a\"] b", "2:11: unexpected text after the list's ']'"),
        (
            "MAP a [\"b\"]",
            "2:7: a word begins with '['; a list must be the only argument; if this is not a list, put the word in quotation marks",
        ),
        (
            "MAP a:ro",
            "2:5: the guest path is missing before ':ro'; write 'a:a:ro'",
        ),
        (
            "MAP a::b",
            "2:5: the guest path between the colons is empty; the syntax is MAP [\"HOST[:GUEST[:ro]]\", …]",
        ),
        (
            "MAP a:b:rw",
            "2:5: unknown option 'rw'; the syntax is MAP [\"HOST[:GUEST[:ro]]\", …]",
        ),
        (
            "MAP a:b:c:d",
            "2:5: 'a:b:c:d' has too many colons; a path cannot contain one; the syntax is MAP [\"HOST[:GUEST[:ro]]\", …]",
        ),
        (
            "MAP :b",
            "2:5: the host path is missing; the syntax is MAP [\"HOST[:GUEST[:ro]]\", …]",
        ),
        (
            "MAP a:",
            "2:5: the guest path is missing; the syntax is MAP [\"HOST[:GUEST[:ro]]\", …]",
        ),
        (
            "TMPFS /a\nCOPY b /a",
            "3:8: duplicate guest path '/a'; first on line 2; give one of them another name",
        ),
        (
            "COPY a /b/\nTMPFS /b/",
            "3:7: duplicate guest path '/b/'; first on line 2; give one of them another name",
        ),
        (
            "COPY a",
            "2:1: COPY takes two words, found one; the syntax is COPY SOURCE GUEST",
        ),
        (
            "TMPFS /t 1.5M",
            "2:10: '1.5M': expected a whole number with a unit, such as 512M, 1G or 256MiB",
        ),
        (
            "LINK a",
            "2:6: the name or the file of the linked module is missing; the syntax is LINK NAME=MODULE",
        ),
        (
            "LINK =a",
            "2:6: the name of the linked module is missing; the syntax is LINK NAME=MODULE",
        ),
        (
            "LINK a=b\nLINK a=c",
            "3:6: duplicate link 'a'; first on line 2; keep one of them",
        ),
        (
            "NET",
            "2:1: NET takes at least one word, found none; the syntax is NET [\"NAME:PORT[/udp][=TARGET]\", …]",
        ),
        (
            "NET [\"redis\"]",
            "2:6: 'redis' has no port; write NAME:PORT, such as redis:6379",
        ),
        (
            "NET a:1\nNET [\"b:1\", \"a:1=c\"]",
            "3:13: duplicate grant of 'a:1'; first on line 2; keep one of them",
        ),
        (
            "EXPOSE 80\nNET none",
            "3:5: NET none contradicts line 2; keep one of them",
        ),
        (
            "NET none\nNET a:1",
            "3:5: NET none contradicts line 2; keep one of them",
        ),
        (
            "NET none\nEXPOSE 80",
            "3:8: NET none contradicts line 2; keep one of them",
        ),
        (
            "EXPOSE 80\nDETERMINISTIC",
            "3:1: what comes from a network is another on every run; omit DETERMINISTIC, or NET and EXPOSE",
        ),
        (
            "EXPOSE 8080:80",
            "2:8: '8080:80' is no port; ports are 1 to 65535; the syntax is EXPOSE PORT[/udp]…",
        ),
        (
            "EXPOSE 80 53/udp 80/tcp",
            "2:18: duplicate port '80/tcp'; first on line 2; keep one of them",
        ),
        (
            "ENGINE v8",
            "2:8: unknown engine 'v8'; the engines are interp and native; with auto, the launcher chooses",
        ),
        (
            "FUEL \\",
            "2:6: the line continues, but the file ends here; omit the backslash",
        ),
    ] {
        assert_eq!(refused(text), format!("Hermitfile:{expected}"), "{text}");
    }
}

#[test]
fn what_is_no_hermitfile_at_all() {
    let error = |text: &[u8]| Manifest::parse("H\u{1b}", text).unwrap_err().to_string();
    assert_eq!(
        error(b"# nothing\n"),
        "H\\u{1b}:2:1: no module is named; write FROM MODULE"
    );
    assert_eq!(
        error(b"FROM m\nENV \xc3\xa9=\xff"),
        "H\\u{1b}:2:7: the text is not UTF-8; save it as UTF-8"
    );
    assert_eq!(
        error(&vec![b'#'; LONGEST + 1]),
        "H\\u{1b}:1:1: the file is longer than 1 MiB, the maximum for a Hermitfile"
    );
    let unknown = error(b"\0asm\x01\0\0\0");
    assert!(unknown.contains("U+0000"), "{unknown}");
    let far = error(format!("{} x", "A".repeat(5000)).as_bytes());
    assert!(far.contains("the directives are FROM, ENTRYPOINT"), "{far}");
}

#[test]
fn a_network_is_what_is_granted_and_exposed() {
    let manifest = read(
        r#"EXPOSE 8080 53/udp
NET ["Redis:6379", "api.example.com:443=10.1.2.3:8443"]
NET time:123/udp
FROM m
expose 443/tcp"#,
    );
    assert_eq!(
        manifest.to_string(),
        r#"FROM m
NET ["redis:6379"]
NET ["api.example.com:443=10.1.2.3:8443"]
NET ["time:123/udp"]
EXPOSE 8080
EXPOSE 53/udp
EXPOSE 443
"#
    );
    let network = manifest.network().unwrap();
    assert_eq!(network.grants, manifest.grants);
    assert_eq!(
        network.listeners,
        ["0.0.0.0:8080", "0.0.0.0:443"].map(|text| text.parse().unwrap())
    );
    assert_eq!(network.published, [(53, Protocol::Udp)]);
    assert!(network.may_listen(8080, Protocol::Tcp));
    assert!(!network.inherit && !network.look_up);
    assert_eq!(read("FROM m\nNET none\nNET none").network(), None);
}

#[test]
fn what_a_network_is_given_is_bounded() {
    let ports: Vec<String> = (1..=33).map(|port| port.to_string()).collect();
    let error = refused(&format!("EXPOSE {}", ports.join(" ")));
    assert!(error.contains("more than 32 ports"), "{error}");
    let names: Vec<String> = (0..=128).map(|name| format!("n{name}:1")).collect();
    let error = refused(&format!("NET {}", names.join(" ")));
    assert!(error.contains("one name too many"), "{error}");
}
