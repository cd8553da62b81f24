//! The files that a command makes are none of those that it reads: a slip of the keyboard would cost a module.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hermit_wasm_vm::host::shown;
use hermit_wasm_vm::{Error, Hermitfile};

use super::guest::split_preload;
use super::run::{Run, usage};

impl Run {
    /// The files that it reads: the module or the Hermitfile with those that this names, and preloads.
    pub(super) fn reads(&self, hermitfile: Option<&Hermitfile>) -> Vec<PathBuf> {
        let preloads = self.preload.iter().filter_map(|value| split_preload(value).ok());
        let named = [self.module(), self.file.as_deref()];
        named
            .into_iter()
            .flatten()
            .map(PathBuf::from)
            .chain(preloads.map(|(_, path)| path.into()))
            .chain(hermitfile.into_iter().flat_map(Hermitfile::modules))
            .collect()
    }
}

/// Refuses the file `output` of the flag `name` if it is one of those that are `read`, by whatever path.
pub(super) fn refuse_what_is_read(name: &str, output: &Path, read: &[PathBuf]) -> Result<(), Error> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
    let Some(own) = identity(output) else {
        return Ok(());
    };
    match read.iter().find(|path| identity(path) == Some(own)) {
        Some(path) => Err(usage(format!(
            "{name}: '{}' is read here ('{}') and would be overwritten; name another file",
            shown::path(output),
            shown::path(path)
        ))),
        None => Ok(()),
    }
}

/// Refuses a name at which something else is than a file: a new file would take its place.
pub(super) fn refuse_other_than_a_file(name: &str, output: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(output) {
        Ok(about) if !about.is_file() => Err(usage(format!(
            "{name}: '{}' is not a regular file; name a file to make",
            shown::path(output)
        ))),
        _ => Ok(()),
    }
}

/// Refuses a name at which something is: a directory is made, and none is added to.
pub(super) fn refuse_what_is_there(name: &str, output: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(output) {
        Ok(_) => Err(usage(format!(
            "{name}: '{}' is there already; name a directory to make, or remove it",
            shown::path(output)
        ))),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_read_is_not_written_by_any_name() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("module"), "").unwrap();
        fs::hard_link(at("module"), at("link")).unwrap();
        std::os::unix::fs::symlink("module", at("symlink")).unwrap();
        fs::write(at("other"), "").unwrap();
        let read = [at("nothing"), at("module")];
        for (name, taken) in [
            ("module", false),
            ("link", false),
            ("symlink", false),
            ("./module", false),
            ("other", true),
            ("new", true),
        ] {
            assert_eq!(
                refuse_what_is_read("-o", &at(name), &read).is_ok(),
                taken,
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        let ok = |path: &Path| refuse_other_than_a_file("-o", path).is_ok();
        assert!(ok(&at("file")) && ok(&at("new")));
        assert!(!ok(&at("link")) && !ok(directory.path()) && !ok(Path::new("/dev/null")));
    }
}
