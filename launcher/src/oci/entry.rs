//! A container's program: found in the image, which is hostile, and looked at.
//!
//! An image has no working directory for the guest, as WASI has none, so that a relative name is resolved here: one with
//! a slash from the container's, one without in its PATH and then from there.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use boot_protocol::file_kind::{self, FileKind};
use boot_protocol::shown::piece;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::image_root::ImageRoot;
use super::mounts::Content;
use super::refusal::{Refusal, refuse};
use super::view::{Links, View};
use crate::host::shown;
use crate::pack::Packed;
use crate::spec::module::{self, ModuleError};

/// Where programs are looked for if a container has no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it is beneath the image's root, or what is mounted there, without links.
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    /// The file, open.
    pub(super) file: File,
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A machine runs it.
    Module,
    /// The node's own processor would.
    Native,
}

/// The places where a program called `name` may be, in order.
fn candidates(name: &str, directory: &Path, env: &[String]) -> Vec<PathBuf> {
    let here = directory.join(name);
    if name.contains('/') {
        return vec![here];
    }
    let path = env
        .iter()
        .rev()
        .find_map(|variable| variable.strip_prefix("PATH="));
    let directories = path
        .unwrap_or(PATH)
        .split(':')
        .filter(|directory| directory.starts_with('/'));
    directories
        .map(|directory| Path::new(directory).join(name))
        .chain([here])
        .collect()
}

/// Finds the program.
pub(super) fn find(files: &View<'_>, name: &str, directory: &Path, env: &[String]) -> Result<Entry, Refusal> {
    if name.is_empty() {
        return refuse!("the container has no program: give it an ENTRYPOINT");
    }
    let all = candidates(name, directory, env);
    for candidate in &all {
        match files.look(candidate) {
            Ok(Some(entry)) => return Ok(entry),
            Ok(None) => {}
            Err(why) => return refuse!("{}: {why}", piece(name)),
        }
    }
    // Podman knows these words, and ends with 127.
    match name.contains('/') {
        true => refuse!("{}: no such file or directory in the image", piece(name)),
        false => refuse!(
            "{}: no such file or directory in the image, neither in PATH nor in {}",
            piece(name),
            shown::path(directory)
        ),
    }
}

impl View<'_> {
    /// Looks at a path; `None`: nothing is there.
    fn look(&self, path: &Path) -> Result<Option<Entry>, String> {
        let text = |error: std::io::Error| match Errno::from_io_error(&error) {
            Some(Errno::NOTDIR) => "no such file or directory in the image".to_string(),
            _ => error.to_string(),
        };
        let found = self.find(path, Links::Followed).map_err(text)?;
        let mut volume = None;
        let mut beneath = found.path.clone();
        if let Some((mount, rest)) = self.origin(&found.path) {
            let Content::Of(source) = &mount.content else {
                return Ok(None);
            };
            if rest.as_os_str().is_empty() && source.is_file() {
                // A file by itself: its directory is the engine's, as are links on the way to it.
                let source = source.canonicalize().map_err(text)?;
                let (Some(directory), Some(name)) = (source.parent(), source.file_name()) else {
                    return Ok(None);
                };
                volume = Some(ImageRoot::new(directory).map_err(text)?);
                beneath = name.into();
            } else {
                volume = Some(ImageRoot::new(source).map_err(text)?);
                beneath = rest;
            }
        }
        match found.kind {
            None => return Ok(None),
            Some(FileType::RegularFile) => {}
            Some(FileType::Directory) => return Err("it is a directory".to_string()),
            Some(_) => return Err("it is no regular file".to_string()),
        }
        let root = volume.as_ref().unwrap_or(self.image);
        let file = root.read(&beneath).map_err(text)?;
        // Whatever it has become meanwhile.
        if !file.metadata().map_err(text)?.is_file() {
            return Err("it is no regular file".to_string());
        }
        let kind = kind(&file, path)?;
        Ok(Some(Entry {
            path: found.path,
            kind,
            file,
        }))
    }
}

/// What a file is, by its beginning; of a program also by its end.
fn kind(file: &File, path: &Path) -> Result<Kind, String> {
    let mut start = Vec::new();
    let most = u64::try_from(file_kind::START).unwrap_or(u64::MAX);
    file.take(most)
        .read_to_end(&mut start)
        .map_err(|error| error.to_string())?;
    if Packed::has_payload(path, file).map_err(|error| error.to_string())? {
        return Ok(Kind::Module);
    }
    match (module::check(path, &start), FileKind::of(&start)) {
        (Ok(_), _) => Ok(Kind::Module),
        (Err(_), FileKind::Elf | FileKind::Script) => Ok(Kind::Native),
        (Err(ModuleError::NotAModule { reason, .. }), _) => Err(format!("it {reason}")),
        (Err(error), _) => Err(error.to_string()),
    }
}
