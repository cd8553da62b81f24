//! What a container sees: its image, and what is mounted over it, each mount over those before it.
//!
//! A path leads through both, as it does for a program in the container: what an image has where a volume is mounted is
//! hidden, its links included. A file system in memory that begins as a copy has what was there before it: what the image
//! has, or an earlier mount.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::image_root::{Found, ImageRoot, walk};
use super::mounts::{Content, Placed};
use crate::host::shown;

/// An image, and what is mounted over it.
pub(super) struct View<'a> {
    pub(super) image: &'a ImageRoot,
    pub(super) placed: &'a [Placed],
}

/// What becomes of links in volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// They are followed, within the view.
    Followed,
    /// They are errors: whoever mounts something behind them would follow them elsewhere.
    Refused,
}

impl View<'_> {
    /// Resolves a path. What is not there is taken as it is written.
    pub(super) fn find(&self, path: &Path, links: Links) -> io::Result<Found> {
        walk(
            path,
            |at| self.kind(at),
            |at| match (self.origin(at), links) {
                (None, _) => self.image.target(at),
                (Some((mount, rest)), Links::Followed) => match &mount.content {
                    Content::Of(source) => ImageRoot::new(source)?.target(&rest),
                    Content::Copy | Content::None => Err(Errno::NOENT.into()),
                },
                (Some((mount, _)), Links::Refused) => Err(io::Error::other(format!(
                    "there is a link on the way, in the volume at {}",
                    shown::path(Path::new("/").join(&mount.at))
                ))),
            },
        )
    }

    /// The mount that what is at a path comes from, and the rest of the path; `None`: it is the image's. Copies are looked
    /// through: what is mounted over one is another mount, and all else in it was there before.
    pub(super) fn origin(&self, path: &Path) -> Option<(&Placed, PathBuf)> {
        last(
            path,
            self.placed.iter().filter(|mount| mount.content != Content::Copy),
        )
    }

    /// What is there, if it is; a link itself.
    fn kind(&self, path: &Path) -> io::Result<Option<FileType>> {
        let Some((mount, rest)) = self.origin(path) else {
            return self.image.kind(path);
        };
        let is_mounts = rest.as_os_str().is_empty();
        match &mount.content {
            Content::Of(source) => match source.metadata() {
                Ok(metadata) if metadata.is_dir() => ImageRoot::new(source)?.kind(&rest),
                Ok(_) if !is_mounts => Err(Errno::NOTDIR.into()),
                Ok(metadata) => Ok(Some(FileType::from_raw_mode(
                    std::os::unix::fs::MetadataExt::mode(&metadata),
                ))),
                // The source may not exist yet: some delegates create it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Ok(is_mounts.then_some(FileType::Directory))
                }
                Err(error) => Err(error),
            },
            Content::Copy | Content::None => Ok(is_mounts.then_some(FileType::Directory)),
        }
    }
}

/// The mount that a path leads into, which is the last one there or above, and the rest of the path.
pub(super) fn behind<'a>(path: &Path, placed: &'a [Placed]) -> Option<(&'a Placed, PathBuf)> {
    last(path, placed.iter())
}

fn last<'a>(
    path: &Path,
    placed: impl DoubleEndedIterator<Item = &'a Placed>,
) -> Option<(&'a Placed, PathBuf)> {
    let mut last = placed.rev();
    last.find_map(|mount| Some((mount, path.strip_prefix(&mount.at).ok()?.to_path_buf())))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::oci::image_root::Place;

    fn placed(at: &str, content: Content) -> Placed {
        Placed {
            at: at.into(),
            content,
            place: Place::Directory(0o755),
        }
    }

    #[test]
    fn a_path_leads_through_mounts_and_not_through_what_they_hide() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path();
        for directory in ["image/data", "image/copied", "image/etc", "volume/sub", "deep"] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        symlink("/etc", path.join("image/data/sub")).unwrap();
        symlink("/data/out", path.join("image/into")).unwrap();
        symlink("/etc", path.join("image/copied/etc")).unwrap();
        fs::write(path.join("image/data/file"), "").unwrap();
        symlink("/etc/passwd", path.join("volume/out")).unwrap();
        symlink("/etc/passwd", path.join("volume/sub/out")).unwrap();
        let image = ImageRoot::new(&path.join("image")).unwrap();
        let of = |name: &str| Content::Of(path.join(name));
        let mounts = [
            placed("data", of("deep")),
            placed("data", of("volume")),
            placed("data/sub/deep", of("deep")),
            placed("memory", Content::None),
            placed("copied", Content::Copy),
            placed("data/sub", Content::Copy),
        ];
        let view = View {
            image: &image,
            placed: &mounts,
        };
        for (name, expected, kind) in [
            ("/data/sub", "data/sub", Some(FileType::Directory)),
            ("/data/sub/x", "data/sub/x", None),
            ("/data/sub/../sub/deep/..", "data/sub", Some(FileType::Directory)),
            ("/data/file/x", "data/file/x", None),
            ("/data/../data/sub", "data/sub", Some(FileType::Directory)),
            ("/memory/new", "memory/new", None),
            ("/data/sub/deep", "data/sub/deep", Some(FileType::Directory)),
        ] {
            for links in [Links::Refused, Links::Followed] {
                let found = view.find(Path::new(name), links).unwrap();
                assert_eq!(
                    (found.path.as_path(), found.kind),
                    (Path::new(expected), kind),
                    "{name}"
                );
            }
        }
        // Absolute links are the container's, wherever they lie, and the image's into a volume are followed.
        for (name, expected) in [
            ("/data/out", "etc/passwd"),
            ("/data/sub/out", "etc/passwd"),
            ("/into", "etc/passwd"),
        ] {
            let found = view.find(Path::new(name), Links::Followed).unwrap();
            assert_eq!(found.path, Path::new(expected), "{name}");
            let error = view.find(Path::new(name), Links::Refused).unwrap_err();
            assert!(error.to_string().contains("a link on the way"), "{name}: {error}");
        }
        // The image's own are followed where nothing is mounted, and in a copy of it, which nobody else changes.
        let found = view.find(Path::new("/copied/etc/x"), Links::Refused).unwrap();
        assert_eq!(found.path, Path::new("etc/x"));
        let bare = View {
            image: &image,
            placed: &[],
        };
        let found = bare.find(Path::new("/data/sub/x"), Links::Refused).unwrap();
        assert_eq!(found.path, Path::new("etc/x"));
    }

    #[test]
    fn the_last_mount_hides_those_before() {
        let mounts = [placed("a/b", Content::None), placed("a", Content::Copy)];
        let (mount, rest) = behind(Path::new("a/b/c"), &mounts).unwrap();
        assert_eq!(
            (mount.at.as_path(), rest.as_path()),
            (Path::new("a"), Path::new("b/c"))
        );
    }
}
