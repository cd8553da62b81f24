//! `hermit-wasm check`: what this host has for running machines, for people or as JSON.

use boot_protocol::exit_code;
use clap::Args;
use hermit_wasm_vm::Error;
use hermit_wasm_vm::check::{Finding, Host};
use hermit_wasm_vm::host::json::{or_null, string};

/// The flags of `hermit-wasm check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn perform(&self) -> Result<u8, Error> {
        let host = Host::look();
        super::print(&if self.json { json(&host) } else { text(&host) })?;
        Ok(match host.obstacle {
            None => exit_code::SUCCESS,
            Some(_) => exit_code::VM_FAILED,
        })
    }
}

/// How far what is said of a thing is indented: behind its name and its state.
const INDENT: usize = 23;

fn text(host: &Host) -> String {
    let mut text: String = host.findings.iter().map(paragraph).collect();
    match &host.obstacle {
        None => text.push_str("\nModules can be run here.\n"),
        Some(obstacle) => text.push_str(&format!("\nNo module can be run here: {obstacle}\n")),
    }
    text
}

fn paragraph(finding: &Finding) -> String {
    let mut text = format!("{:13} {:8} {}\n", finding.name, finding.state, finding.seen);
    let mut add = |line: &str| text.push_str(&format!("{:INDENT$}{line}\n", ""));
    add(&format!("→ {}", finding.meaning));
    for line in finding.advice.iter().flat_map(|advice| advice.lines()) {
        add(line);
    }
    text
}

/// One object: whether a run is possible, and a list of what was found.
fn json(host: &Host) -> String {
    let findings: Vec<String> = host
        .findings
        .iter()
        .map(|finding| {
            format!(
                "{{\"name\":{},\"state\":{},\"seen\":{},\"meaning\":{},\"advice\":{}}}",
                string(&finding.name),
                string(&finding.state.to_string()),
                string(&finding.seen),
                string(&finding.meaning),
                or_null(finding.advice.as_deref().map(string))
            )
        })
        .collect();
    format!(
        "{{\"possible\":{},\"obstacle\":{},\"findings\":[{}]}}\n",
        host.obstacle.is_none(),
        or_null(host.obstacle.as_deref().map(string)),
        findings.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hermit_wasm_vm::check::State;

    fn host(obstacle: Option<&str>) -> Host {
        Host {
            findings: vec![Finding {
                name: "KVM".to_string(),
                state: State::Limited,
                seen: "\"x\"\\".to_string(),
                meaning: "slower".to_string(),
                advice: Some("this\nor that".to_string()),
            }],
            obstacle: obstacle.map(str::to_string),
        }
    }

    #[test]
    fn a_paragraph_has_what_is_seen_what_it_means_and_what_to_do() {
        assert_eq!(
            text(&host(None)),
            "KVM           limited  \"x\"\\\n                       → slower\n                       this\n                       \
             or that\n\nModules can be run here.\n"
        );
        assert!(text(&host(Some("no QEMU"))).ends_with("\nNo module can be run here: no QEMU\n"));
    }

    #[test]
    fn json_is_quoted() {
        assert_eq!(
            json(&host(None)),
            "{\"possible\":true,\"obstacle\":null,\"findings\":[{\"name\":\"KVM\",\"state\":\"limited\",\
             \"seen\":\"\\\"x\\\"\\\\\",\"meaning\":\"slower\",\"advice\":\"this\\nor that\"}]}\n"
        );
    }
}
