//! Payloads that were packed: they run as they are, or not at all.

use crate::machine::{Machine, echo, refused, spec};

#[test]
fn a_sealed_payload_runs_as_it_was_sealed_and_not_otherwise() {
    let members = [
        ("Hermitfile", &b"FROM m.wasm\n"[..]),
        ("run.spec", &spec().encode()),
        ("module.wasm", &echo("sealed")),
    ];
    let mut machine = Machine::with_sealed(&members);
    let status = machine.run("", &[]);
    assert_eq!((status.code, status.message), (0, None));
    assert_eq!(machine.output(), "sealed:m\0two words\0A=1\0");

    let good = machine.payload.unwrap();
    // Seal, headers, description, module, padding, end mark: each byte.
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 1 << (at % 8);
        let mut machine = Machine {
            payload: Some(bad.leak()),
            ..Machine::bare()
        };
        let status = machine.run("", &[]);
        assert!(matches!(status.code, 2 | 126), "byte {at}: code {}", status.code);
        let message = status.message.unwrap_or_default();
        assert!(message.contains("payload"), "byte {at}: {message}");
        assert_eq!(machine.output(), "", "byte {at}");
    }
    for length in (0..good.len()).step_by(512).skip(1) {
        let mut machine = Machine {
            payload: Some(&good[..length]),
            ..Machine::bare()
        };
        refused(&machine.run("", &[]), 126, &["payload", "digest"]);
    }
    refused(
        &Machine::with_payload(&members).run("", &[]),
        126,
        &["Hermitfile", "digest"],
    );
}
