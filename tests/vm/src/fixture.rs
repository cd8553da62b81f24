//! Directories that runs are given: prepared ones with what a checkout does not keep, and the proof that a run left
//! them alone.
//!
//! Layer: host tests.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::bytes::Source;

/// What stands for the prepared directory in a row's flags.
const PLACE: &str = "{fixture}";

/// A copy of a directory of `guests/`, with what git does not keep.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// The directory to copy, relative to `guests/`.
    pub from: String,
    /// Empty directories to make in the copy.
    #[serde(default)]
    pub directories: Vec<String>,
    /// Files to make in the copy, with what is in them.
    #[serde(default)]
    pub files: BTreeMap<String, Source>,
    /// Hard links to make in the copy: the new name, and the file's.
    #[serde(default)]
    pub hard_links: BTreeMap<String, String>,
    /// Times of last change to set in the copy: a path and `SECONDS.NANOSECONDS` since 1970, nine digits.
    #[serde(default)]
    pub times: BTreeMap<String, String>,
}

impl Fixture {
    /// Checks what can be checked without making it.
    ///
    /// # Errors
    /// If a time is not one, or if no flag of the row uses the copy.
    pub fn check(&self, flags: &[String]) -> Result<()> {
        ensure!(
            flags.iter().any(|flag| flag.contains(PLACE)),
            "no flag says {PLACE}, so nothing uses the fixture"
        );
        self.files.values().try_for_each(Source::check)?;
        self.times
            .values()
            .try_for_each(|time| parse_time(time).map(drop))
    }

    /// Makes the copy in `into`, which must not be there.
    ///
    /// # Errors
    /// If it cannot be made as described.
    pub fn prepare(&self, source: &Path, into: &Path) -> Result<()> {
        copy(&source.join(&self.from), into)?;
        for name in &self.directories {
            let path = into.join(name);
            fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        for (name, bytes) in &self.files {
            fs::write(into.join(name), bytes.produce(source)?)
                .with_context(|| format!("cannot write {name}"))?;
        }
        for (name, file) in &self.hard_links {
            fs::hard_link(into.join(file), into.join(name))
                .with_context(|| format!("cannot link {name} to {file}"))?;
        }
        for (name, time) in &self.times {
            let time = SystemTime::UNIX_EPOCH + parse_time(time)?;
            fs::File::open(into.join(name))
                .and_then(|file| file.set_modified(time))
                .with_context(|| format!("cannot set the time of {name}"))?;
        }
        Ok(())
    }
}

/// Checks that the flags of a row without a fixture ask for none.
///
/// # Errors
/// If they do.
pub fn no_place(flags: &[String]) -> Result<()> {
    ensure!(
        !flags.iter().any(|flag| flag.contains(PLACE)),
        "a flag says {PLACE}, and the row has none"
    );
    Ok(())
}

/// A row's flags, with the prepared directory in them.
#[must_use]
pub fn flags(flags: &[String], fixture: Option<&Path>) -> Vec<String> {
    let place = fixture.map(|path| path.to_string_lossy());
    flags
        .iter()
        .map(|flag| match &place {
            Some(path) => flag.replace(PLACE, path),
            None => flag.clone(),
        })
        .collect()
}

/// The time since 1970 that `SECONDS.NANOSECONDS` names.
fn parse_time(text: &str) -> Result<Duration> {
    let wrong = || format!("'{text}' is no time: write SECONDS.NANOSECONDS with nine digits");
    let (seconds, nanoseconds) = text.split_once('.').with_context(wrong)?;
    ensure!(nanoseconds.len() == 9, "{}", wrong());
    Ok(Duration::new(
        seconds.parse().with_context(wrong)?,
        nanoseconds.parse().with_context(wrong)?,
    ))
}

/// Copies a directory with all that is in it; symbolic links stay links. What cannot be written there can be here: the
/// copy is the guest's, and virtiofsd has no privilege to pass over a file's mode, whoever runs the tests.
///
/// # Errors
/// If `into` is there already, or something cannot be copied.
pub fn copy(from: &Path, into: &Path) -> Result<()> {
    fs::create_dir(into).with_context(|| format!("cannot make {}", into.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let (path, target, kind) = (entry.path(), into.join(entry.file_name()), entry.file_type()?);
        if kind.is_dir() {
            copy(&path, &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path)?, &target)?;
        } else {
            fs::copy(&path, &target).with_context(|| format!("cannot copy {}", path.display()))?;
            let mode = fs::metadata(&target)?.permissions().mode();
            fs::set_permissions(&target, fs::Permissions::from_mode(mode | 0o200))?;
        }
    }
    Ok(())
}

/// All that a directory holds, to see whether anything has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    root: PathBuf,
    /// Of each path what it is: mode, size, names, time of last change, and its content's hash or the link's target.
    entries: BTreeMap<PathBuf, String>,
}

impl Snapshot {
    /// What `root` holds now.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn of(root: &Path) -> Result<Self> {
        let mut entries = BTreeMap::new();
        let mut left = vec![root.to_path_buf()];
        while let Some(path) = left.pop() {
            let stat =
                fs::symlink_metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
            let content = if stat.is_dir() {
                for entry in fs::read_dir(&path)? {
                    left.push(entry?.path());
                }
                String::new()
            } else if stat.is_symlink() {
                fs::read_link(&path)?.display().to_string()
            } else {
                format!("{:x}", Sha256::digest(fs::read(&path)?))
            };
            let description = format!(
                "mode {:o}, size {}, names {}, changed {}.{:09}, {content}",
                stat.mode(),
                stat.size(),
                stat.nlink(),
                stat.mtime(),
                stat.mtime_nsec()
            );
            entries.insert(path, description);
        }
        Ok(Self {
            root: root.to_path_buf(),
            entries,
        })
    }

    /// Checks that the directory is still as it was.
    ///
    /// # Errors
    /// If it is not; names what differs.
    pub fn verify(&self) -> Result<()> {
        let now = Self::of(&self.root)?;
        let paths = self.entries.keys().chain(now.entries.keys());
        let changed: Vec<String> = paths
            .filter(|path| self.entries.get(*path) != now.entries.get(*path))
            .map(|path| path.display().to_string())
            .collect();
        if !changed.is_empty() {
            bail!(
                "the run changed the host's files, though it had only a copy: {}",
                changed.join(", ")
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test's own.
    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("fixture-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    fn fixture(text: &str) -> Fixture {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_fixture_is_made_as_described() {
        let source = scratch("source");
        fs::create_dir_all(source.join("tree/sub")).unwrap();
        fs::write(source.join("tree/sub/file"), "content").unwrap();
        std::os::unix::fs::symlink("nowhere", source.join("tree/link")).unwrap();
        let row = fixture(
            "from = 'tree'\ndirectories = ['empty']\nfiles = { 'empty/made' = { all_bytes = 1, times = 2 } }\nhard_links = { 'second' = 'sub/file' }\n\
             times = { 'sub/file' = '12.000000034', 'sub' = '5.600000000' }",
        );
        let made = source.join("made");
        row.prepare(&source, &made).unwrap();
        let stat = |name: &str| fs::symlink_metadata(made.join(name)).unwrap();
        assert_eq!(fs::read(made.join("second")).unwrap(), b"content");
        assert_eq!(stat("second").ino(), stat("sub/file").ino());
        assert_eq!((stat("second").mtime(), stat("second").mtime_nsec()), (12, 34));
        assert_eq!((stat("sub").mtime(), stat("sub").mtime_nsec()), (5, 600_000_000));
        assert!(stat("empty").is_dir());
        assert_eq!(fs::read(made.join("empty/made")).unwrap().len(), 512);
        assert_eq!(fs::read_link(made.join("link")).unwrap(), Path::new("nowhere"));
        assert!(row.prepare(&source, &made).is_err(), "it is there already");
        fs::remove_dir_all(source).unwrap();
    }

    #[test]
    fn rows_that_make_no_sense_are_refused() {
        let used = [String::from("{fixture}::/")];
        let check = |text: &str, flags: &[String]| fixture(text).check(flags);
        check("from = 'x'\ntimes = { 'a' = '1.000000000' }", &used).unwrap();
        assert!(check("from = 'x'", &[]).is_err(), "nothing uses it");
        assert!(
            check("from = 'x'\nfiles = { a = { times = 2 } }", &used).is_err(),
            "of what?"
        );
        for time in ["1", "1.5", "x.000000000", "1.00000000x"] {
            assert!(check(&format!("from = 'x'\ntimes = {{ a = '{time}' }}"), &used).is_err());
        }
        assert!(
            toml::from_str::<Fixture>("from = 'x'\ntime = {}").is_err(),
            "a misspelt key"
        );
    }

    #[test]
    fn flags_name_the_copy() {
        let row = ["--copy-dir".into(), "{fixture}::/:ro".into()];
        assert_eq!(flags(&row, Some(Path::new("/x"))), ["--copy-dir", "/x::/:ro"]);
        assert_eq!(flags(&row, None), row);
    }

    #[test]
    fn every_change_is_noticed() {
        let changes: [fn(&Path); 6] = [
            |root| fs::write(root.join("file"), "other!!").unwrap(),
            |root| fs::write(root.join("new"), "").unwrap(),
            |root| fs::remove_file(root.join("file")).unwrap(),
            |root| fs::hard_link(root.join("file"), root.join("second")).unwrap(),
            |root| {
                let file = fs::File::open(root.join("file")).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
            },
            |root| {
                fs::remove_file(root.join("link")).unwrap();
                std::os::unix::fs::symlink("b", root.join("link")).unwrap();
            },
        ];
        for (number, change) in changes.iter().enumerate() {
            let root = scratch(&format!("change-{number}"));
            fs::write(root.join("file"), "content").unwrap();
            std::os::unix::fs::symlink("a", root.join("link")).unwrap();
            let before = Snapshot::of(&root).unwrap();
            before.verify().unwrap();
            change(&root);
            assert!(before.verify().is_err(), "change {number}");
            fs::remove_dir_all(root).unwrap();
        }
    }
}
