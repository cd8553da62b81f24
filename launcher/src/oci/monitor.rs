//! The monitor's root: launcher, hypervisor and file server with their libraries, read-only. The container is nothing
//! else.
//!
//! Programs and libraries are the node's own, through bind mounts of `/usr` and what else its root has of the kind, or
//! those of a directory that was prepared. The directory that all is mounted in lies in the bundle, and goes with it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;

use super::config::{Config, find};
use super::image_root::ImageRoot;
use super::mounts::{RESOLVER, bind, cannot, is_bind, mount, place_for};
use super::refusal::{Refusal, refuse};
use super::request::{FILE, Request};
use super::verify::has_mounts_beneath;
use crate::host::shown;

/// What the delegate's bundle is called in the engine's, with the container's name behind it: two containers may have one
/// bundle.
const BUNDLE: &str = "hermit-wasm-";

/// The monitor's root in that.
const ROOT: &str = "rootfs";

/// A file in that by which it is known as made here: its text is the root that the engine's configuration names.
const ENGINES_ROOT: &str = "engines-root";

/// The launcher in the monitor's root.
pub(super) const LAUNCHER: &str = "/hermit-wasm/hermit-wasm";

/// What a root of Linux has of programs and libraries.
const ROOTS: [&str; 7] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr"];

/// Options of every `/proc`.
const PROCESSES: [&str; 3] = ["nosuid", "noexec", "nodev"];

/// What of a program's prefix it reads: its libraries, and QEMU its firmware. All of `share` would be a home's, too, if
/// somebody has installed it in `~/.local`: keys, histories, other containers' files.
const DATA: [&str; 4] = ["share/qemu", "share/seabios", "lib", "lib64"];

/// Where a prepared directory has programs.
const USUAL: [&str; 4] = ["usr/bin", "usr/sbin", "usr/libexec", "usr/local/bin"];

const READ_ONLY: [&str; 4] = ["rbind", "ro", "nosuid", "nodev"];

/// The programs of a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Programs {
    /// This one.
    pub(super) launcher: PathBuf,
    pub(super) qemu: PathBuf,
    pub(super) virtiofsd: PathBuf,
}

/// A directory of the node's, read-only with all that is mounted beneath it.
fn shown_whole(source: &Path, destination: &Path) -> Result<Mount, Refusal> {
    let mut options = READ_ONLY.to_vec();
    if has_mounts_beneath(source) {
        options.extend(["rro", "rnosuid", "rnodev"]);
    }
    bind(source, destination, &options)
}

/// The monitor's `/proc`: as the engine has it, since a container may have no right to another one, and `hidepid` and the
/// like are to hold. A volume that somebody has put there is none.
fn processes(given: &[Mount]) -> Result<Mount, Refusal> {
    let proc = Path::new("/proc");
    let is_it = |mount: &&Mount| {
        let is_the_nodes = is_bind(mount) && mount.source().as_deref() == Some(proc);
        mount.destination() == proc && (mount.typ().as_deref() == Some("proc") || is_the_nodes)
    };
    match given.iter().rev().find(is_it) {
        Some(mount) => {
            let mut options = mount.options().clone().unwrap_or_default();
            let lacks = |name: &&str| options.iter().all(|option| option != name);
            let more: Vec<_> = PROCESSES
                .iter()
                .copied()
                .filter(lacks)
                .map(String::from)
                .collect();
            options.extend(more);
            let mut mount = mount.clone();
            mount.set_options(Some(options));
            Ok(mount)
        }
        None => mount("proc", Path::new("proc"), proc, &PROCESSES),
    }
}

/// A file in the monitor, and where it is on the node.
struct Seen {
    inside: PathBuf,
    mounts: Vec<Mount>,
}

/// A monitor that is described.
pub(super) struct Monitor {
    pub(super) mounts: Vec<Mount>,
    pub(super) qemu: PathBuf,
    pub(super) virtiofsd: PathBuf,
}

impl Programs {
    /// Finds them on this node.
    pub(super) fn find(config: &Config, arch: &str) -> Result<Self, Refusal> {
        let launcher = std::env::current_exe()
            .map_err(|error| Refusal::new(format!("cannot find this program's own file: {error}")))?;
        let qemu = named(
            config,
            &launcher,
            config.qemu.as_deref(),
            &format!("qemu-system-{arch}"),
            "install it, or name it as 'qemu' in /etc/hermit-wasm/oci.toml",
        )?;
        let virtiofsd = named(
            config,
            &launcher,
            config.virtiofsd.as_deref(),
            "virtiofsd",
            "install the one that is written in Rust, or name it as 'virtiofsd' in /etc/hermit-wasm/oci.toml",
        )?;
        Ok(Self {
            launcher,
            qemu,
            virtiofsd,
        })
    }
}

/// The program that the configuration names, or that is called `name`: the monitor's own, if that is no node's root; one
/// that was installed beside this program; the node's.
fn named(
    config: &Config,
    launcher: &Path,
    path: Option<&Path>,
    name: &str,
    advice: &str,
) -> Result<PathBuf, Refusal> {
    let prepared = || {
        let places = USUAL.iter().filter(|_| config.monitor != Path::new("/"));
        places
            .map(|directory| config.monitor.join(directory).join(name))
            .find_map(|path| find(&path))
    };
    let found = match path {
        Some(path) => find(&in_monitor(config, path)),
        None => prepared()
            .or_else(|| find(&launcher.with_file_name(name)))
            .or_else(|| find(Path::new(name))),
    };
    match found {
        Some(program) => Ok(program),
        None => refuse!(
            "{} is not installed on this node; {advice}",
            shown::path(path.unwrap_or(Path::new(name)))
        ),
    }
}

/// Where a program is that is named as in the monitor.
fn in_monitor(config: &Config, path: &Path) -> PathBuf {
    match path.strip_prefix("/") {
        Ok(rest) => {
            let there = config.monitor.join(rest);
            if there.exists() { there } else { path.to_path_buf() }
        }
        Err(_) => path.to_path_buf(),
    }
}

impl Monitor {
    /// Describes a monitor.
    pub(super) fn new(
        config: &Config,
        programs: &Programs,
        given: &[Mount],
        bundle: &Path,
    ) -> Result<Self, Refusal> {
        let path = Path::new;
        let mut mounts = vec![
            processes(given)?,
            mount(
                "tmpfs",
                path("tmpfs"),
                path("/dev"),
                &["nosuid", "strictatime", "mode=755", "size=65536k"],
            )?,
            mount(
                "devpts",
                path("devpts"),
                path("/dev/pts"),
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            )?,
            mount(
                "tmpfs",
                path("tmpfs"),
                path("/tmp"),
                &["nosuid", "nodev", "noexec", "mode=1777", "size=16m"],
            )?,
        ];
        for name in ROOTS {
            let from = config.monitor.join(name);
            if fs::symlink_metadata(&from).is_ok_and(|metadata| metadata.is_dir()) {
                mounts.push(shown_whole(&from, &path("/").join(name))?);
            }
        }
        let cache = config.monitor.join("etc/ld.so.cache");
        if cache.is_file() {
            mounts.push(bind(&cache, path("/etc/ld.so.cache"), &READ_ONLY)?);
        }
        for directory in &config.also {
            mounts.push(shown_whole(directory, directory)?);
        }
        for mount in given {
            let is_resolvers = RESOLVER.iter().any(|file| mount.destination() == path(file));
            if let (true, Some(source)) = (is_resolvers, mount.source()) {
                mounts.push(bind(&bundle.join(source), mount.destination(), &READ_ONLY)?);
            }
        }
        mounts.push(bind(&programs.launcher, path(LAUNCHER), &READ_ONLY)?);
        let qemu = seen(config, &programs.qemu)?;
        let virtiofsd = seen(config, &programs.virtiofsd)?;
        mounts.extend(qemu.mounts);
        mounts.extend(virtiofsd.mounts);
        Ok(Self {
            mounts,
            qemu: qemu.inside,
            virtiofsd: virtiofsd.inside,
        })
    }
}

/// A program in the monitor: as it is where its directory is seen anyway; elsewhere with the prefix that it was installed
/// under, or by itself.
fn seen(config: &Config, program: &Path) -> Result<Seen, Refusal> {
    let program = program.canonicalize().map_err(cannot("find", program))?;
    let inside = match program.strip_prefix(&config.monitor) {
        Ok(rest) => Path::new("/").join(rest),
        Err(_) => program.clone(),
    };
    let covered = |root: &&str| inside.starts_with(Path::new("/").join(root));
    let also = |directory: &&PathBuf| program.starts_with(directory);
    if ROOTS.iter().any(covered) || config.also.iter().any(|directory| also(&directory)) {
        return Ok(Seen {
            inside,
            mounts: Vec::new(),
        });
    }
    let directory = program.parent().unwrap_or(Path::new("/"));
    let prefix = directory.parent().unwrap_or(Path::new("/"));
    let has_bin = ["bin", "sbin", "libexec"]
        .iter()
        .any(|name| directory.ends_with(name));
    // A home or the like is not shown for a program's sake.
    let data = DATA.map(|name| prefix.join(name));
    if has_bin && prefix != Path::new("/") && data.iter().any(|directory| directory.is_dir()) {
        let mut mounts = vec![bind(&program, &program, &READ_ONLY)?];
        for directory in data.iter().filter(|directory| directory.is_dir()) {
            mounts.push(shown_whole(directory, directory)?);
        }
        return Ok(Seen {
            inside: program,
            mounts,
        });
    }
    let name = program.file_name().unwrap_or(program.as_os_str());
    let inside = Path::new(LAUNCHER).with_file_name(name);
    Ok(Seen {
        mounts: vec![bind(&program, &inside, &READ_ONLY)?],
        inside,
    })
}

/// The delegate's bundle for a container of this name, in the engine's.
pub(super) fn bundle(engines: &Path, id: &OsStr) -> Result<PathBuf, Refusal> {
    if id.as_bytes().contains(&b'/') {
        return refuse!("the container's name has a slash: {}", shown::path(Path::new(id)));
    }
    let mut name = OsString::from(BUNDLE);
    name.push(id);
    Ok(engines.join(name))
}

/// Makes the delegate's bundle, empty.
pub(super) fn directory(own: &Path) -> Result<(), Refusal> {
    match fs::remove_dir_all(own) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(cannot("remove", own)(error));
        }
        _ => {}
    }
    entered(own)
}

/// Makes a directory that the container's user enters, whatever the umask.
fn entered(path: &Path) -> Result<(), Refusal> {
    DirBuilder::new()
        .mode(0o755)
        .create(path)
        .map_err(cannot("make", path))?;
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, open).map_err(cannot("open to the container's user", path))
}

/// Notes in a bundle that was made here which root the engine's configuration names, if it names one: that need not be
/// the one of `config.json`, and may be gone by the time somebody asks.
pub(super) fn note_engines_root(own: &Path, root: Option<&Path>) -> Result<(), Refusal> {
    let file = own.join(ENGINES_ROOT);
    let text = root.map_or(&[][..], |root| root.as_os_str().as_bytes());
    fs::write(&file, text).map_err(cannot("write", &file))
}

/// The root that was noted.
pub(super) fn engines_root(own: &Path) -> Option<PathBuf> {
    let text = fs::read(own.join(ENGINES_ROOT)).ok()?;
    (!text.is_empty()).then(|| OsString::from_vec(text).into())
}

/// The engine's bundle, if the delegate's one of the container `id` was made here. Its name says little: engines call
/// theirs after the container, which may have a name like ours.
pub(super) fn engines<'a>(own: &'a Path, id: &OsStr) -> Option<&'a Path> {
    let engines = own.parent()?;
    let has_the_name = bundle(engines, id).is_ok_and(|named| named == own);
    let was_made_here = || own.join(ENGINES_ROOT).is_file() || is_machines(own);
    (has_the_name && was_made_here()).then_some(engines)
}

/// Whether the delegate's bundle of the container `id` is a machine's.
pub(super) fn is_of_machine(own: &Path, id: &OsStr) -> bool {
    engines(own, id).is_some() && is_machines(own)
}

fn is_machines(own: &Path) -> bool {
    own.join(ROOT).join(FILE.trim_start_matches('/')).is_file()
}

/// What a machine was made for, in its bundle.
pub(super) fn request(bundle: &Path) -> Result<Request, Refusal> {
    let file = bundle.join(ROOT).join(FILE.trim_start_matches('/'));
    let text = fs::read(&file).map_err(cannot("read", &file))?;
    serde_json::from_slice(&text)
        .map_err(|error| Refusal::new(format!("cannot understand {}: {error}", shown::path(&file))))
}

/// Makes the delegate's bundle, without its configuration, and the monitor's root in it, which is returned.
pub(super) fn make(
    own: &Path,
    config: &Config,
    request: &Request,
    mounts: &[Mount],
    owner: (u32, u32),
) -> Result<PathBuf, Refusal> {
    directory(own)?;
    let root = own.join(ROOT);
    entered(&root)?;
    for name in ROOTS {
        let from = config.monitor.join(name);
        // Otherwise it is a directory, which is mounted, or nothing.
        if let Ok(target) = fs::read_link(&from) {
            let link = root.join(name);
            symlink(&target, &link).map_err(cannot("make", &link))?;
        }
    }
    places(&root, mounts)?;
    let file = root.join(FILE.trim_start_matches('/'));
    let json = serde_json::to_vec(request)
        .map_err(|error| Refusal::new(format!("cannot write down what is to run: {error}")))?;
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(&file);
    let mut written = written.map_err(cannot("make", &file))?;
    written.write_all(&json).map_err(cannot("write", &file))?;
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(owner.0),
        rustix::fs::Gid::from_raw(owner.1),
    );
    rustix::fs::fchown(&written, Some(uid), Some(gid))
        .map_err(io::Error::from)
        .map_err(cannot("give the container's user", &file))?;
    Ok(root)
}

/// Makes what the delegate mounts on in the monitor's root: with a user namespace, it has no right to.
fn places(root: &Path, mounts: &[Mount]) -> Result<(), Refusal> {
    let tree = ImageRoot::new(root).map_err(cannot("open", root))?;
    for mount in mounts {
        let place = mount.destination();
        // What lies on another mount is that one's.
        let is_covered =
            |other: &Mount| place.starts_with(other.destination()) && place != other.destination();
        if mounts.iter().any(is_covered) {
            continue;
        }
        let place = place.strip_prefix("/").unwrap_or(place);
        tree.make(place, place_for(mount), None)
            .map_err(cannot("make a place for a mount in", root))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_prefix_nothing_but_a_programs_own_is_seen() {
        let scratch = tempfile::tempdir().unwrap();
        let prefix = scratch.path().canonicalize().unwrap();
        for directory in ["bin", "lib", "share/qemu", "share/keyrings"] {
            fs::create_dir_all(prefix.join(directory)).unwrap();
        }
        let program = prefix.join("bin/qemu");
        fs::write(&program, "").unwrap();
        let found = seen(&Config::default(), &program).unwrap();
        let sources: Vec<_> = found
            .mounts
            .iter()
            .filter_map(|mount| mount.source().clone())
            .collect();
        assert_eq!(sources, [program, prefix.join("share/qemu"), prefix.join("lib")]);
    }

    #[test]
    fn a_bundle_is_ours_by_name_and_by_what_only_we_write() {
        let scratch = tempfile::tempdir().unwrap();
        let one = OsStr::new("one");
        let own = bundle(scratch.path(), one).unwrap();
        // An engine's for a container that is called like ours.
        fs::create_dir_all(own.join(ROOT)).unwrap();
        assert_eq!(engines(&own, one), None);
        let ours = || (engines(&own, one), is_of_machine(&own, one));
        note_engines_root(&own, Some(Path::new("/root"))).unwrap();
        assert_eq!(ours(), (Some(scratch.path()), false));
        assert_eq!(engines_root(&own).as_deref(), Some(Path::new("/root")));
        note_engines_root(&own, None).unwrap();
        assert_eq!(
            (ours(), engines_root(&own)),
            ((Some(scratch.path()), false), None)
        );
        fs::write(own.join(ROOT).join("request.json"), "{}").unwrap();
        assert_eq!(ours(), (Some(scratch.path()), true));
        let longer = OsStr::new("hermit-wasm-one");
        assert_eq!(
            (engines(&own, longer), is_of_machine(&own, longer)),
            (None, false)
        );
    }

    #[test]
    fn the_engines_proc_is_the_monitors() {
        let path = Path::new;
        let hidden = mount(
            "proc",
            path("proc"),
            path("/proc"),
            &["hidepid=2", "nosuid", "noexec", "nodev"],
        )
        .unwrap();
        let nodes = bind(
            path("/proc"),
            path("/proc"),
            &["rbind", "nosuid", "noexec", "nodev"],
        )
        .unwrap();
        let loose = mount("proc", path("proc"), path("/proc"), &["hidepid=2"]).unwrap();
        let volume = bind(path("/volume"), path("/proc"), &["rbind"]).unwrap();
        let memory = mount("tmpfs", path("tmpfs"), path("/proc"), &[]).unwrap();
        let fresh = processes(&[]).unwrap();
        assert_eq!(fresh.typ().as_deref(), Some("proc"));
        for (given, expected) in [
            (vec![hidden.clone()], &hidden),
            (vec![loose], &hidden),
            (vec![nodes.clone()], &nodes),
            (vec![hidden.clone(), volume.clone()], &hidden),
            (vec![volume], &fresh),
            (vec![memory], &fresh),
        ] {
            assert_eq!(&processes(&given).unwrap(), expected);
        }
    }
}
