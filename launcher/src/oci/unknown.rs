//! Fields of a configuration that this program does not know: the delegate may, and gets them as they were given.

use serde_json::Value;

/// Adds to `written` what `given` has and `known`, the same as far as it is understood, has not. What was understood
/// and is gone stays gone. Lists are as they were written: their items have no names to know them by.
pub(super) fn keep(given: &Value, known: &Value, written: &mut Value) {
    let (Value::Object(given), Value::Object(known), Value::Object(written)) = (given, known, written) else {
        return;
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
            "linux": { "intelRdt": { "closID": "a", "enableMonitoringToCome": true }, "rootfsPropagation": "private" },
        });
        let mut spec: Spec = serde_json::from_value(given.clone()).unwrap();
        let known = serde_json::to_value(&spec).unwrap();
        let mut process = spec.process().clone().unwrap();
        process.set_oom_score_adj(None);
        process.set_args(Some(vec!["/launcher".to_string()]));
        spec.set_process(Some(process));
        let mut written = serde_json::to_value(&spec).unwrap();
        keep(&given, &known, &mut written);
        assert_eq!(written["future"], given["future"]);
        assert_eq!(written["linux"]["intelRdt"], given["linux"]["intelRdt"]);
        assert_eq!(written["process"]["args"], json!(["/launcher"]));
        let process = written["process"].as_object().unwrap();
        assert!(!process.contains_key("oomScoreAdj") && !process.contains_key("later"));
    }
}
