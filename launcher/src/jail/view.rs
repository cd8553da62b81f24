//! What of the host's files one process is to see: libraries, the program, its data, devices, and what its description
//! names. The empty root is made of this list, and Landlock's rules too.
//!
//! Layer: looks into the file system; changes nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use super::Confinement;

/// What may be done with a file, or with all below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// Reading, and executing.
    Read,
    /// Reading and writing, and making and deleting files.
    Write,
    /// Using a device.
    Device,
}

/// A file or a directory that the process sees, under its own name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Absolute, without `.` and `..`.
    pub(super) path: PathBuf,
    pub(super) access: Access,
    pub(super) directory: bool,
}

/// All that a process sees.
#[derive(Debug)]
pub(super) struct View {
    /// The program, without links.
    pub(super) program: PathBuf,
    /// Whether it is a script, whose interpreter and programs are in view too.
    pub(super) script: bool,
    /// In order: what lies below something else comes after it.
    pub(super) places: Vec<Place>,
    /// Symbolic links of the system's, as `/lib` often is, with their targets.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
}

/// Where libraries are, and QEMU's modules among them.
const LIBRARIES: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
];

/// Where programs are; for scripts.
const PROGRAMS: &[&str] = &[
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
];

/// QEMU's data in a prefix's `share`: its own, and firmware that distributions package apart.
const DATA: &[&str] = &[
    "qemu",
    "qemu-kvm",
    "qemu-firmware",
    "seabios",
    "seavgabios",
    "sgabios",
    "vgabios",
    "qboot",
    "ipxe",
    "ipxe.efi",
    "opensbi",
    "edk2",
    "OVMF",
    "AAVMF",
];

/// Files besides: where the libraries are, by their names.
const FILES: &[&str] = &["/etc/ld.so.cache"];

/// Devices that have nothing to tell. `/dev/zero` is missing: mapped and shared, it is memory that no limit counts.
const DEVICES: &[&str] = &["/dev/null", "/dev/random", "/dev/urandom"];

/// Stores of packages that are found by nothing but their own paths, each of which may need every other.
const STORES: &[&str] = &["/nix/store", "/gnu/store"];

impl View {
    /// What a process with this program and this description sees.
    ///
    /// # Errors
    /// The program, or something that the description names, is not there.
    pub(super) fn new(program: &Path, confinement: &Confinement) -> io::Result<Self> {
        let program = program.canonicalize()?;
        let mut this = Self {
            script: is_script(&program),
            places: Vec::new(),
            links: Vec::new(),
            program,
        };
        this.system(LIBRARIES);
        if this.script {
            this.system(PROGRAMS);
        }
        for file in FILES {
            this.add_if_there(Path::new(file), Access::Read);
        }
        for device in DEVICES {
            this.add_if_there(Path::new(device), Access::Device);
        }
        if confinement.alone {
            let program = this.program.clone();
            this.add(&program, Access::Read)?;
        } else {
            this.data(Path::new("/usr"));
            this.prefix();
        }
        for path in &confinement.reads {
            this.add(path, Access::Read)?;
        }
        for path in &confinement.writes {
            this.add(path, Access::Write)?;
        }
        for path in &confinement.devices {
            this.add(path, Access::Device)?;
        }
        this.tidy();
        Ok(this)
    }

    fn add(&mut self, path: &Path, access: Access) -> io::Result<()> {
        let directory = path.metadata()?.is_dir();
        // The name as it is given is the name that the process will use.
        let path = plain(&std::path::absolute(path)?)?;
        self.places.push(Place {
            path,
            access,
            directory,
        });
        Ok(())
    }

    fn add_if_there(&mut self, path: &Path, access: Access) {
        let _ = self.add(path, access);
    }

    /// Directories of the system's, of which some are links to others.
    fn system(&mut self, directories: &[&str]) {
        for directory in directories {
            let path = Path::new(directory);
            match fs::read_link(path) {
                Ok(target) => self.links.push((path.to_path_buf(), target)),
                Err(_) => self.add_if_there(path, Access::Read),
            }
        }
    }

    /// QEMU's data in a prefix.
    fn data(&mut self, prefix: &Path) {
        for name in DATA {
            self.add_if_there(&prefix.join("share").join(name), Access::Read);
        }
    }

    /// The program, and what belongs to it where it stands.
    fn prefix(&mut self) {
        let program = self.program.clone();
        self.add_if_there(&program, Access::Read);
        if let Some(store) = STORES.iter().find(|store| program.starts_with(store)) {
            return self.add_if_there(Path::new(store), Access::Read);
        }
        let Some(directory) = program.parent() else { return };
        let is_for_programs = directory
            .file_name()
            .is_some_and(|name| ["bin", "sbin", "libexec"].map(OsStr::new).contains(&name));
        match directory.parent() {
            // An installation: its libraries and its data, not what else a user may have there.
            Some(prefix) if is_for_programs && prefix != Path::new("/") => {
                for name in ["lib", "lib64"] {
                    self.add_if_there(&prefix.join(name), Access::Read);
                }
                self.data(prefix);
            }
            // A directory of the program's own, as the one where it was built. Neither a home nor one of the system's.
            Some(_) if !is_for_programs && is_of_one_program(directory) => {
                self.add_if_there(directory, Access::Read);
            }
            _ => {}
        }
    }

    /// Puts all in order, without what is in view already.
    fn tidy(&mut self) {
        self.places.sort();
        let mut kept: Vec<Place> = Vec::new();
        for place in self.places.drain(..) {
            let again = kept.iter().any(|other| {
                other.access >= place.access
                    && (place.path == other.path || other.directory && place.path.starts_with(&other.path))
            });
            if !again {
                // The same place for more.
                kept.retain(|other| other.path != place.path);
                kept.push(place);
            }
        }
        self.places = kept;
        // What lies behind a link is in view where it points to.
        let links = &self.links;
        self.places
            .retain(|place| !links.iter().any(|(link, _)| place.path.starts_with(link)));
    }
}

/// Whether a directory may be shown whole because a program stands in it.
fn is_of_one_program(directory: &Path) -> bool {
    let home = std::env::home_dir();
    // `/opt`, `/tmp` and `/root` hold more than one program's files.
    directory.components().count() > 2 && home.is_none_or(|home| !home.starts_with(directory))
}

/// Whether a file begins as a script does.
fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"#!"
}

/// An absolute path without `..`: what it means then depends on no link.
fn plain(path: &Path) -> io::Result<PathBuf> {
    match path.components().any(|part| part == Component::ParentDir) {
        true => path.canonicalize(),
        false => Ok(path.to_path_buf()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn paths(view: &View) -> Vec<&Path> {
        view.places.iter().map(|place| place.path.as_path()).collect()
    }

    fn program(directory: &Path, name: &str, content: &str) -> PathBuf {
        fs::create_dir_all(directory).unwrap();
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_program_of_the_system_brings_libraries_and_itself() {
        let view = View::new(Path::new("/bin/sh"), &Confinement::default()).unwrap();
        let seen = paths(&view);
        assert!(seen.contains(&Path::new("/usr/lib")), "{seen:?}");
        assert!(seen.contains(&view.program.as_path()), "{seen:?}");
        assert!(!view.script);
        for hidden in [
            "/", "/etc", "/home", "/proc", "/sys", "/tmp", "/run", "/usr", "/usr/bin", "/bin", "/root",
        ] {
            assert!(!seen.contains(&Path::new(hidden)), "{hidden}: {seen:?}");
        }
    }

    #[test]
    fn an_installation_brings_its_own_parts_and_not_its_neighbours() {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path();
        for part in ["lib", "share/qemu", "share/keyrings", "documents"] {
            fs::create_dir_all(prefix.join(part)).unwrap();
        }
        let qemu = program(&prefix.join("bin"), "qemu", "");
        let view = View::new(&qemu, &Confinement::default()).unwrap();
        let seen: Vec<_> = paths(&view)
            .into_iter()
            .filter_map(|path| path.strip_prefix(prefix).ok())
            .collect();
        assert_eq!(seen, ["bin/qemu", "lib", "share/qemu"].map(Path::new));
    }

    #[test]
    fn a_program_in_a_directory_of_its_own_brings_that() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("build");
        let view = View::new(&program(&own, "qemu", "#!/bin/sh\n"), &Confinement::default()).unwrap();
        assert!(view.script);
        assert!(paths(&view).contains(&own.as_path()));
        assert!(paths(&view).contains(&Path::new("/usr/bin")));
        for shared in ["/", "/opt", "/tmp"] {
            assert!(!is_of_one_program(Path::new(shared)), "{shared}");
        }
    }

    #[test]
    fn a_program_that_needs_no_data_sees_none() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("build");
        fs::create_dir_all(own.join("beside")).unwrap();
        let compiler = program(&own, "compiler", "");
        let view = View::new(&compiler, &Confinement::default().alone()).unwrap();
        let seen: Vec<_> = paths(&view)
            .into_iter()
            .filter(|path| path.starts_with(directory.path()) || path.starts_with("/usr/share"))
            .collect();
        assert_eq!(seen, [compiler.as_path()]);
    }

    #[test]
    fn what_is_named_is_seen_for_what_it_is_named_for() {
        let directory = tempfile::tempdir().unwrap();
        let file = program(directory.path(), "file", "");
        let confinement = Confinement::default()
            .read(&file)
            .write(directory.path())
            .device("/dev/full");
        let view = View::new(Path::new("/bin/sh"), &confinement).unwrap();
        let of = |path: &Path| view.places.iter().find(|place| place.path == path);
        assert_eq!(of(directory.path()).unwrap().access, Access::Write);
        // It lies in the directory.
        assert_eq!(of(&file), None);
        assert_eq!(of(Path::new("/dev/full")).unwrap().access, Access::Device);
        let nowhere = Confinement::default().read("/nonexistent");
        assert!(View::new(Path::new("/bin/sh"), &nowhere).is_err());
    }
}
