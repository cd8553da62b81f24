//! The core by itself, as an interface without numbers, rights and pointers uses it: WASI 0.2 would.
//!
//! Layer: tests. What each operation answers in every case is tested through preview1, which has all of them.

use std::error::Error as StdError;

use wasi_core::{
    Clock, Errno, Readiness, Source, WasiCtx, WasiCtxBuilder,
    descriptor::{Base, Descriptor},
    file::{Blocking, SetTime, SetTimes},
    fs::{
        Access, Permission,
        mem::{Limits, MemFs},
    },
    path::{FollowMode, GuestPath, PATH_MAX},
    poll::{Alarm, WaitSet},
    testing::{Stdin, TestSystem},
    tree::OpenHow,
    types::Filetype,
};

type Ctx = WasiCtx<TestSystem>;
type TestResult = Result<(), Box<dyn StdError>>;

const CREATE: OpenHow = OpenHow {
    create: true,
    exclusive: false,
    truncate: false,
    directory: false,
    access: Access {
        read: true,
        write: true,
    },
};

/// A guest with one directory, and what it begins with.
fn guest(permission: Permission, system: TestSystem) -> Result<(Ctx, Vec<Descriptor>), Box<dyn StdError>> {
    let limits = Limits {
        bytes: 1 << 20,
        entries: 100,
    };
    let mut ctx = WasiCtxBuilder::new()
        .preopen(MemFs::new(limits, 0), "/data", permission)?
        .build(system);
    let descriptors = ctx.take_descriptors();
    assert!(ctx.take_descriptors().is_empty(), "they are handed out once");
    Ok((ctx, descriptors))
}

fn base(descriptors: &[Descriptor]) -> Result<Base, Errno> {
    Ok(descriptors.last().ok_or(Errno::BADF)?.directory()?.base())
}

fn open(ctx: &mut Ctx, base: Base, path: &str, how: &OpenHow) -> Result<Descriptor, Errno> {
    ctx.open(base, GuestPath::new(path.as_bytes())?, FollowMode::Follow, how)
}

#[test]
fn a_file_is_written_and_read_by_value() -> TestResult {
    let (mut ctx, descriptors) = guest(Permission::ReadWrite, TestSystem::default())?;
    let base = base(&descriptors)?;
    let mut file = open(&mut ctx, base, "f", &CREATE)?;
    assert_eq!(ctx.write(&mut file, b"hello", false)?, 5);

    // Two readers with positions of their own, as streams have them.
    let mut buf = [0; 3];
    for offset in [0, 2] {
        assert_eq!(ctx.read_at(file.file()?, offset, &mut buf)?, 3);
        assert_eq!(buf, b"hello"[usize::try_from(offset)?..][..3]);
    }
    assert_eq!(
        ctx.read(&mut file, &mut buf, Blocking::Wait)?,
        Some(0),
        "it is at its end"
    );
    assert_eq!(ctx.append(file.file()?, b"!")?, (1, 6));

    let times = SetTimes {
        atim: SetTime::To(7),
        mtim: SetTime::Keep,
    };
    ctx.set_times(&file, times)?;
    let attributes = ctx.attributes(&file)?.ok_or("a file has attributes")?;
    assert_eq!((attributes.stat.size, attributes.stat.atim), (6, 7));
    ctx.close(file);
    Ok(())
}

#[test]
fn names_are_moved_and_links_read() -> TestResult {
    let (mut ctx, descriptors) = guest(Permission::ReadWrite, TestSystem::default())?;
    let base = base(&descriptors)?;
    let path = |text: &'static str| GuestPath::new(text.as_bytes());
    let file = open(&mut ctx, base, "f", &CREATE)?;
    ctx.close(file);
    ctx.create_directory(base, path("dir")?)?;
    let from = ctx.locate(base, path("f")?, FollowMode::Never)?;
    ctx.rename(&from, base, path("dir/g")?)?;
    ctx.create_link(path("dir/g")?, base, path("link")?)?;
    assert_eq!(ctx.read_link(base, path("link")?, &mut [0; PATH_MAX])?, b"dir/g");
    let attributes = ctx.attributes_at(base, path("link")?, FollowMode::Follow)?;
    assert_eq!(attributes.stat.filetype, Filetype::RegularFile);

    let directory = descriptors.last().ok_or("a preopen")?.directory()?;
    let mut names = Vec::new();
    ctx.read_directory(directory, 0, &mut |entry| {
        names.push(entry.name.to_vec());
        true
    })?;
    names.sort();
    assert_eq!(names, [b"dir".to_vec(), b"link".to_vec()]);
    Ok(())
}

#[test]
fn what_is_read_only_says_so() -> TestResult {
    let (mut ctx, descriptors) = guest(Permission::ReadOnly, TestSystem::default())?;
    let base = base(&descriptors)?;
    assert_eq!(open(&mut ctx, base, "f", &CREATE).err(), Some(Errno::ROFS));
    let path = GuestPath::new(b"d")?;
    assert_eq!(ctx.create_directory(base, path), Err(Errno::ROFS));
    Ok(())
}

#[test]
fn no_path_goes_unchecked() {
    for (bytes, errno) in [
        (&b"\xff"[..], Errno::ILSEQ),
        (b"a\0", Errno::INVAL),
        (b"", Errno::NOENT),
        (&[b'a'; PATH_MAX], Errno::NAMETOOLONG),
    ] {
        assert_eq!(GuestPath::new(bytes), Err(errno));
    }
    assert!(GuestPath::new(&[b'a'; PATH_MAX - 1]).is_ok());
}

#[test]
fn one_wait_is_for_times_and_sources() -> TestResult {
    let system = TestSystem {
        stdin: [Stdin::Pause(30), Stdin::Bytes(b"ab".to_vec())].into(),
        ..TestSystem::default()
    };
    let (mut ctx, _) = guest(Permission::ReadOnly, system)?;
    let start = ctx.now();
    let alarm = Alarm {
        clock: Clock::Monotonic,
        timeout: 20,
        absolute: false,
    };
    let wait = |ctx: &mut Ctx| -> Result<_, Errno> {
        let mut set = WaitSet::default();
        set.add_source(Source::Stdin);
        set.add_time(ctx.until(alarm, start)?);
        ctx.wait(&mut set);
        Ok((ctx.until(alarm, start)?, set.readiness(Source::Stdin)?))
    };
    assert_eq!(wait(&mut ctx)?, (0, Readiness::NotReady), "the alarm is first");
    ctx.system.pass(10);
    let ready = Readiness::Ready {
        bytes: 2,
        hangup: false,
    };
    ctx.system.stdin.pop_front();
    assert_eq!(wait(&mut ctx)?, (0, ready), "both have happened");
    assert_eq!(ctx.system.polls, [Some(20), Some(0)]);

    let mut set = WaitSet::default();
    set.add_time(5);
    ctx.wait(&mut set);
    assert_eq!(ctx.system.sleeps, [5], "nothing but time is a sleep");
    Ok(())
}
