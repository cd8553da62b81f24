//! Fields of a configuration that this program does not know: the delegate may, and gets them as they were given.

use serde_json::Value;

/// Adds to `written` what `given` has and `known`, the same as far as it is understood, has not. What was understood
/// and is gone stays gone. A list's items have no names to know them by. An item that was not changed gets its unknown
/// fields back; a changed one does not.
pub(super) fn keep(given: &Value, known: &Value, written: &mut Value) {
    let (given, known, written) = match (given, known, written) {
        (Value::Object(given), Value::Object(known), Value::Object(written)) => (given, known, written),
        (Value::Array(given), Value::Array(known), Value::Array(written)) if given.len() == known.len() => {
            // Each once, in their order: two may have been understood as the same.
            let mut items: Vec<_> = given.iter().zip(known).collect();
            for item in written {
                if let Some(place) = items.iter().position(|(_, known)| *known == item) {
                    let (given, known) = items.remove(place);
                    keep(given, known, item);
                }
            }
            return;
        }
        _ => return,
    };
    for (name, value) in given {
        match (known.get(name), written.get_mut(name)) {
            (Some(known), Some(written)) => keep(value, known, written),
            (None, None) if !value.is_null() => {
                written.insert(name.clone(), value.clone());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_is_kept_and_what_was_dropped_is_not() {
        let given = json!({
            "ociVersion": "1.3.0",
            "future": { "of": ["runtimes"] },
            "hostname": "one",
            "process": { "user": { "uid": 0, "gid": 0 }, "cwd": "/", "oomScoreAdj": -5, "args": ["/app"], "later": null },
            "linux": {
                "intelRdt": { "closID": "a", "enableMonitoringToCome": true },
                "rootfsPropagation": "private",
                "devices": [
                    { "path": "/dev/a", "type": "c", "major": 1, "minor": 2, "later": 1 },
                    { "path": "/dev/b", "type": "c", "major": 1, "minor": 3, "later": 2 },
                    { "path": "/dev/b", "type": "c", "major": 1, "minor": 3, "later": 3 },
                ],
            },
        });
        let mut spec: Spec = serde_json::from_value(given.clone()).unwrap();
        let known = serde_json::to_value(&spec).unwrap();
        let mut process = spec.process().clone().unwrap();
        process.set_oom_score_adj(None);
        process.set_args(Some(vec!["/launcher".to_string()]));
        spec.set_process(Some(process));
        let mut linux = spec.linux().clone().unwrap();
        let mut devices = linux.devices().clone().unwrap();
        devices.remove(0);
        linux.set_devices(Some(devices));
        spec.set_linux(Some(linux));
        let mut written = serde_json::to_value(&spec).unwrap();
        keep(&given, &known, &mut written);
        assert_eq!(written["future"], given["future"]);
        assert_eq!(written["linux"]["intelRdt"], given["linux"]["intelRdt"]);
        assert_eq!(written["process"]["args"], json!(["/launcher"]));
        let later = |device: &Value| device["later"].clone();
        let devices = written["linux"]["devices"].as_array().unwrap();
        assert_eq!(devices.iter().map(later).collect::<Vec<_>>(), [2, 3]);
        let process = written["process"].as_object().unwrap();
        assert!(!process.contains_key("oomScoreAdj") && !process.contains_key("later"));
    }
}
