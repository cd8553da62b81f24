//! Tests of the report.

use super::*;
use crate::error::StartError;

fn figures() -> Figures {
    Figures {
        wall: Duration::from_micros(1_234_567),
        start: Some(Duration::from_millis(70)),
        memory: Some(256 << 20),
        machine_memory: Some(5 << 20),
        hypervisor_memory: Some(50 << 20),
        hypervisor: Some("QEMU"),
        accelerator: Some(Accelerator::Tcg),
        engine: Some(Engine::Native),
        ..Figures::begin()
    }
}

fn ended(status: ExitStatus, diagnostic: &str) -> Result<RunResult, Error> {
    Ok(RunResult {
        status,
        stdout: Vec::new(),
        stderr: Vec::new(),
        diagnostic: diagnostic.to_string(),
        transcript: String::new(),
        figures: figures(),
    })
}

#[test]
fn the_whole_of_it() {
    let result = ended(ExitStatus::Trapped, "hermit-wasm: \"a\\b\"\n");
    assert_eq!(
        Report::new(&result, &figures()).to_json(),
        r#"{
  "version": 1,
  "end": "trap",
  "said_by": "machine",
  "exit_code": 134,
  "signal": null,
  "limits": [],
  "wall_seconds": 1.234567,
  "start_seconds": 0.070000,
  "memory_bytes": 268435456,
  "machine_memory_bytes": 5242880,
  "hypervisor_memory_bytes": 52428800,
  "hypervisor": "QEMU",
  "accelerator": "tcg",
  "engine": "native",
  "message": "\"a\\b\""
}
"#
    );
}

#[test]
fn each_end_has_its_name() {
    let machine = |failure| {
        Box::new(MachineError {
            failure,
            transcript: String::new(),
        })
    };
    let host_memory = MachineFailure::HostMemory {
        hypervisor: "QEMU",
        limit: 1,
        inherited: false,
        reason: String::new(),
    };
    type Case = (Result<RunResult, Error>, &'static str, u8, Option<i32>);
    let cases: Vec<Case> = vec![
        (ended(ExitStatus::Exited(3), ""), "exit", 3, None),
        (ended(ExitStatus::Refused(126), "x"), "refused", 126, None),
        (ended(ExitStatus::Failed(125), "x"), "machine_failed", 125, None),
        (
            Err(Error::Timeout {
                what: "x".into(),
                limit: Duration::from_secs(1),
            }),
            "timeout",
            124,
            None,
        ),
        (
            Err(Error::Stopped(Stop::Signal(15))),
            "interrupted",
            143,
            Some(15),
        ),
        (Err(Error::Stopped(Stop::Asked)), "interrupted", 137, None),
        (Err(Error::OutputClosed), "output_closed", 141, Some(13)),
        (
            Err(machine(MachineFailure::NeverStarted { advice: "" }).into()),
            "machine_failed",
            125,
            None,
        ),
        (Err(machine(host_memory).into()), "memory_limit", 125, None),
        (Err(Error::Invalid("x".into())), "usage_error", 2, None),
        (
            Err(StartError::Kvm("x".into()).into()),
            "launcher_error",
            125,
            None,
        ),
    ];
    for (result, name, code, signal) in cases {
        let report = Report::new(&result, &figures());
        assert_eq!(
            (report.end.name(), report.exit_code, report.signal),
            (name, code, signal)
        );
        assert_eq!(report.machines_word, result.is_ok());
        let limits = match name {
            "timeout" => r#"["time"]"#,
            "memory_limit" => r#"["host_memory"]"#,
            _ => "[]",
        };
        assert!(
            report.to_json().contains(&format!("\"limits\": {limits}")),
            "{name}"
        );
    }
}

#[test]
fn memory_is_a_limit_of_a_guest_and_an_end_of_an_application() {
    let refused = Figures {
        memory_refused: true,
        ..figures()
    };
    for (status, name) in [
        (ExitStatus::Exited(3), "exit"),
        (ExitStatus::Trapped, "trap"),
        (ExitStatus::Failed(125), "memory_limit"),
    ] {
        let report = Report::new(&ended(status, "x"), &refused);
        assert_eq!(report.end.name(), name);
        assert!(report.to_json().contains("\"limits\": [\"memory\"]"));
    }
}

#[test]
fn a_guests_limit_is_named_as_the_flag_names_it() {
    let reached = run_spec::Limit::Deadline.of(5);
    let report = Report::new(&ended(ExitStatus::LimitReached(reached), "x"), &figures());
    assert_eq!((report.end.name(), report.exit_code), ("limit_reached", 242));
    assert!(report.machines_word);
    assert!(report.to_json().contains("\"limits\": [\"timeout\"]"));
}

#[test]
fn a_quota_is_a_limit_whatever_the_guest_makes_of_it() {
    let met = Figures {
        quota_met: true,
        ..figures()
    };
    let report = Report::new(&ended(ExitStatus::Exited(0), ""), &met);
    assert_eq!(report.limits, [Limit::Disk]);
    assert!(report.to_json().contains("\"limits\": [\"disk\"]"));
}

#[test]
fn what_is_not_known_is_null() {
    let json = Report::new(&ended(ExitStatus::Exited(0), ""), &Figures::begin()).to_json();
    for name in [
        "start_seconds",
        "memory_bytes",
        "machine_memory_bytes",
        "hypervisor_memory_bytes",
        "hypervisor",
        "accelerator",
        "engine",
        "message",
        "signal",
    ] {
        assert!(json.contains(&format!("\"{name}\": null")), "{json}");
    }
}

#[test]
fn a_message_is_short_and_text() {
    let result = ended(ExitStatus::Trapped, &"\u{202e}".repeat(100_000));
    let json = Report::new(&result, &figures()).to_json();
    assert!(
        json.len() < 20_000 && !json.contains('\u{202e}'),
        "{} bytes",
        json.len()
    );
}
