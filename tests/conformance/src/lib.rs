//! The published WASI preview1 conformance suite (WebAssembly/wasi-testsuite, built): its modules, their
//! specifications, and which of them are expected to fail where.
//!
//! Layer: host tests; below all that run the suite. A folder holds `LANG/NAME.wasm` and, where a test needs more than
//! the default, `LANG/NAME.json`:
//!
//! ```json
//! {"args": [], "env": {}, "root": "DIR", "dirs": ["DIR"], "exit_code": 0, "stdout": "…", "stderr": "…"}
//! ```
//!
//! `root` is preopened as `/`, each of `dirs` under its own name; both lie beside the module, and a test may write to a
//! copy only. An output is compared where it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The variable that names the suite's folder.
pub const VARIABLE: &str = "WASI_TESTSUITE";

/// One test of the suite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// Its name, `LANG/NAME`.
    pub name: String,
    /// The module.
    pub module: PathBuf,
    /// The guest's arguments behind its name.
    pub args: Vec<String>,
    /// The guest's environment.
    pub env: Vec<(String, String)>,
    /// The guest's directories: here, and what the guest calls them.
    pub directories: Vec<(PathBuf, String)>,
    /// The exit code that is right.
    pub exit_code: u32,
    /// Standard output, if it matters.
    pub stdout: Option<String>,
    /// Standard error, if it matters.
    pub stderr: Option<String>,
}

/// The suite's folder, if the environment names one.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// Reads all tests of the suite in `folder`, in the order of their names.
///
/// # Errors
/// If the folder or a specification cannot be read, or there is no test.
pub fn cases(folder: &Path) -> io::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for language in fs::read_dir(folder)? {
        let language = language?.path();
        if !language.is_dir() {
            continue;
        }
        for file in fs::read_dir(language)? {
            let module = file?.path();
            if module.extension().is_some_and(|extension| extension == "wasm") {
                let name = module.strip_prefix(folder).unwrap_or(&module).with_extension("");
                cases.push(case(name.display().to_string(), module)?);
            }
        }
    }
    if cases.is_empty() {
        let text = format!("{} has no test in it: is it the right folder?", folder.display());
        return Err(io::Error::new(ErrorKind::NotFound, text));
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(cases)
}

fn case(name: String, module: PathBuf) -> io::Result<Case> {
    let specification = match fs::read_to_string(module.with_extension("json")) {
        Ok(json) => serde_json::from_str(&json)?,
        Err(error) if error.kind() == ErrorKind::NotFound => Value::Null,
        Err(error) => return Err(error),
    };
    let wrong = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("{name}: {what}"));
    let text = |value: &Value| {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| wrong("expected a string"))
    };
    let list = |key: &str| -> io::Result<Vec<String>> {
        specification[key]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect()
    };
    let known = ["args", "env", "root", "dirs", "exit_code", "stdout", "stderr"];
    if let Some(key) = specification
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
        .find(|key| !known.contains(&key.as_str()))
    {
        return Err(wrong(&format!(
            "its specification says {key}, which is not understood"
        )));
    }
    let optional = |key: &str| specification.get(key).map(text).transpose();
    let root = optional("root")?.map(|root| (root, "/".to_owned()));
    let dirs = list("dirs")?;
    let exit_code = match specification.get("exit_code") {
        None => 0,
        Some(code) => code
            .as_u64()
            .and_then(|code| u32::try_from(code).ok())
            .ok_or_else(|| wrong("its exit code is none"))?,
    };
    Ok(Case {
        args: list("args")?,
        env: specification["env"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| Ok((name.clone(), text(value)?)))
            .collect::<io::Result<_>>()?,
        directories: root
            .into_iter()
            .chain(dirs.into_iter().map(|dir| (dir.clone(), dir)))
            .map(|(here, there)| (module.with_file_name(here), there))
            .collect(),
        exit_code,
        stdout: optional("stdout")?,
        stderr: optional("stderr")?,
        name,
        module,
    })
}

impl Case {
    /// Holds how a run ended against the specification.
    ///
    /// # Errors
    /// How it differs.
    pub fn judge(&self, exit_code: u32, stdout: &[u8], stderr: &[u8]) -> Result<(), String> {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if exit_code != self.exit_code {
            return Err(format!(
                "exit code {exit_code}, not {}; stderr: {}",
                self.exit_code,
                shown(stderr)
            ));
        }
        for (name, wanted, bytes) in [("stdout", &self.stdout, stdout), ("stderr", &self.stderr, stderr)] {
            match wanted {
                Some(wanted) if wanted.as_bytes() != bytes => {
                    return Err(format!("{name} is {:?}, not {wanted:?}", shown(bytes)));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The tests that fail with one backend, each with the reason.
#[derive(Clone, Debug, Default)]
pub struct Expectations(BTreeMap<String, String>);

impl Expectations {
    /// Those of `backend` in `expectations.json` of this crate: `{"BACKEND": {"LANG/NAME": "the reason"}}`.
    ///
    /// # Errors
    /// If the file is malformed, or does not know the backend.
    pub fn of(backend: &str) -> io::Result<Self> {
        let text = include_str!("../expectations.json");
        let mut all: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(text)?;
        all.remove(backend)
            .map(Self)
            .ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no expectations for {backend}")))
    }

    /// Why this test is expected to fail, if it is.
    #[must_use]
    pub fn reason(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Holds a test's result against the expectation: a listed test that passes is as wrong as another that fails, so
    /// the list stays true.
    ///
    /// # Errors
    /// What is not as expected.
    pub fn judge(&self, name: &str, result: Result<(), String>) -> Result<(), String> {
        match (result, self.reason(name)) {
            (Ok(()), None) | (Err(_), Some(_)) => Ok(()),
            (Err(error), None) => Err(error),
            (Ok(()), Some(reason)) => Err(format!(
                "it passes, and expectations.json lists it as failing ({reason}): remove it there"
            )),
        }
    }

    /// Listed tests that the suite does not have.
    pub fn unknown<'a>(&'a self, cases: &[Case]) -> BTreeSet<&'a str> {
        let known: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        self.0
            .keys()
            .map(String::as_str)
            .filter(|name| !known.contains(name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A suite of these files, deleted by the caller.
    fn suite(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("conformance-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_specification_is_read_whole_and_its_absence_means_success() {
        let json = r#"{"args": ["a", "b"], "env": {"K": "V"}, "root": "d", "dirs": ["e"], "exit_code": 3, "stdout": "x"}"#;
        let folder = suite(
            "whole",
            &[
                ("c/two.wasm", ""),
                ("c/two.json", json),
                ("c/one.wasm", ""),
                ("LICENSE", ""),
            ],
        );
        let cases = cases(&folder).unwrap();
        let [one, two] = cases.as_slice() else {
            panic!("{cases:?}");
        };
        assert_eq!(
            (one.name.as_str(), one.exit_code, &one.stdout),
            ("c/one", 0, &None)
        );
        assert_eq!(two.args, ["a", "b"]);
        assert_eq!(two.env, [("K".to_owned(), "V".to_owned())]);
        let directories = [
            (folder.join("c/d"), "/".to_owned()),
            (folder.join("c/e"), "e".to_owned()),
        ];
        assert_eq!(two.directories, directories);
        assert_eq!(two.judge(3, b"x", b"whatever"), Ok(()));
        assert!(
            two.judge(0, b"x", b"")
                .unwrap_err()
                .contains("exit code 0, not 3")
        );
        assert!(two.judge(3, b"y", b"").unwrap_err().contains("stdout"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (name, json) in [
            ("key", r#"{"exit": 1}"#),
            ("code", r#"{"exit_code": -1}"#),
            ("json", "{"),
        ] {
            let folder = suite(name, &[("c/one.wasm", ""), ("c/one.json", json)]);
            assert!(cases(&folder).is_err(), "{name}");
            fs::remove_dir_all(folder).unwrap();
        }
        let folder = suite("empty", &[("LICENSE", "")]);
        assert!(cases(&folder).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_list_of_failures_has_to_be_true() {
        let listed = Expectations(BTreeMap::from([("c/bad".to_owned(), "because".to_owned())]));
        assert_eq!(listed.judge("c/good", Ok(())), Ok(()));
        assert_eq!(listed.judge("c/bad", Err("it fails".into())), Ok(()));
        assert!(listed.judge("c/good", Err("it fails".into())).is_err());
        assert!(listed.judge("c/bad", Ok(())).unwrap_err().contains("remove it"));
        assert_eq!(listed.unknown(&[]), BTreeSet::from(["c/bad"]));
        assert!(Expectations::of("memory").is_ok());
        assert!(Expectations::of("no such backend").is_err());
    }
}
