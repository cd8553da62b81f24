//! Tests of the bills of materials: on a small one, where each check must fail, and on the real ones.

use super::*;

/// As cargo-cyclonedx has it: `app` is ours, and depends on `lib`, on `tool` while it is built, and not on `other`.
fn described() -> Value {
    let registry = |name: &str, digest: &str| {
        json!({
            "bom-ref": format!("registry+x#{name}@1.0.0"), "name": name, "version": "1.0.0",
            "hashes": [{ "alg": "SHA-256", "content": digest }],
            "purl": format!("pkg:cargo/{name}@1.0.0"),
        })
    };
    json!({
        "metadata": { "component": {
            "bom-ref": "path:app#0.1.0", "name": "app", "version": "0.1.0",
            "purl": "pkg:cargo/app@0.1.0?download_url=file://.",
        } },
        "components": [registry("lib", "aa"), registry("tool", "bb"), registry("other", "cc")],
        "dependencies": [
            { "ref": "path:app#0.1.0", "dependsOn": ["registry+x#lib@1.0.0", "registry+x#other@1.0.0"] },
            { "ref": "registry+x#other@1.0.0" },
        ],
    })
}

const LOCK: &str = r#"
version = 4
[[package]]
name = "app"
version = "0.1.0"
[[package]]
name = "lib"
version = "1.0.0"
checksum = "aa"
[[package]]
name = "tool"
version = "1.0.0"
checksum = "bb"
"#;

fn small() -> Bom {
    let any = crates("app v0.1.0 (/here/app)\nlib v1.0.0\ntool v1.0.0 (proc-macro) (*)\n");
    narrow(&described(), &any, &crates("app v0.1.0\nlib v1.0.0\n")).unwrap()
}

#[test]
fn a_bill_has_what_is_built_and_says_what_runs() {
    let bom = small();
    let scopes: Vec<(&str, &str)> = bom
        .components
        .values()
        .map(|component| (text_of(component, "name"), text_of(component, "scope")))
        .collect();
    assert_eq!(
        scopes,
        [("app", "required"), ("lib", "required"), ("tool", "excluded")]
    );
    assert!(bom.components["path:app#0.1.0"].get("purl").is_none());
    let depends = bom.dependencies["path:app#0.1.0"].iter().collect::<Vec<_>>();
    assert_eq!(depends, ["registry+x#lib@1.0.0"]);
    bom.agrees_with(LOCK).unwrap();
    // What one part needs at run time and another at build time is needed at run time.
    let mut all = small();
    let mut other = small();
    for component in other.components.values_mut() {
        component["scope"] = "required".into();
    }
    all.add(other);
    assert!(
        all.components
            .values()
            .all(|component| component["scope"] == "required")
    );
}

#[test]
fn a_bill_that_lacks_something_or_is_of_another_lock_file_is_refused() {
    let any = crates("app v0.1.0\nlib v2.0.0\n");
    let error = narrow(&described(), &any, &any).err().unwrap().to_string();
    assert_eq!(error, "cargo-cyclonedx does not list lib 2.0.0");
    for (from, to, said) in [
        (
            "checksum = \"aa\"",
            "checksum = \"ab\"",
            "lib 1.0.0: the digest is",
        ),
        ("checksum = \"bb\"", "", "tool 1.0.0: the digest is"),
        (
            "version = \"0.1.0\"",
            "version = \"0.1.1\"",
            "app 0.1.0 is not in the lock file",
        ),
    ] {
        let error = small()
            .agrees_with(&LOCK.replace(from, to))
            .err()
            .unwrap()
            .to_string();
        assert!(error.starts_with(said), "{error}");
    }
}

/// Of the program that is compiled here in any case.
#[test]
fn a_real_bill_is_the_same_again_and_says_nothing_of_this_machine() {
    if let Some(reason) = missing() {
        println!("SKIP: {reason}");
        return;
    }
    let [launcher, _] = programs().unwrap();
    let tree = |number: u32| {
        let tree = root().join(format!("target/tmp/sbom-{}-{number}", std::process::id()));
        reproduce::copy(&root(), &tree).unwrap();
        tree
    };
    let trees = [tree(1), tree(22)];
    let [first, second] = trees.each_ref().map(|tree| bill(&launcher, tree).unwrap());
    assert_eq!(first, second);
    assert!(!first.contains(&*root().to_string_lossy()), "{first}");
    let parsed: Value = serde_json::from_str(&first).unwrap();
    let named = |name: &str| {
        let mut components = parsed["components"].as_array().unwrap().iter();
        components.find(|component| component["name"] == name).cloned()
    };
    let landlock = named("landlock").unwrap();
    assert_eq!(
        (&landlock["scope"], text_of(&landlock, "purl").is_empty()),
        (&json!("required"), false)
    );
    assert!(named("wasmi").is_none(), "the launcher has no interpreter");
    assert!(named("rust-std").is_some());
    for tree in trees {
        reproduce::remove(&tree).unwrap();
    }
}
