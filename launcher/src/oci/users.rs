//! Users of a container, as this process's user namespace numbers them.
//!
//! A user namespace of its own has its mappings in the configuration. One that is joined has them in the kernel: engines
//! give none then, or such as mean nothing (podman gives one for root, since runc wants some).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};

use super::refusal::{Refusal, refuse};
use crate::host::shown;

/// No user and no group: what the kernel says of one that has no number, and `chown` takes for "as it is".
const NOBODY: u32 = u32::MAX;

/// Where processes are.
const PROCESSES: &str = "/proc";

/// Ids of a namespace, and what they are outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping {
    inside: u32,
    outside: u32,
    size: u32,
}

/// The mappings of a container's user namespace. Without any, users are this process's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Users {
    uids: Vec<Mapping>,
    gids: Vec<Mapping>,
}

impl Users {
    /// Those of the container that `spec` describes.
    pub(super) fn of(spec: &Spec) -> Result<Self, Refusal> {
        Self::with(spec, Path::new(PROCESSES))
    }

    fn with(spec: &Spec, processes: &Path) -> Result<Self, Refusal> {
        let Some(linux) = spec.linux() else {
            return Ok(Self::default());
        };
        let given = Self {
            uids: given(linux.uid_mappings().as_deref()),
            gids: given(linux.gid_mappings().as_deref()),
        };
        let mut namespaces = linux.namespaces().iter().flatten();
        let joined = namespaces
            .find(|one| one.typ() == LinuxNamespaceType::User)
            .and_then(|one| one.path().as_deref());
        let Some(joined) = joined else { return Ok(given) };
        match read(joined, processes) {
            Ok(Some(users)) => Ok(users),
            // Nobody is in it by now, and the engine knows best.
            Ok(None) if !given.uids.is_empty() && !given.gids.is_empty() => Ok(given),
            Ok(None) => refuse!(
                "the user namespace {} has no process, and the configuration no mappings: the container's users are not \
                 known",
                shown::path(joined)
            ),
            Err(error) => refuse!(
                "cannot find the users of the namespace {}: {error}",
                shown::path(joined)
            ),
        }
    }

    /// What user and group of the container are outside, if they are anything.
    pub(super) fn outside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        Some((mapped(uid, &self.uids)?, mapped(gid, &self.gids)?))
    }

    /// The container's root, if that is not this process's.
    pub(super) fn root(&self) -> Option<(u32, u32)> {
        self.outside(0, 0).filter(|root| *root != (0, 0))
    }
}

fn given(mappings: Option<&[LinuxIdMapping]>) -> Vec<Mapping> {
    let mappings = mappings.unwrap_or_default().iter();
    mappings
        .map(|one| Mapping {
            inside: one.container_id(),
            outside: one.host_id(),
            size: one.size(),
        })
        .collect()
}

/// What the user or group `id` of a user namespace is outside; the same, where there is none.
fn mapped(id: u32, mappings: &[Mapping]) -> Option<u32> {
    let outside = match mappings {
        [] => Some(id),
        mappings => mappings.iter().find_map(|mapping| {
            let offset = id.checked_sub(mapping.inside)?;
            (offset < mapping.size).then(|| mapping.outside.checked_add(offset))?
        }),
    };
    outside.filter(|outside| id != NOBODY && *outside != NOBODY)
}

/// The mappings of a namespace, by a process that is in it; `None`: there is none.
fn read(namespace: &Path, processes: &Path) -> io::Result<Option<Users>> {
    let wanted = fs::metadata(namespace)?;
    let is_in_it = |process: &PathBuf| {
        fs::metadata(process.join("ns/user"))
            .is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()))
    };
    // Of this process's own, the kernel would say what its users are in the one above.
    if is_in_it(&processes.join("self")) {
        return Ok(Some(Users::default()));
    }
    // Most are named by one of their processes.
    let named = namespace.parent().and_then(Path::parent).map(Path::to_path_buf);
    let all = fs::read_dir(processes)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
        });
    for process in named.into_iter().chain(all).filter(is_in_it) {
        let file = |name: &str| fs::read_to_string(process.join(name)).ok();
        // It may have ended meanwhile.
        if let (Some(uids), Some(gids)) = (file("uid_map"), file("gid_map")) {
            let (uids, gids) = (parse(&uids)?, parse(&gids)?);
            // Of a process that has its number by now, these may be another namespace's.
            if !uids.is_empty() && !gids.is_empty() && is_in_it(&process) {
                return Ok(Some(Users { uids, gids }));
            }
        }
    }
    Ok(None)
}

/// The kernel's lines: an id inside, one outside, and how many.
fn parse(text: &str) -> io::Result<Vec<Mapping>> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Mapping {
            inside: next()?,
            outside: next()?,
            size: next()?,
        })
    };
    let all = text.lines().map(line).collect::<Option<_>>();
    all.ok_or_else(|| io::Error::other("the kernel's list of mappings cannot be understood"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn users(linux: Value, processes: &Path) -> Result<Users, String> {
        let spec = json!({ "ociVersion": "1.0.2", "linux": linux });
        let spec: Spec = serde_json::from_value(spec).unwrap();
        Users::with(&spec, processes).map_err(|refusal| refusal.to_string())
    }

    /// A process with a namespace of its own, and its mappings.
    fn process(processes: &Path, name: &str, map: &str) {
        let directory = processes.join(name);
        fs::create_dir_all(directory.join("ns")).unwrap();
        fs::write(directory.join("ns/user"), name).unwrap();
        fs::write(directory.join("uid_map"), map).unwrap();
        fs::write(directory.join("gid_map"), map).unwrap();
    }

    fn joined(namespace: &Path) -> Value {
        json!({ "namespaces": [{ "type": "user", "path": namespace }] })
    }

    #[test]
    fn mappings_are_the_configurations() {
        let map = |inside: u32, outside: u32, size: u32| json!({ "containerID": inside, "hostID": outside, "size": size });
        let of = |maps: Value| {
            let linux =
                json!({ "uidMappings": maps, "gidMappings": maps, "namespaces": [{ "type": "user" }] });
            let users = users(linux, Path::new("/nonexistent")).unwrap();
            (users.outside(1000, 1000), users.root())
        };
        assert_eq!(of(json!([])), (Some((1000, 1000)), None));
        assert_eq!(
            of(json!([map(0, 200_000, 65_536)])),
            (Some((201_000, 201_000)), Some((200_000, 200_000)))
        );
        assert_eq!(
            of(json!([map(1000, 0, 1), map(0, 5, 1000)])),
            (Some((0, 0)), Some((5, 5)))
        );
        assert_eq!(
            of(json!([map(0, 200_000, 1000)])),
            (None, Some((200_000, 200_000)))
        );
    }

    #[test]
    fn an_id_that_is_none_has_no_user() {
        let users = |inside: u32, outside: u32, size: u32| {
            let all = vec![Mapping {
                inside,
                outside,
                size,
            }];
            Users {
                uids: all.clone(),
                gids: all,
            }
        };
        // As the kernel shows what this process's namespace has no number for.
        let unmapped = users(0, u32::MAX, 2);
        assert_eq!((unmapped.outside(0, 0), unmapped.outside(1, 1)), (None, None));
        assert_eq!(users(0, u32::MAX - 1, 2).outside(1, 1), None);
        assert_eq!(users(u32::MAX, 0, 1).outside(u32::MAX, u32::MAX), None);
        assert_eq!(Users::default().outside(0, u32::MAX), None);
        assert_eq!(
            users(0, u32::MAX - 2, 2).outside(1, 1),
            Some((u32::MAX - 1, u32::MAX - 1))
        );
    }

    #[test]
    fn a_joined_namespace_says_its_own() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path();
        // Processes, and a name for the namespace of one.
        process(path, "7", "0 300000 65536\n");
        process(path, "8", "         0          0 4294967295\n");
        fs::write(path.join("version"), "").unwrap();
        fs::hard_link(path.join("7/ns/user"), path.join("pinned")).unwrap();
        fs::write(path.join("empty"), "").unwrap();
        let joined = |name: &str, more: Value| {
            let mut linux = joined(&path.join(name));
            linux
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            users(linux, path).map(|users| users.outside(5, 5))
        };
        // As podman says it.
        let dummy = [json!({ "containerID": 0, "hostID": 0, "size": 1 })];
        let dummy = json!({ "uidMappings": dummy, "gidMappings": dummy });
        for name in ["7/ns/user", "pinned"] {
            assert_eq!(joined(name, json!({})), Ok(Some((300_005, 300_005))), "{name}");
            assert_eq!(
                joined(name, dummy.clone()),
                Ok(Some((300_005, 300_005))),
                "{name}"
            );
        }
        assert_eq!(joined("8/ns/user", json!({})), Ok(Some((5, 5))));
        // Nobody is in it.
        assert!(joined("empty", json!({})).unwrap_err().contains("has no process"));
        assert_eq!(joined("empty", dummy), Ok(None));
        assert!(joined("absent", json!({})).unwrap_err().contains("absent"));
    }

    #[test]
    fn of_this_processs_own_namespace_users_are_what_they_are() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path();
        // As the kernel shows it in a namespace: what its users are in the one above.
        process(path, "self", "0 300000 65536\n");
        fs::create_dir_all(path.join("7/ns")).unwrap();
        fs::hard_link(path.join("self/ns/user"), path.join("7/ns/user")).unwrap();
        for name in ["self/ns/user", "7/ns/user"] {
            let own = users(joined(&path.join(name)), path).unwrap();
            assert_eq!(own.outside(5, 5), Some((5, 5)), "{name}");
        }
        let own = users(joined(Path::new("/proc/self/ns/user")), Path::new(PROCESSES));
        assert_eq!(own.unwrap().outside(5, 5), Some((5, 5)));
    }

    #[test]
    fn what_another_process_of_the_same_number_has_does_not_count() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path();
        process(path, "7", "0 300000 65536\n");
        process(path, "9", "0 400000 65536\n");
        let own = path.join("pinned");
        fs::hard_link(path.join("7/ns/user"), &own).unwrap();
        // The mappings are waited for, and come from another process.
        let map = path.join("7/uid_map");
        fs::remove_file(&map).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &map, rustix::fs::Mode::RWXU).unwrap();
        let found = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = fs::File::options().write(true).open(&map).unwrap();
                fs::rename(path.join("9/ns/user"), path.join("7/ns/user")).unwrap();
                io::Write::write_all(&mut writer, b"0 400000 65536\n").unwrap();
            });
            users(joined(&own), path)
        });
        assert!(found.unwrap_err().contains("has no process"));
    }
}
