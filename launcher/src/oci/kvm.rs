//! The accelerator of a container's machine. It is chosen on the node, where the verdict about KVM is kept: a container
//! would have to try it each time.

use std::path::Path;
use std::process::{Command, Stdio};

use super::config::Config;
use super::monitor::Programs;
use super::refusal::{Level, Log, Refusal, refuse};
use crate::vmm::capabilities::Accelerator;
use crate::vmm::qemu::{self, probe::Known};

/// How long the trial of KVM may take.
const TRIAL: &str = "30s";

/// Chooses, of what the pod and the node demand. Where KVM is demanded and cannot be had, there is no container; where it
/// is not, the log says so.
pub(super) fn choose(
    demanded: Option<Accelerator>,
    config: &Config,
    programs: &Programs,
    log: Log<'_>,
) -> Result<Option<Accelerator>, Refusal> {
    let attempt = || {
        // It notes whether KVM has worked.
        let _ = trial(programs).status();
    };
    choose_by(demanded, config, programs, log, qemu::kvm, attempt)
}

/// The same, by what is `known` of a QEMU, and an attempt to know more.
fn choose_by(
    demanded: Option<Accelerator>,
    config: &Config,
    programs: &Programs,
    log: Log<'_>,
    known_of: impl Fn(Option<&Path>) -> Known,
    attempt: impl FnOnce(),
) -> Result<Option<Accelerator>, Refusal> {
    let nodes = config.accelerator().map_err(Refusal::new)?;
    let demanded = match (demanded, nodes) {
        (Some(pods), Some(nodes)) if pods != nodes => {
            return refuse!(
                "the accelerator {} is demanded by annotation, and this node's /etc/hermit-wasm/oci.toml demands {}",
                pods.name(),
                nodes.name()
            );
        }
        (pods, nodes) => pods.or(nodes),
    };
    if demanded == Some(Accelerator::Tcg) {
        return Ok(demanded);
    }
    // Of the machine's own QEMU: another one, in PATH, may fare otherwise.
    let qemu = Some(programs.qemu.as_path());
    let mut known = known_of(qemu);
    // A QEMU that was prepared for monitors runs there alone.
    if known == Known::Untried && config.monitor == Path::new("/") {
        attempt();
        known = known_of(qemu);
    }
    match (known, demanded) {
        (Known::Works, _) => Ok(Some(Accelerator::Kvm)),
        // There is no place to keep the verdict: the machine itself finds out.
        (Known::Untried, demanded) => Ok(demanded),
        (Known::Not { reason, .. }, Some(_)) => {
            refuse!("KVM is demanded and cannot be had on this node: {reason}")
        }
        (Known::Not { reason, .. }, None) => {
            log.say(
                Level::Warning,
                &format!("the machine is emulated (TCG), and slower than under KVM: {reason}"),
            );
            Ok(Some(Accelerator::Tcg))
        }
    }
}

/// The boot of a machine.
fn trial(programs: &Programs) -> Command {
    let mut command = Command::new(&programs.launcher);
    command
        .args(["run", "--timeout", TRIAL, "--qemu"])
        .arg(&programs.qemu)
        .arg("--greet")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn programs() -> Programs {
        Programs {
            launcher: "/l/hermit-wasm".into(),
            qemu: "/q/qemu".into(),
            virtiofsd: "/v/virtiofsd".into(),
        }
    }

    #[test]
    fn what_is_known_is_of_the_containers_own_qemu() {
        let prepared = Config {
            monitor: "/opt/monitor".into(),
            ..Config::default()
        };
        for (config, chosen, tried) in [
            (Config::default(), Some(Accelerator::Kvm), true),
            (prepared, None, false),
        ] {
            let was_tried = Cell::new(false);
            let known = |qemu: Option<&Path>| {
                assert_eq!(qemu, Some(Path::new("/q/qemu")));
                match was_tried.get() {
                    true => Known::Works,
                    false => Known::Untried,
                }
            };
            let log = Log {
                file: None,
                json: false,
            };
            let found = choose_by(None, &config, &programs(), log, known, || was_tried.set(true));
            assert_eq!((found.ok(), was_tried.get()), (Some(chosen), tried));
        }
    }

    #[test]
    fn the_containers_own_qemu_is_tried() {
        let programs = programs();
        let trial = trial(&programs);
        assert_eq!(trial.get_program(), "/l/hermit-wasm");
        let words: Vec<_> = trial.get_args().collect();
        assert_eq!(words, ["run", "--timeout", TRIAL, "--qemu", "/q/qemu", "--greet"]);
    }
}
