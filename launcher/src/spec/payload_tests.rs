//! Tests of payloads: what goes in is read back with crate `tar`, inner archives included.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tar::EntryType;

use super::*;
use crate::host::beneath::{self, Beneath};
use crate::host::interrupt::{Interrupt, Stop};
use crate::spec::copying::Step;
use crate::spec::module::Module;
use crate::spec::program::Program;

/// A payload of `module` and `directories`, for a machine with so much memory.
fn payload_of(module: &Module, directories: &[&Path], bytes: u64) -> Result<Payload, Error> {
    let deadline = Deadline::never();
    let deadline = &deadline;
    let directories: Vec<_> = directories.iter().copied().map(Copied::Directory).collect();
    build(
        &RunSpec::default(),
        &Program::Module(module).into(),
        &directories,
        Bounds { bytes, deadline },
    )
}

fn payload(directories: &[&Path]) -> Payload {
    payload_of(&Module::greeting(), directories, u64::MAX).unwrap()
}

/// The exit code and the message of what fails.
fn failure(directory: &Path, bytes: u64) -> (u8, String) {
    let error = payload_of(&Module::greeting(), &[directory], bytes).unwrap_err();
    (error.exit_code(), error.to_string())
}

/// A directory of this test's own, deleted with it.
pub(in crate::spec) struct Scratch(pub(in crate::spec) PathBuf);

impl Scratch {
    pub(in crate::spec) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hermit-wasm-payload-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(in crate::spec) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The members of an archive: name, and kind with data or target.
pub(in crate::spec) fn members(archive: &[u8]) -> BTreeMap<String, (EntryType, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_string();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            if let Some(target) = entry.link_name_bytes() {
                data = target.into_owned();
            }
            (path, (entry.header().entry_type(), data))
        })
        .collect()
}

pub(in crate::spec) fn outer(payload: &Payload) -> BTreeMap<String, (EntryType, Vec<u8>)> {
    let bytes = fs::read(payload.file.name()).unwrap();
    assert_eq!(bytes.len() as u64, payload.length);
    members(&bytes)
}

#[test]
fn module_and_directories_are_members_and_a_tree_comes_whole() {
    let (one, two) = (Scratch::new("one"), Scratch::new("two"));
    let long = format!("{0}/{0}/{0}/file", "x".repeat(200));
    one.write("a/b/file", b"data");
    one.write("empty", b"");
    one.write(&long, &[7; 1000]);
    fs::create_dir(one.0.join("nothing")).unwrap();
    std::os::unix::fs::symlink("../b/file", one.0.join("a/link")).unwrap();
    std::os::unix::fs::symlink("/".repeat(150), one.0.join("far")).unwrap();
    fs::hard_link(one.0.join("a/b/file"), one.0.join("same")).unwrap();
    let module = Module::from_bytes("m", b"\0asm\x01\0\0\0").unwrap();
    let payload = payload_of(&module, &[&one.0, &two.0], u64::MAX).unwrap();
    assert_eq!(payload.warnings, Vec::<String>::new());
    let outer = outer(&payload);
    assert_eq!(
        outer.keys().collect::<Vec<_>>(),
        ["dir-0.tar", "dir-1.tar", "module.wasm", "run.spec"]
    );
    assert_eq!(RunSpec::decode(&outer["run.spec"].1), Ok(RunSpec::default()));
    assert_eq!(outer["module.wasm"].1, b"\0asm\x01\0\0\0");
    let tree = members(&outer["dir-0.tar"].1);
    let directory = (EntryType::Directory, Vec::new());
    assert_eq!(tree["a/b/file"], (EntryType::Regular, b"data".to_vec()));
    assert_eq!(tree["empty"], (EntryType::Regular, Vec::new()));
    assert_eq!(tree["nothing/"], directory);
    assert_eq!(tree["a/link"], (EntryType::Symlink, b"../b/file".to_vec()));
    assert_eq!(tree["far"], (EntryType::Symlink, "/".repeat(150).into_bytes()));
    assert_eq!(tree["same"], (EntryType::Link, b"a/b/file".to_vec()));
    assert_eq!(tree[&long], (EntryType::Regular, vec![7; 1000]));
    assert_eq!(tree.len(), 13, "{:?}", tree.keys());
    assert_eq!(
        members(&outer["dir-1.tar"].1).into_values().collect::<Vec<_>>(),
        [directory]
    );
}

#[test]
fn times_come_with_their_nanoseconds() {
    let scratch = Scratch::new("times");
    scratch.write("f", b"");
    let time = std::time::UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    File::options()
        .write(true)
        .open(scratch.0.join("f"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    let payload = payload(&[&scratch.0]);
    let inner = outer(&payload).remove("dir-0.tar").unwrap().1;
    let mut archive = tar::Archive::new(inner.as_slice());
    let mut found = None;
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap() == Path::new("f") {
            let records = entry.pax_extensions().unwrap().unwrap();
            let mut values = records.map(|record| record.unwrap().value().unwrap().to_string());
            found = values.next();
        }
    }
    assert_eq!(found.as_deref(), Some("1600000000.123456789"));
}

#[test]
fn what_cannot_be_taken_along_is_named() {
    let scratch = Scratch::new("odd");
    let broken = std::ffi::OsStr::from_bytes(b"\xff");
    fs::write(scratch.0.join(broken), b"x").unwrap();
    std::os::unix::fs::symlink(broken, scratch.0.join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(scratch.0.join("socket")).unwrap();
    scratch.write("file", b"x");
    let payload = payload(&[&scratch.0]);
    let inner = members(&outer(&payload)["dir-0.tar"].1);
    assert_eq!(inner.keys().collect::<Vec<_>>(), ["./", "file"]);
    let [warning] = payload.warnings.as_slice() else {
        panic!("{:?}", payload.warnings);
    };
    assert!(warning.contains("'link', 'socket'"), "{warning}");
}

#[test]
fn what_is_no_directory_or_does_not_fit_is_refused() {
    let scratch = Scratch::new("wrong");
    scratch.write("file", &[0; 100_000]);
    let (code, message) = failure(&scratch.0.join("none"), u64::MAX);
    assert_eq!(code, 2);
    assert!(message.contains("No such file"), "{message}");
    let (_, message) = failure(&scratch.0.join("file"), u64::MAX);
    assert!(message.contains("not a directory"), "{message}");
    let (code, message) = failure(&scratch.0, 50_000);
    assert_eq!(code, 126);
    assert!(message.contains("--memory"), "{message}");
    let deadline = Deadline::passed();
    let late = Bounds {
        bytes: u64::MAX,
        deadline: &deadline,
    };
    let late = build(
        &RunSpec::default(),
        &Program::Module(&Module::greeting()).into(),
        &[Copied::Directory(&scratch.0)],
        late,
    );
    assert!(matches!(late, Err(Error::Timeout { .. })));

    let interrupt = Interrupt::new().unwrap();
    let deadline = Deadline::never().interrupt(interrupt.clone());
    let bounds = Bounds {
        bytes: u64::MAX,
        deadline: &deadline,
    };
    let make = || {
        build(
            &RunSpec::default(),
            &Program::Module(&Module::greeting()).into(),
            &[Copied::Directory(&scratch.0)],
            bounds,
        )
    };
    assert!(make().is_ok());
    interrupt.stop();
    assert!(matches!(make(), Err(Error::Stopped(Stop::Asked))));
}

/// What happens to a directory while it is copied.
type Happens = Box<dyn FnMut(Step, &Path)>;

thread_local! {
    static MEANWHILE: RefCell<Option<Happens>> = const { RefCell::new(None) };
}

/// Called between two steps of copying.
pub(in crate::spec) fn meanwhile(step: Step, path: &Path) {
    MEANWHILE.with_borrow_mut(|happens| {
        if let Some(happens) = happens {
            happens(step, path);
        }
    });
}

/// Copies `directory` while, once, `happens` happens to it, at this step and path. What was copied, by names, or the
/// error's message.
fn copied_while(
    directory: &Path,
    (step, path): (Step, &'static str),
    happens: impl FnOnce() + 'static,
) -> Result<BTreeMap<String, (EntryType, Vec<u8>)>, String> {
    let mut happens = Some(happens);
    let seen = Rc::new(Cell::new(false));
    let saw = seen.clone();
    MEANWHILE.set(Some(Box::new(move |now, at| {
        if (now, at) == (step, Path::new(path))
            && let Some(happens) = happens.take()
        {
            saw.set(true);
            happens();
        }
    })));
    let payload = payload_of(&Module::greeting(), &[directory], 1 << 20);
    MEANWHILE.set(None);
    assert!(seen.get(), "copying never came to {step:?} of '{path}'");
    let payload = payload.map_err(|error| error.to_string())?;
    Ok(members(&outer(&payload)["dir-0.tar"].1))
}

/// A directory with `d/file`, and beside it one with secrets, to which `d` becomes a link.
fn with_secrets(name: &str) -> (Scratch, PathBuf, impl FnOnce() + 'static) {
    let scratch = Scratch::new(name);
    scratch.write("root/d/file", b"mine");
    scratch.write("root/e", b"end");
    scratch.write("secret/file", b"secret");
    scratch.write("secret/more", b"secret");
    let (root, secret) = (scratch.0.join("root"), scratch.0.join("secret"));
    let d = root.join("d");
    let swap = move || {
        fs::remove_dir_all(&d).unwrap();
        std::os::unix::fs::symlink(secret, d).unwrap();
    };
    (scratch, root, swap)
}

#[test]
fn a_directory_that_becomes_a_link_is_not_followed() {
    let root = Path::new("");
    for (step, path) in [
        (Step::Listed, ""),
        (Step::LookedAt, "d"),
        (Step::Listed, "d"),
        (Step::LookedAt, "d/file"),
    ] {
        let (_scratch, directory, swap) = with_secrets("swapped");
        match copied_while(&directory, (step, path), swap) {
            Ok(tree) => {
                for (name, (_, data)) in &tree {
                    assert!(
                        !data.starts_with(b"secret") && name != "d/more",
                        "{step:?} {path}: {name}"
                    );
                }
                // What was looked at as a link is copied as one.
                assert_eq!(
                    tree.contains_key("d"),
                    step == Step::Listed && Path::new(path) == root
                );
            }
            Err(message) => assert!(message.contains("cannot read"), "{step:?} {path}: {message}"),
        }
    }
}

#[test]
fn a_file_that_becomes_something_else_is_neither_followed_nor_waited_for() {
    let to_link = |path: &Path, secret: &Path| std::os::unix::fs::symlink(secret, path).unwrap();
    let to_fifo = |path: &Path, _: &Path| {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
    };
    let to_directory = |path: &Path, _: &Path| fs::create_dir(path).unwrap();
    let becomes: [fn(&Path, &Path); 3] = [to_link, to_fifo, to_directory];
    for becomes in becomes {
        let (scratch, directory, _) = with_secrets("replaced");
        let (file, secret) = (directory.join("d/file"), scratch.0.join("secret/file"));
        let happens = move || {
            fs::remove_file(&file).unwrap();
            becomes(&file, &secret);
        };
        let message = copied_while(&directory, (Step::LookedAt, "d/file"), happens).unwrap_err();
        assert!(
            message.contains("cannot read") && message.contains("d/file"),
            "{message}"
        );
    }
}

#[test]
fn a_file_that_grows_is_cut_and_one_that_shrinks_is_an_error() {
    let resize = |length: u64| {
        let (scratch, directory, _) = with_secrets("resized");
        let file = directory.join("d/file");
        let happens = move || {
            let file = File::options().write(true).open(&file).unwrap();
            file.set_len(length).unwrap();
        };
        let copied = copied_while(&directory, (Step::Opened, "d/file"), happens);
        drop(scratch);
        copied
    };
    // Larger than the machine, even: what it had when it was opened fits.
    let tree = resize(1 << 30).unwrap();
    assert_eq!(tree["d/file"], (EntryType::Regular, b"mine".to_vec()));
    assert_eq!(tree["e"].1, b"end");
    let message = resize(1).unwrap_err();
    assert!(message.contains("became shorter"), "{message}");
}

/// The same as a race, for what the steps do not foresee.
#[test]
fn a_race_with_links_brings_nothing_from_outside() {
    let (scratch, directory, _) = with_secrets("race");
    let (d, kept, link) = (
        directory.join("d"),
        scratch.0.join("kept"),
        scratch.0.join("link"),
    );
    std::os::unix::fs::symlink(scratch.0.join("secret"), &link).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let swapper = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            fs::rename(&d, &kept).unwrap();
            fs::rename(&link, &d).unwrap();
            fs::rename(&d, &link).unwrap();
            fs::rename(&kept, &d).unwrap();
        }
    });
    for _ in 0..300 {
        let Ok(payload) = payload_of(&Module::greeting(), &[&directory], u64::MAX) else {
            continue;
        };
        let bytes = fs::read(payload.file.name()).unwrap();
        let tree = members(&outer(&payload)["dir-0.tar"].1);
        // The link's own target, a path, ends in this word.
        let leaked = tree
            .iter()
            .any(|(name, (_, data))| name == "d/more" || data == b"secret");
        assert!(!leaked, "{:?} in {} bytes", tree.keys(), bytes.len());
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
}

#[test]
fn a_directory_of_too_many_names_is_refused_before_they_are_all_read() {
    let scratch = Scratch::new("names");
    for number in 0..100 {
        scratch.write(&format!("{number}"), b"");
    }
    let (code, message) = failure(&scratch.0, 20 * BLOCK);
    assert_eq!(code, 126);
    // The directory's own header, and as many names as would fit and one more.
    assert!(message.contains("--memory"), "{message}");
    let directory = Beneath::new(&scratch.0).unwrap().look(Path::new("")).unwrap();
    let mut most = 0;
    let stopped = beneath::names(&directory, |count| {
        most = count;
        if count < 20 {
            Ok(())
        } else {
            Err(io::Error::other("enough"))
        }
    });
    assert_eq!(
        (most, stopped.unwrap_err().to_string()),
        (20, "enough".to_string())
    );
}

#[test]
fn a_tree_deeper_than_paths_are_long_is_refused() {
    let scratch = Scratch::new("deep");
    // By descriptors, since no path would be short enough.
    let mut directory: std::os::fd::OwnedFd = File::open(&scratch.0).unwrap().into();
    for _ in 0..2_100 {
        rustix::fs::mkdirat(&directory, "d", rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        directory = rustix::fs::openat(&directory, "d", flags, rustix::fs::Mode::empty()).unwrap();
    }
    let (_, message) = failure(&scratch.0, u64::MAX);
    assert!(
        message.contains("cannot read") && message.contains("too long"),
        "{}",
        message.len()
    );
}

#[test]
fn what_is_aligned_lies_behind_padding_wherever_it_begins() {
    for before in [
        0usize, 1, 511, 512, 513, 2048, 2559, 2560, 2561, 3072, 3073, 3584, 3585, 4096,
    ] {
        let make = || {
            let mut file = tempfile::tempfile().unwrap();
            let put = |name, alignment, bytes: &[u8]| {
                member(&file, name, alignment, |out| {
                    out.write_all(bytes).map_err(StartError::file(KEEP))
                })
                .unwrap();
            };
            put("before", 1, &vec![1; before]);
            put(names::CODE, names::ALIGNMENT, b"code");
            put("behind", 1, b"more");
            (&file).write_all(&[0; 1024]).unwrap();
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        };
        let bytes = make();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_string();
            (name, usize::try_from(entry.raw_file_position()).unwrap())
        });
        let found: BTreeMap<String, usize> = entries.collect();
        let at = found[names::CODE];
        assert_eq!(at % 4096, 0, "{before}");
        assert!(bytes[at..].starts_with(b"code") && bytes[found["behind"]..].starts_with(b"more"));
        // Where the data would be aligned anyway, there is none.
        let needs_none = (before.next_multiple_of(512) + 1024) % 4096 == 0;
        assert_eq!(found.contains_key(names::PADDING), !needs_none, "{before}");
        assert_eq!(make(), bytes);
    }
}
