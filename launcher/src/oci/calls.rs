//! The calls besides `create` and `run` that are not the delegate's alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci_spec::runtime::{Features, Process};
use serde::Deserialize;
use serde_json::Value;

use super::annotations::PREFIX;
use super::monitor;
use super::mounts::cannot;
use super::refusal::{Level, Log, Refusal, refuse};
use super::resources;
use super::unknown;
use super::words::Call;

/// The versions of the specification that configurations may have.
const VERSIONS: (&str, &str) = ("1.0.0", "1.3.0");

/// What is looked at of a container's state.
#[derive(Deserialize)]
struct State {
    bundle: PathBuf,
}

/// What the delegate prints, where it succeeds.
fn ask(delegate: &Path, words: &[OsString]) -> Result<Option<Vec<u8>>, Refusal> {
    let output = Command::new(delegate)
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(cannot("execute the delegate", delegate))?;
    Ok(output.status.success().then_some(output.stdout))
}

/// The state of the call's container, if there is one.
fn state(call: &Call, delegate: &Path) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(id) = &call.id else { return Ok(None) };
    let mut words = call.other("state");
    words.push(id.clone());
    ask(delegate, &words)
}

/// Whether the call's container exists.
pub(super) fn is_there(call: &Call, delegate: &Path) -> Result<bool, Refusal> {
    Ok(state(call, delegate)?.is_some())
}

/// The delegate's bundle of the call's container, if that is a machine. What is wrong with the container, the delegate
/// says itself.
pub(super) fn machine(call: &Call, delegate: &Path) -> Result<Option<PathBuf>, Refusal> {
    let Some(id) = &call.id else { return Ok(None) };
    let said = state(call, delegate)?.and_then(|said| serde_json::from_slice::<State>(&said).ok());
    Ok(said
        .map(|state| state.bundle)
        .filter(|bundle| monitor::is_of_machine(bundle, id)))
}

/// The state of the call's container, if its bundle is one that was made here: as the engine knows it. Whoever looks for
/// the container's configuration and root there is to find the engine's.
pub(super) fn state_of_ours(call: &Call, delegate: &Path) -> Result<Option<String>, Refusal> {
    let said = state(call, delegate)?.and_then(|said| serde_json::from_slice::<Value>(&said).ok());
    let (Some(Value::Object(mut said)), Some(id)) = (said, &call.id) else {
        return Ok(None);
    };
    let Some(own) = said.get("bundle").and_then(Value::as_str).map(PathBuf::from) else {
        return Ok(None);
    };
    let Some(engines) = monitor::engines(&own, id) else {
        return Ok(None);
    };
    said.insert("bundle".to_string(), shown(engines));
    let is_ours = |root: &Value| {
        root.as_str()
            .is_some_and(|root| Path::new(root).starts_with(&own))
    };
    if said.get("rootfs").is_some_and(is_ours)
        && let Some(root) = monitor::engines_root(&own)
    {
        said.insert("rootfs".to_string(), shown(&root));
    }
    serde_json::to_string_pretty(&said)
        .map(|text| Some(format!("{text}\n")))
        .map_err(|error| Refusal::new(format!("cannot write the container's state: {error}")))
}

fn shown(path: &Path) -> Value {
    path.to_string_lossy().into()
}

/// Refuses `exec` for a machine. A container that the delegate made as it was has programs.
pub(super) fn refuse_exec(call: &Call, delegate: &Path) -> Result<(), Refusal> {
    match machine(call, delegate)? {
        Some(_) => refuse!(
            "exec is not possible: the container is a virtual machine that runs one WebAssembly module, and has no other \
             program"
        ),
        None => Ok(()),
    }
}

/// Drops of a process that is to be executed what this process may not give it, in the engine's own description of it.
/// `create` does the same.
pub(super) fn fit_exec(call: &Call, log: Log<'_>) -> Result<(), Refusal> {
    let Some(path) = &call.process else { return Ok(()) };
    let text = std::fs::read(path).map_err(cannot("read", path))?;
    // What is wrong with it, the delegate says itself.
    let Ok((dropped, fitted)) = fitted(&text, resources::fit) else {
        return Ok(());
    };
    if dropped.is_empty() {
        return Ok(());
    }
    for what in &dropped {
        log.say(Level::Warning, what);
    }
    std::fs::write(path, fitted.to_string()).map_err(cannot("write", path))
}

/// What was dropped of a description of a process, and what is left of it.
fn fitted(
    text: &[u8],
    fit: impl FnOnce(&mut Process) -> Vec<String>,
) -> serde_json::Result<(Vec<String>, Value)> {
    let mut process: Process = serde_json::from_slice(text)?;
    let given: Value = serde_json::from_slice(text)?;
    let known = serde_json::to_value(&process)?;
    let dropped = fit(&mut process);
    let mut written = serde_json::to_value(&process)?;
    unknown::keep(&given, &known, &mut written);
    Ok((dropped, written))
}

/// What delegate and this program can do, as JSON.
pub(super) fn features(call: &Call, delegate: &Path) -> Result<String, Refusal> {
    let said = ask(delegate, &call.words)?;
    let mut features: Features = match said.map(|said| serde_json::from_slice(&said)) {
        Some(Ok(features)) => features,
        // An older one does not know the command.
        _ => {
            let mut features = Features::default();
            features.set_oci_version_min(VERSIONS.0.to_string());
            features.set_oci_version_max(VERSIONS.1.to_string());
            features
        }
    };
    let mut annotations = features.annotations().clone().unwrap_or_default();
    for (name, value) in [
        ("version", env!("CARGO_PKG_VERSION").to_string()),
        ("delegate", delegate.display().to_string()),
    ] {
        annotations.insert(format!("{PREFIX}{name}"), value);
    }
    features.set_annotations(Some(annotations));
    serde_json::to_string_pretty(&features)
        .map(|text| format!("{text}\n"))
        .map_err(|error| Refusal::new(format!("cannot write the features: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_of_a_process_reaches_the_delegate() {
        let given = json!({
            "user": { "uid": 0, "gid": 0, "later": 1 },
            "cwd": "/",
            "args": ["/app"],
            "oomScoreAdj": -5,
            "future": { "of": ["processes"] },
        });
        let drop_it = |process: &mut Process| {
            process.set_oom_score_adj(None);
            vec!["oomScoreAdj".to_string()]
        };
        let (dropped, written) = fitted(given.to_string().as_bytes(), drop_it).unwrap();
        assert_eq!(dropped, ["oomScoreAdj"]);
        assert_eq!(written.get("oomScoreAdj"), None);
        for (place, expected) in [
            ("/user/later", json!(1)),
            ("/future", json!({ "of": ["processes"] })),
            ("/args", json!(["/app"])),
        ] {
            assert_eq!(written.pointer(place), Some(&expected), "{place}");
        }
    }
}
