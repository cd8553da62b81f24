//! Chooses what executes the guest. `auto` takes KVM only after it has booted the image here, and remembers.
//!
//! That /dev/kvm exists and opens proves little: there are hosts (nested and paravirtualised ones) where QEMU then
//! aborts or stops at the first unusual instruction. So it is tried with the very image that is to run.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boot_protocol::arch::Arch;
use boot_protocol::fingerprint::fingerprint;

use crate::error::StartError;
use crate::host::files;
use crate::vmm::capabilities::Accelerator;

/// What runs guests on the host's own processor.
pub(super) const DEVICE: &str = "/dev/kvm";

/// TTL of a failed probe. A cause may have gone: the host was overloaded, a module was not loaded.
const FAILURE_TTL: Duration = Duration::from_secs(60 * 60);

/// A choice, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// What to use.
    pub(crate) accelerator: Accelerator,
    /// The reason, for -v.
    pub(crate) reason: String,
}

impl Decision {
    fn new(accelerator: Accelerator, reason: impl Into<String>) -> Self {
        Self {
            accelerator,
            reason: reason.into(),
        }
    }
}

/// What can be said without a trial.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Nothing needs to be tried.
    Decided(Decision),
    /// KVM must be tried, and the verdict be remembered and [judged](judge).
    Needed,
}

/// Decides as far as that is possible without a trial.
pub(crate) fn decide(
    choice: Option<Accelerator>,
    arch: Arch,
    memory: &ProbeCache,
) -> Result<Probe, StartError> {
    let device = if arch.is_hosts() {
        open_device(Path::new(DEVICE))
    } else {
        Err(NoDevice::OtherArchitecture(arch))
    };
    decide_for(choice, device, memory)
}

fn decide_for(
    choice: Option<Accelerator>,
    device: Result<(), NoDevice>,
    memory: &ProbeCache,
) -> Result<Probe, StartError> {
    let decision = match (choice, device) {
        (Some(Accelerator::Tcg), _) => Decision::new(Accelerator::Tcg, "--accel tcg"),
        (Some(Accelerator::Kvm), Ok(())) => Decision::new(Accelerator::Kvm, "--accel kvm"),
        (Some(Accelerator::Kvm), Err(no_device)) => return Err(no_device.error()),
        (None, Err(no_device)) => Decision::new(Accelerator::Tcg, no_device.reason()),
        (None, Ok(())) => match memory.recall() {
            Some(Ok(())) => Decision::new(Accelerator::Kvm, "KVM worked on this host before"),
            Some(Err(reason)) => Decision::new(
                Accelerator::Tcg,
                format!("KVM failed on this host before: {reason}"),
            ),
            None => return Ok(Probe::Needed),
        },
    };
    Ok(Probe::Decided(decision))
}

/// The decision that follows from a trial.
pub(crate) fn judge(verdict: Result<(), String>) -> Decision {
    match verdict {
        Ok(()) => Decision::new(Accelerator::Kvm, "a trial boot under KVM succeeded"),
        Err(reason) => Decision::new(
            Accelerator::Tcg,
            format!("a trial boot under KVM failed: {reason}"),
        ),
    }
}

/// What is known of KVM without a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It has booted the image.
    Works,
    /// It can be asked; the first run tries it.
    Untried,
    /// It cannot be used.
    Not {
        /// Why not.
        reason: String,
        /// How to get it.
        advice: &'static str,
    },
}

/// What is known of KVM without a trial.
pub(crate) fn known(memory: Option<&ProbeCache>) -> Known {
    if let Err(no_device) = open_device(Path::new(DEVICE)) {
        return Known::Not {
            reason: no_device.reason(),
            advice: no_device.advice(),
        };
    }
    match memory.and_then(ProbeCache::recall) {
        Some(Ok(())) => Known::Works,
        Some(Err(reason)) => Known::Not {
            reason: format!("{DEVICE} is there, and a trial boot failed: {reason}"),
            advice: "a host, or a virtual machine with nested virtualisation, whose KVM runs guests",
        },
        None => Known::Untried,
    }
}

/// Why KVM cannot even be asked.
#[derive(Debug)]
enum NoDevice {
    /// KVM runs guests of the host's own architecture.
    OtherArchitecture(Arch),
    Cannot(io::Error),
}

fn open_device(path: &Path) -> Result<(), NoDevice> {
    File::options()
        .read(true)
        .write(true)
        .open(path)
        .map(drop)
        .map_err(NoDevice::Cannot)
}

impl NoDevice {
    fn reason(&self) -> String {
        match self {
            Self::OtherArchitecture(arch) => format!("this host is not {}", arch.name()),
            Self::Cannot(error) => match error.kind() {
                io::ErrorKind::NotFound => format!("{DEVICE} does not exist"),
                io::ErrorKind::PermissionDenied => format!("no permission to use {DEVICE}"),
                _ => format!("{DEVICE} cannot be opened: {error}"),
            },
        }
    }

    /// How to get it.
    fn advice(&self) -> &'static str {
        match self {
            Self::OtherArchitecture(_) => "a host of that architecture",
            Self::Cannot(error) => match error.kind() {
                io::ErrorKind::NotFound => {
                    "check that virtualisation is enabled in the firmware and that the kernel module kvm_intel or \
                     kvm_amd is loaded"
                }
                io::ErrorKind::PermissionDenied => {
                    "add yourself to its group ('sudo usermod -aG kvm $USER') and log in again"
                }
                _ => "check that the kernel module kvm_intel or kvm_amd is loaded",
            },
        }
    }

    fn error(&self) -> StartError {
        let (reason, advice) = (self.reason(), self.advice());
        StartError::Kvm(format!("--accel kvm: {reason}; {advice}, or use --accel tcg"))
    }
}

/// The file in which the verdict about KVM is remembered.
#[derive(Debug)]
pub(crate) struct ProbeCache {
    /// `None` where there is no place to remember.
    file: Option<PathBuf>,
    /// All that the verdict depends on, in one line.
    key: String,
}

impl ProbeCache {
    /// The memory for this QEMU and this image, on this host since its last start.
    pub(crate) fn new(qemu: &Path, machine: &str, image: u64) -> Self {
        let line = |path: &str| {
            fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .replace('\n', " ")
        };
        let program = fs::canonicalize(qemu).unwrap_or_else(|_| qemu.to_path_buf());
        let (modified, size) = fs::metadata(&program)
            .map(|m| (m.mtime(), m.size()))
            .unwrap_or_default();
        let key = format!(
            "kernel={} boot={} qemu={} modified={modified} size={size} machine={machine} image={image:016x}",
            line("/proc/sys/kernel/osrelease"),
            line("/proc/sys/kernel/random/boot_id"),
            program.display().to_string().escape_default(),
        );
        // One file for each key's short name, so that two QEMUs do not make each other forget.
        let name = format!("kvm-{:016x}", fingerprint(key.as_bytes()));
        Self {
            file: files::cache_directory().map(|directory| directory.join(name)),
            key,
        }
    }

    /// The verdict, if there is one for exactly this key and it is fresh enough.
    fn recall(&self) -> Option<Result<(), String>> {
        let file = self.file.as_ref()?;
        let text = fs::read_to_string(file).ok()?;
        let mut lines = text.lines();
        if lines.next()? != self.key {
            return None;
        }
        match lines.next()?.split_once(' ').unwrap_or(("works", "")) {
            ("works", _) => Some(Ok(())),
            ("fails", reason) => {
                // A time in the future is of a clock that was set back: not fresh.
                let age = fs::metadata(file).ok()?.modified().ok()?.elapsed().ok()?;
                (age < FAILURE_TTL).then(|| Err(reason.to_string()))
            }
            _ => None,
        }
    }

    /// Remembers a verdict. Where that is not possible, it is tried anew the next time.
    pub(crate) fn remember(&self, verdict: &Result<(), String>) {
        let Some(file) = &self.file else { return };
        let verdict = match verdict {
            Ok(()) => "works".to_string(),
            Err(reason) => format!("fails {}", reason.replace('\n', " ")),
        };
        self.forget_the_old();
        let _ = files::write_whole(file, format!("{}\n{verdict}\n", self.key).as_bytes());
    }

    /// Deletes verdicts of other boots of the host: one is left for each, or the directory would fill up.
    fn forget_the_old(&self) {
        let Some(directory) = self.file.as_ref().and_then(|file| file.parent()) else {
            return;
        };
        let boot = self.key.split(' ').find(|part| part.starts_with("boot="));
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let is_verdict = entry.file_name().to_string_lossy().starts_with("kvm-");
            let of_this_boot = fs::read_to_string(entry.path())
                .is_ok_and(|text| boot.is_some_and(|boot| text.contains(boot)));
            if is_verdict && !of_this_boot {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    /// A memory in a directory of its own, which is deleted at the end.
    struct Scratch(ProbeCache);

    impl Scratch {
        fn new(name: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("hermit-wasm-accel-{}-{name}", std::process::id()));
            Self(ProbeCache {
                file: Some(directory.join("kvm-1")),
                key: "boot=1 key".to_string(),
            })
        }

        fn file(&self) -> &Path {
            self.0.file.as_deref().unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.file().parent().unwrap());
        }
    }

    fn denied(kind: io::ErrorKind) -> Result<(), NoDevice> {
        Err(NoDevice::Cannot(kind.into()))
    }

    fn decided(look: Result<Probe, StartError>) -> Decision {
        match look.unwrap() {
            Probe::Decided(decision) => decision,
            Probe::Needed => panic!("KVM would be tried"),
        }
    }

    #[test]
    fn what_is_asked_for_is_done() {
        let memory = Scratch::new("asked");
        let tcg = decided(decide_for(Some(Accelerator::Tcg), Ok(()), &memory.0));
        assert_eq!(tcg.accelerator, Accelerator::Tcg);
        let kvm = decided(decide_for(Some(Accelerator::Kvm), Ok(()), &memory.0));
        assert_eq!(kvm.accelerator, Accelerator::Kvm);
    }

    #[test]
    fn kvm_that_is_asked_for_and_not_there_says_what_to_do() {
        let memory = Scratch::new("denied");
        for (kind, part) in [
            (io::ErrorKind::PermissionDenied, "usermod -aG kvm"),
            (io::ErrorKind::NotFound, "kvm_intel or kvm_amd"),
            (io::ErrorKind::Other, "use --accel tcg"),
        ] {
            let failure = decide_for(Some(Accelerator::Kvm), denied(kind), &memory.0).unwrap_err();
            let message = failure.to_string();
            assert!(message.starts_with("--accel kvm: "), "{message}");
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn auto_without_the_device_is_tcg_and_says_why() {
        let memory = Scratch::new("auto");
        memory.0.remember(&Ok(()));
        let device = denied(io::ErrorKind::PermissionDenied);
        let decision = decided(decide_for(None, device, &memory.0));
        assert_eq!(
            decision,
            Decision::new(Accelerator::Tcg, "no permission to use /dev/kvm")
        );
    }

    #[test]
    fn a_verdict_is_found_once_and_remembered() {
        for (name, verdict, accelerator) in [
            ("works", Ok(()), Accelerator::Kvm),
            ("fails", Err("broken\nhere".to_string()), Accelerator::Tcg),
        ] {
            let memory = Scratch::new(name);
            assert_eq!(decide_for(None, Ok(()), &memory.0).unwrap(), Probe::Needed);
            memory.0.remember(&verdict);
            let again = decided(decide_for(None, Ok(()), &memory.0));
            assert_eq!(again.accelerator, accelerator);
            assert_eq!(judge(verdict).accelerator, accelerator);
        }
        let memory = Scratch::new("reason");
        memory.0.remember(&Err("broken\nhere".to_string()));
        assert_eq!(memory.0.recall(), Some(Err("broken here".to_string())));
    }

    #[test]
    fn a_verdict_for_something_else_does_not_count() {
        let memory = Scratch::new("else");
        memory.0.remember(&Ok(()));
        let other = ProbeCache {
            file: memory.0.file.clone(),
            key: "boot=1 other key".to_string(),
        };
        assert_eq!(other.recall(), None);
        for garbage in ["", "\n", "boot=1 key\n", "boot=1 key\nmaybe so\n", "\u{0}\u{1}"] {
            fs::write(memory.file(), garbage).unwrap();
            assert_eq!(memory.0.recall(), None, "{garbage:?}");
        }
    }

    #[test]
    fn a_failure_is_not_believed_forever() {
        let memory = Scratch::new("age");
        memory.0.remember(&Err("slow".to_string()));
        let set = |time| {
            let file = File::options().write(true).open(memory.file()).unwrap();
            file.set_modified(time).unwrap();
        };
        set(SystemTime::now() - FAILURE_TTL - Duration::from_secs(1));
        assert_eq!(memory.0.recall(), None);
        memory.0.remember(&Ok(()));
        // Success holds until the host starts again.
        set(SystemTime::now() - FAILURE_TTL * 100);
        assert_eq!(memory.0.recall(), Some(Ok(())));
    }

    #[test]
    fn verdicts_of_other_boots_are_deleted() {
        let memory = Scratch::new("boots");
        let directory = memory.file().parent().unwrap();
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("kvm-2"), "boot=0 key\nworks\n").unwrap();
        fs::write(directory.join("kvm-3"), "boot=1 another\nworks\n").unwrap();
        fs::write(directory.join("something"), "else").unwrap();
        memory.0.remember(&Ok(()));
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["kvm-1", "kvm-3", "something"]);
    }

    #[test]
    fn nowhere_to_remember_is_no_error() {
        let memory = ProbeCache {
            file: None,
            key: String::new(),
        };
        memory.remember(&Ok(()));
        assert_eq!(memory.recall(), None);
    }

    #[test]
    fn the_key_names_what_it_depends_on() {
        let shell = ProbeCache::new(Path::new("/bin/sh"), "pc", 1);
        for other in [
            ProbeCache::new(Path::new("/bin/cat"), "pc", 1),
            ProbeCache::new(Path::new("/bin/sh"), "q35", 1),
            ProbeCache::new(Path::new("/bin/sh"), "pc", 2),
        ] {
            assert_ne!(shell.key, other.key);
        }
        assert!(!shell.key.contains('\n'));
    }
}
