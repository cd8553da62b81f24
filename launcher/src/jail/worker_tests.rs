//! Tests of the child that only computes: what it answers, what it cannot do, and how it ends.

use super::*;
use std::fs;
use std::hint::black_box;

use crate::Interrupt;

const MIB: u64 = 1 << 20;

const BUDGET: Budget = Budget {
    memory: 64 * MIB,
    answer: 4 * MIB,
};

/// Does `work` without a deadline.
fn compute(work: impl FnOnce() -> Result<Vec<u8>, String>) -> Result<Result<Vec<u8>, String>, Failure> {
    super::compute(BUDGET, &Deadline::never(), work)
}

/// What the work says: true and false as bytes.
fn says(work: impl FnOnce() -> bool) -> bool {
    compute(|| Ok(vec![u8::from(work())])).unwrap().unwrap() == [1]
}

#[test]
fn the_answer_is_what_the_work_returns() {
    let text = "a text of this process's".to_string();
    let answer = compute(|| Ok(text.clone().into_bytes())).unwrap();
    assert_eq!(answer, Ok(text.into_bytes()));
    assert_eq!(compute(|| Ok(Vec::new())).unwrap(), Ok(Vec::new()));
    assert_eq!(
        compute(|| Err("wrong".to_string())).unwrap(),
        Err("wrong".to_string())
    );
    let long: Vec<u8> = (0..=255).cycle().take(4 << 20).collect();
    assert!(compute(|| Ok(long.clone())).unwrap().unwrap() == long);
    assert!(matches!(
        compute(|| Ok(vec![0; (4 << 20) + 1])),
        Err(Failure::TooLong)
    ));
}

#[test]
fn memory_ends_at_the_budget() {
    // All of it can be had, in pieces and at once.
    assert!(says(|| {
        let pieces: Vec<Vec<u8>> = (0..50).map(|_| black_box(vec![1; 1 << 20])).collect();
        pieces.len() == 50
    }));
    assert!(says(|| black_box(vec![1u8; 50 << 20]).len() == 50 << 20));
    // And not more.
    let pieces = || {
        let pieces: Vec<Vec<u8>> = (0..10_000).map(|_| black_box(vec![1; 1 << 16])).collect();
        Ok(vec![u8::from(pieces.is_empty())])
    };
    assert!(matches!(compute(pieces), Err(Failure::Memory)));
    let at_once = || Ok(vec![black_box(vec![1u8; 80 << 20])[5]]);
    assert!(matches!(compute(at_once), Err(Failure::Memory)));
    let words = || panic!("out of memory");
    assert!(matches!(compute(words), Err(Failure::Memory)));
}

#[test]
fn a_panic_and_a_crash_are_failures_and_print_nothing() {
    let panics = || panic!("on purpose");
    assert!(matches!(compute(panics), Err(Failure::Crashed(how)) if how == "it panicked"));
    let unwinds = || std::panic::resume_unwind(Box::new(5));
    assert!(matches!(compute(unwinds), Err(Failure::Crashed(_))));
    fn deeper(depth: u64) -> u64 {
        black_box([depth; 100])[5] + if depth == 0 { 0 } else { deeper(depth + 1) }
    }
    let overflows = || Ok(vec![u8::from(deeper(1) == 1)]);
    assert!(matches!(compute(overflows), Err(Failure::Crashed(how)) if how.starts_with("signal")));
}

/// A system call that uses a descriptor, or does not.
type Call = fn(RawFd) -> libc::c_long;

#[test]
fn nothing_of_the_host_can_be_reached() {
    let directory = tempfile::tempdir().unwrap();
    let file = fs::File::create(directory.path().join("file")).unwrap();
    let number = file.as_raw_fd();
    // SAFETY: each of these is a system call with plain numbers or valid pointers; whatever it answers is looked at
    // only.
    let calls: [(&str, Call); 12] = unsafe {
        [
            ("open", |_| libc::open(c"/".as_ptr(), libc::O_RDONLY).into()),
            ("write", |file| {
                libc::write(file, c"x".as_ptr().cast(), 1).try_into().unwrap()
            }),
            ("write to stderr", |_| {
                libc::write(2, c"x".as_ptr().cast(), 1).try_into().unwrap()
            }),
            ("fstat", |file| libc::lseek(file, 0, libc::SEEK_SET)),
            ("socket", |_| {
                libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).into()
            }),
            ("fork", |_| {
                libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)
            }),
            ("kill", |_| libc::kill(libc::getppid(), 0).into()),
            ("tgkill", |_| libc::syscall(libc::SYS_tgkill, 1, 1, 0)),
            ("ptrace", |_| libc::syscall(libc::SYS_ptrace, 0, 0, 0, 0)),
            ("mmap to execute", |_| {
                map(libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE)
            }),
            ("shared mmap", |_| {
                map(libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)
            }),
            ("setrlimit", |_| libc::syscall(libc::SYS_prlimit64, 0, 0, 0, 0)),
        ]
    };
    for (name, call) in calls {
        // The parent can, or at least is not told EPERM by the filter.
        let allowed = says(|| call(number) != -1);
        assert!(!allowed, "{name}");
    }
    assert_eq!(file.metadata().unwrap().len(), 0);
    assert!(says(
        || fs::read("/proc/self/status").is_err() && std::env::current_dir().is_err()
    ));
}

fn map(protection: libc::c_int, flags: libc::c_int) -> libc::c_long {
    // SAFETY: a new mapping at a place that the system chooses.
    let place = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            protection,
            flags | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if place == libc::MAP_FAILED { -1 } else { 0 }
}

#[test]
fn work_that_does_not_end_ends_with_the_run() {
    let forever = || -> Result<Vec<u8>, String> {
        loop {
            black_box(());
        }
    };
    let soon = Deadline::since(Instant::now(), Duration::from_millis(50));
    assert!(matches!(
        super::compute(BUDGET, &soon, forever),
        Err(Failure::Over(Error::Timeout { .. }))
    ));
    let interrupt = Interrupt::new().unwrap();
    let deadline = Deadline::never().interrupt(interrupt.clone());
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        interrupt.stop();
    });
    assert!(matches!(
        super::compute(BUDGET, &deadline, forever),
        Err(Failure::Over(Error::Stopped(_)))
    ));
    stopper.join().unwrap();
}

/// Threads that allocate and panic meanwhile: locks that they hold are no trouble.
#[test]
fn a_busy_process_can_compute() {
    let busy = || {
        std::thread::spawn(|| {
            for number in 0..20_000usize {
                black_box(vec![number; number % 1000]);
            }
        })
    };
    let threads = [busy(), busy(), busy()];
    for number in 0..50u8 {
        let work = || Ok((0..100).map(|_| black_box(vec![number; 1000])[7]).collect());
        assert_eq!(compute(work).unwrap(), Ok(vec![number; 100]));
    }
    for thread in threads {
        thread.join().unwrap();
    }
}
