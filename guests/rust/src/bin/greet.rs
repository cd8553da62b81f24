//! Greets and shows what the program was given: arguments, environment, directories, standard input, the time.
//!
//! The image runs this when it is given no module, so it is small: no standard library, no formatting machinery.
#![no_std]
#![no_main]

use core::arch::wasm32;

use guests::{STDIN, STDOUT, write_all};
use wasip1::Errno;

// The C run time's start-up code needs the C library, which the standard library would have brought along.
#[link(name = "c")]
unsafe extern "C" {}

/// WebAssembly's page size.
const PAGE: usize = 65_536;

/// Called by the C run time's `_start`.
#[unsafe(no_mangle)]
extern "C" fn __main_void() -> i32 {
    match greet() {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    wasm32::unreachable()
}

fn greet() -> Result<(), Errno> {
    put("Hello from WebAssembly on Hermit!\n")?;
    // SAFETY: `args_get` fills as many pointers and bytes as `args_sizes_get` told, which is what `strings` provides.
    unsafe {
        let (count, size) = wasip1::args_sizes_get()?;
        strings("arguments", count, size, |table, bytes| {
            wasip1::args_get(table, bytes)
        })?;
        let (count, size) = wasip1::environ_sizes_get()?;
        strings("environment", count, size, |table, bytes| {
            wasip1::environ_get(table, bytes)
        })?;
    }
    directories()?;
    input()?;
    time()
}

/// Prints a list of strings that `fill` writes in WASI's way: a table of pointers, and the bytes with a NUL each.
///
/// # Safety
/// `fill` must write exactly `count` pointers and `size` bytes, each pointer into the bytes.
unsafe fn strings(
    what: &str,
    count: usize,
    size: usize,
    fill: impl FnOnce(*mut *mut u8, *mut u8) -> Result<(), Errno>,
) -> Result<(), Errno> {
    put(what)?;
    if count == 0 {
        return put(": none\n");
    }
    put(":\n")?;
    let table = count
        .checked_mul(size_of::<*mut u8>())
        .ok_or(wasip1::ERRNO_NOMEM)?;
    let memory = fresh_memory(table.checked_add(size).ok_or(wasip1::ERRNO_NOMEM)?)?;
    let (table, bytes) = memory.split_at_mut(table);
    let start = bytes.as_ptr().addr();
    fill(table.as_mut_ptr().cast(), bytes.as_mut_ptr())?;
    for pointer in table.chunks_exact(size_of::<*mut u8>()) {
        let address = pointer.try_into().map(usize::from_ne_bytes).unwrap_or_default();
        let rest = bytes.get(address.wrapping_sub(start)..).unwrap_or_default();
        put("  ")?;
        write_all(STDOUT, rest.split(|byte| *byte == 0).next().unwrap_or_default())?;
        put("\n")?;
    }
    Ok(())
}

/// Prints the names of the directories that were opened for the program.
fn directories() -> Result<(), Errno> {
    put("directories:")?;
    let mut any = false;
    // They have the descriptors after standard error's, without a gap.
    for fd in 3.. {
        // SAFETY: the call has no preconditions. A preopened descriptor is always a directory's in preview 1, so
        // the union holds `dir`.
        let length = unsafe {
            match wasip1::fd_prestat_get(fd) {
                Ok(prestat) => prestat.u.dir.pr_name_len,
                Err(_) => break,
            }
        };
        let name = fresh_memory(length)?;
        // SAFETY: `name` has the length that is passed.
        unsafe { wasip1::fd_prestat_dir_name(fd, name.as_mut_ptr(), length) }?;
        put(if any { ", " } else { " " })?;
        write_all(STDOUT, name)?;
        any = true;
    }
    put(if any { "\n" } else { " none\n" })
}

/// Prints whether standard input has something to read now, without waiting.
fn input() -> Result<(), Errno> {
    let subscriptions = [
        wasip1::Subscription {
            userdata: 0,
            u: wasip1::SubscriptionU {
                tag: wasip1::EVENTTYPE_FD_READ.raw(),
                u: wasip1::SubscriptionUU {
                    fd_read: wasip1::SubscriptionFdReadwrite {
                        file_descriptor: STDIN,
                    },
                },
            },
        },
        wasip1::Subscription {
            userdata: 1,
            u: wasip1::SubscriptionU {
                tag: wasip1::EVENTTYPE_CLOCK.raw(),
                u: wasip1::SubscriptionUU {
                    clock: wasip1::SubscriptionClock {
                        id: wasip1::CLOCKID_MONOTONIC,
                        timeout: 0,
                        precision: 0,
                        flags: 0,
                    },
                },
            },
        },
    ];
    let mut events = [const { core::mem::MaybeUninit::<wasip1::Event>::uninit() }; 2];
    // SAFETY: there is room for as many events as there are subscriptions.
    let count = unsafe {
        wasip1::poll_oneoff(
            subscriptions.as_ptr(),
            events.as_mut_ptr().cast(),
            subscriptions.len(),
        )
    }?;
    put("standard input: ")?;
    for event in events.iter().take(count) {
        // SAFETY: the call has written the first `count` events.
        let event = unsafe { event.assume_init_ref() };
        if event.userdata == 0 {
            let ended = event.fd_readwrite.flags & wasip1::EVENTRWFLAGS_FD_READWRITE_HANGUP != 0
                && event.fd_readwrite.nbytes == 0;
            return put(if ended { "at its end\n" } else { "has data\n" });
        }
    }
    put("nothing yet\n")
}

/// Prints the time of day in seconds.
fn time() -> Result<(), Errno> {
    // SAFETY: the call has no preconditions.
    let now = unsafe { wasip1::clock_time_get(wasip1::CLOCKID_REALTIME, 1_000_000_000) }?;
    put("seconds since 1970: ")?;
    let mut digits = [0; 20];
    let mut rest = now / 1_000_000_000;
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    write_all(STDOUT, digits.get(digits.len() - used..).unwrap_or_default())?;
    put("\n")
}

fn put(text: &str) -> Result<(), Errno> {
    write_all(STDOUT, text.as_bytes())
}

/// New zeroed memory of at least one page, never given back: the program is about to end.
fn fresh_memory(size: usize) -> Result<&'static mut [u8], Errno> {
    let page = wasm32::memory_grow(0, size.div_ceil(PAGE));
    if page == usize::MAX {
        return Err(wasip1::ERRNO_NOMEM);
    }
    // SAFETY: the pages from `page` on are new, so nothing else refers to them, they hold zeros, and there are at
    // least `size` bytes of them.
    Ok(unsafe { core::slice::from_raw_parts_mut((page * PAGE) as *mut u8, size) })
}
