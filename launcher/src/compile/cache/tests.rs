//! What a cache takes, and what it does not.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use aot_config::trailer::SIZE;
use aot_config::{Arch, CpuLevel, Options};

use super::*;

const SOURCE: [u8; DIGEST] = [5; DIGEST];

fn target() -> Target {
    Target::new(Arch::X86_64)
}

fn never() -> Deadline {
    Deadline::never()
}

/// A directory, and the cache in it.
fn scratch() -> (tempfile::TempDir, Cache) {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::at(&directory.path().join("hermit-wasm")).unwrap();
    (directory, cache)
}

/// Code of `length` bytes, sealed for a cache.
fn code(cache: &Cache, length: usize, target: Target, source: [u8; DIGEST]) -> Code {
    let mut file = tempfile::tempfile().unwrap();
    let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
    file.write_all(&bytes).unwrap();
    let trailer = Trailer {
        level: target.level,
        options: target.options,
        source,
    };
    let length = seal(&file, &trailer, cache.key(), &never()).unwrap().unwrap();
    Code {
        file: file.into(),
        length,
        trailer,
        path: "m.wasm".into(),
        sealer: None,
    }
}

/// Keeps code; the path that it has then.
fn kept(cache: &Cache, length: usize) -> (String, PathBuf) {
    let name = name(&SOURCE, target());
    cache.keep(&name, &code(cache, length, target(), SOURCE)).unwrap();
    let path = cache.path.join(format!("{name}.cwasm"));
    (name, path)
}

fn find(cache: &Cache, name: &str) -> Found {
    cache.find(name, &SOURCE, target())
}

/// Refused, and gone; why: at the first look, or on the way into a machine.
#[track_caller]
fn refused(cache: &Cache, name: &str) -> String {
    let reason = match find(cache, name) {
        Found::Refused(reason) => reason,
        Found::Code(code) => {
            let error = code.write_to(&mut Vec::new()).unwrap_err().to_string();
            assert!(
                cache
                    .find_whole(name, &SOURCE, target(), &never())
                    .unwrap()
                    .is_none()
            );
            error
        }
        Found::Nothing => panic!("it is not there"),
    };
    assert!(matches!(find(cache, name), Found::Nothing));
    reason
}

#[test]
fn a_cache_is_its_users_alone() {
    let (directory, cache) = scratch();
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(&cache.path), 0o700);
    assert_eq!(mode(&cache.path.join("key")), 0o600);
    assert_eq!(cache.is_writable(), Ok(()));
    // The same key again, and another one elsewhere.
    let path = directory.path().join("hermit-wasm");
    assert_eq!(Cache::at(&path).unwrap().key, cache.key);
    assert_ne!(scratch().1.key, cache.key);
    // Anybody's rights in it.
    for (place, mode) in [(&cache.path, 0o750), (&cache.path, 0o701)] {
        let before = place.metadata().unwrap().permissions();
        fs::set_permissions(place, Permissions::from_mode(mode)).unwrap();
        let error = Cache::at(&path).unwrap_err();
        assert!(error.contains("other users"), "{error}");
        fs::set_permissions(place, before).unwrap();
    }
    // Above it, others' rights to write are taken away: other parts of the launcher make it, too, and a umask of 002
    // leaves them.
    for (before, after) in [(0o775, 0o755), (0o777, 0o755), (0o755, 0o755)] {
        fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
        Cache::at(&path).unwrap();
        assert_eq!(mode(&path), after);
    }
}

/// All that was ever compiled is lost with the key: only what it is itself counts against it, not what the moment does.
#[test]
fn an_entry_is_unfit_by_what_it_is_alone() {
    for errno in [
        Errno::MFILE,
        Errno::NFILE,
        Errno::IO,
        Errno::NOMEM,
        Errno::ACCESS,
        Errno::STALE,
    ] {
        assert!(!is_unfit(&errno.into()), "{errno}");
    }
    let (directory, cache) = scratch();
    let link = cache.path.join("link");
    symlink(directory.path(), &link).unwrap();
    for name in ["link", "."] {
        assert!(is_unfit(&cache.open_file(name).unwrap_err()), "{name}");
    }
}

#[test]
fn no_link_leads_to_a_cache_or_to_a_key() {
    let (directory, cache) = scratch();
    let path = directory.path().join("hermit-wasm");
    let other = directory.path().join("other");
    fs::rename(&cache.path, &other).unwrap();
    symlink(&other, &cache.path).unwrap();
    Cache::at(&path).unwrap_err();
    fs::remove_file(&cache.path).unwrap();
    fs::rename(&path, directory.path().join("moved")).unwrap();
    symlink(directory.path().join("moved"), &path).unwrap();
    Cache::at(&path).unwrap_err();
    // A key that is a link, too short, or that others read is made anew.
    fs::remove_file(&path).unwrap();
    let known = directory.path().join("known");
    fs::write(&known, [0; DIGEST]).unwrap();
    let first = Cache::at(&path).unwrap();
    let key = first.path.join("key");
    let spoil: [&dyn Fn(); 3] = [
        &|| symlink(&known, &key).unwrap(),
        &|| fs::write(&key, [1; DIGEST - 1]).unwrap(),
        &|| {
            let mut file = File::options();
            let mut file = file.write(true).create_new(true).mode(0o644).open(&key).unwrap();
            file.write_all(&[1; DIGEST]).unwrap();
        },
    ];
    let mut keys = vec![first.key];
    for spoil in spoil {
        fs::remove_file(&key).unwrap();
        spoil();
        let cache = Cache::at(&path).unwrap();
        assert!(!keys.contains(&cache.key));
        keys.push(cache.key);
        assert_eq!(Cache::at(&path).unwrap().key, cache.key);
    }
}

#[test]
fn another_users_directory_is_not_taken() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP: a directory of another user can be made by root alone");
        return;
    }
    let (directory, cache) = scratch();
    let path = directory.path().join("hermit-wasm");
    for place in [&cache.path, &path, &directory.path().to_path_buf()] {
        std::os::unix::fs::chown(place, Some(12345), None).unwrap();
        let error = Cache::at(&path).unwrap_err();
        assert!(error.contains("another user"), "{error}");
        std::os::unix::fs::chown(place, Some(0), None).unwrap();
    }
    // Nothing is made in another user's home.
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(12345), None).unwrap();
    let error = Cache::at(&home.join(".cache/hermit-wasm")).unwrap_err();
    assert!(error.contains("another user"), "{error}");
    assert!(!home.join(".cache").exists());
    // Its files neither.
    let (name, entry) = kept(&cache, 1000);
    std::os::unix::fs::chown(&entry, Some(12345), None).unwrap();
    refused(&cache, &name);
}

#[test]
fn what_is_kept_is_found_byte_by_byte() {
    let (_directory, cache) = scratch();
    let (name, _) = kept(&cache, 3000);
    let Found::Code(found) = find(&cache, &name) else {
        panic!("it is lost")
    };
    let mut bytes = Vec::new();
    found.write_to(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 3000 + SIZE);
    assert_eq!(bytes[..251], (0..=250).collect::<Vec<u8>>());
    assert_eq!(found.target(), target());
    assert!(matches!(find(&cache, "other"), Found::Nothing));
}

#[test]
fn every_damaged_byte_is_noticed() {
    let (_directory, cache) = scratch();
    let (name, path) = kept(&cache, 300);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        refused(&cache, &name);
        let mut file = File::options();
        let mut file = file.write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(&good).unwrap();
    }
    assert!(
        cache
            .find_whole(&name, &SOURCE, target(), &never())
            .unwrap()
            .is_some()
    );
    for length in [0, 1, SIZE, good.len() - 1] {
        fs::write(&path, &good[..length]).unwrap();
        refused(&cache, &name);
    }
    fs::write(&path, [&good[..], b"x"].concat()).unwrap();
    refused(&cache, &name);
}

#[test]
fn code_for_something_else_is_refused() {
    let (_directory, cache) = scratch();
    let name = name(&SOURCE, target());
    let v3 = Target {
        level: CpuLevel::X86_64V3,
        ..target()
    };
    let arm = Target::new(Arch::Aarch64);
    let fuel = Target {
        options: Options {
            fuel: true,
            deterministic: false,
        },
        ..target()
    };
    for code in [
        code(&cache, 100, v3, SOURCE),
        code(&cache, 100, arm, SOURCE),
        code(&cache, 100, fuel, SOURCE),
        code(&cache, 100, target(), [6; DIGEST]),
    ] {
        cache.keep(&name, &code).unwrap();
        assert!(refused(&cache, &name).contains("another module, or for another processor"));
    }
    // Of another cache, and so of another key: another user's, or another version's settings.
    let (_other, other) = scratch();
    cache.keep(&name, &code(&other, 100, target(), SOURCE)).unwrap();
    assert!(refused(&cache, &name).contains("keyed digest"));
    let names = [target(), v3, arm, fuel].map(|target| super::name(&SOURCE, target));
    for (at, name) in names.iter().enumerate() {
        assert!(!names[..at].contains(name));
    }
}

#[test]
fn an_entry_that_is_no_file_of_this_users_is_refused() {
    let (directory, cache) = scratch();
    let (name, path) = kept(&cache, 100);
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    refused(&cache, &name);
    let (_, path) = kept(&cache, 100);
    fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
    assert!(refused(&cache, &name).contains("alone"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    refused(&cache, &name);
}

/// What was seen before counts for nothing: neither what it was when it was found, nor its times.
#[test]
fn large_code_is_checked_on_its_way_each_time() {
    let (_directory, cache) = scratch();
    let (name, path) = kept(&cache, 3 << 20);
    let Found::Code(code) = find(&cache, &name) else {
        panic!("it is lost")
    };
    for _ in 0..2 {
        code.write_to(&mut io::sink()).unwrap();
    }
    let before = path.metadata().unwrap().modified().unwrap();
    let writer = File::options().write(true).open(&path).unwrap();
    writer.write_all_at(b"x", 2 << 20).unwrap();
    writer.set_modified(before).unwrap();
    let error = code.write_to(&mut io::sink()).unwrap_err().to_string();
    assert!(error.contains("keyed digest"), "{error}");
    // One that has become shorter cannot be read.
    let shorter = Code {
        length: code.length + 1,
        ..code.clone()
    };
    let error = shorter
        .hand_over(&mut io::sink(), &never())
        .unwrap_err()
        .into_error("write");
    assert!(matches!(error, Error::Foreign(_)), "{error}");
    // Another trailer of the same key: of other code, for another processor.
    let v3 = Target {
        level: CpuLevel::X86_64V3,
        ..target()
    };
    let mut other = Vec::new();
    self::code(&cache, 3 << 20, v3, SOURCE)
        .write_to(&mut other)
        .unwrap();
    writer.write_all_at(&other, 0).unwrap();
    code.write_to(&mut io::sink()).unwrap_err();
    assert!(refused(&cache, &name).contains("another processor"));
}

#[test]
fn only_one_at_a_time_has_the_lock() {
    let (_directory, cache) = scratch();
    let inside = AtomicU32::new(0);
    let most = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let lock = cache.lock("name", &never(), &mut || {}).unwrap();
                    assert!(matches!(lock, Right::Ours(_)));
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    // Whoever removes what was used long ago removes the file of the lock, too, as the last thing it
                    // does with the lock: another may have the lock of a new file from then on.
                    cache.remove("name.lock");
                    drop(lock);
                }
            });
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 1);
    let _lock = cache.try_lock("name").unwrap();
    assert!(cache.try_lock("name").is_none());
    assert!(matches!(cache.right("name"), Right::Others));
    assert!(cache.try_lock("other").is_some());
    let mut told = 0;
    let soon = Deadline::since(Instant::now(), Duration::from_millis(50));
    assert!(cache.lock("name", &soon, &mut || told += 1).is_err());
    assert!(told > 0);
}

#[test]
fn what_was_used_longest_ago_makes_room() {
    let (_directory, cache) = scratch();
    let name = |number: usize| format!("code{number}");
    let there = |number| cache.path.join(format!("{}.cwasm", name(number))).exists();
    for number in 0..5 {
        cache
            .keep(&name(number), &code(&cache, 1000, target(), SOURCE))
            .unwrap();
        let lock = File::options()
            .write(true)
            .open(cache.path.join(format!("{}.lock", name(number))))
            .unwrap();
        // The first one was used last.
        let ago = if number == 0 {
            1
        } else {
            100 - u64::try_from(number).unwrap()
        };
        lock.set_modified(SystemTime::now() - Duration::from_secs(ago * 60))
            .unwrap();
    }
    let held = cache.try_lock(&name(2)).unwrap();
    // Room for three of some 1,100 bytes, one of which comes.
    cache.make_room_within("new", 1104, 3500, 10, SystemTime::now());
    assert_eq!([0, 1, 2, 3, 4].map(there), [true, false, true, false, false]);
    drop(held);
    cache.make_room_within("new", 1104, 1104, 10, SystemTime::now());
    assert_eq!([0, 2].map(there), [false, false]);
    // What belongs to nothing goes after a day.
    cache.note_failure("failed", "why");
    drop(cache.try_lock("orphan"));
    cache.make_room_within("new", 1, 1000, 10, SystemTime::now());
    assert!(cache.path.join("orphan.lock").exists() && cache.path.join("failed.failed").exists());
    let later = SystemTime::now() + Duration::from_secs(2 * 24 * 60 * 60);
    cache.make_room_within("new", 1, 1000, 10, later);
    assert!(!cache.path.join("orphan.lock").exists() && !cache.path.join("failed.failed").exists());
    assert!(cache.path.join("key").exists());
}

#[test]
fn what_is_not_whole_counts_and_goes_with_its_writer() {
    let (_directory, cache) = scratch();
    let unfinished = |name: &str| {
        let path = cache.path.join(format!("{name}.1-0000abcd.new"));
        fs::write(&path, [0; 1000]).unwrap();
        path
    };
    cache.keep("old", &code(&cache, 1000, target(), SOURCE)).unwrap();
    let (left, held, own) = (unfinished("left.1"), unfinished("held"), unfinished("own"));
    let _held = cache.try_lock("held").unwrap();
    // Room for two, with what somebody writes.
    cache.make_room_within("own", 1000, 3200, 10, SystemTime::now());
    assert_eq!(
        [&left, &held, &own].map(|path| path.exists()),
        [false, true, true]
    );
    assert!(!cache.path.join("old.cwasm").exists());
    // One's own name's writer may have no lock, but does not pause.
    let later = SystemTime::now() + Duration::from_secs(3600);
    cache.make_room_within("own", 1000, 3200, 10, later);
    assert_eq!([&held, &own].map(|path| path.exists()), [true, false]);
}

#[test]
fn what_is_longer_than_all_may_be_takes_nothings_place() {
    let (_directory, cache) = scratch();
    let (name, path) = kept(&cache, 1000);
    let huge = code(&cache, 100, target(), SOURCE);
    let huge = Code {
        length: evict::BOUND + 1,
        ..huge
    };
    cache.keep("huge", &huge).unwrap_err();
    assert!(path.exists() && matches!(find(&cache, &name), Found::Code(_)));
    assert!(!cache.path.join("huge.cwasm").exists());
}

#[test]
fn a_failure_is_believed_for_a_day() {
    let (_directory, cache) = scratch();
    let now = SystemTime::now();
    assert_eq!(cache.failure("name", now), None);
    cache.note_failure("name", "it is too large");
    let hour = Duration::from_secs(3600);
    assert_eq!(
        cache.failure("name", now + hour),
        Some("it is too large".to_string())
    );
    assert_eq!(cache.failure("name", now + hour * 25), None);
    assert_eq!(cache.failure("name", now - hour), None);
    cache.keep("name", &code(&cache, 10, target(), SOURCE)).unwrap();
    assert_eq!(cache.failure("name", now + hour), None);
    // What machines do not take stays for those of other hosts.
    cache.note_refusal("name", "no AVX2");
    assert!(cache.path.join("name.cwasm").exists());
    assert_eq!(cache.refusal("name", now + hour), Some("no AVX2".to_string()));
    assert_eq!(cache.refusal("name", now + hour * 25), None);
    cache.make_room_within("other", 0, 1000, 10, now + hour * 50);
    assert!(!cache.path.join(refusal("name")).exists());
    cache.note_refusal("name", "no AVX2");
    cache.keep("name", &code(&cache, 10, target(), SOURCE)).unwrap();
    assert_eq!(cache.refusal("name", now), None);
}
