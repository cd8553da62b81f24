//! Tells all that differs from run to run and from host to host: clocks, random numbers, NaNs, and of the directory `/`
//! the order of entries, inode numbers and times. Of a deterministic run all of it is the same each time.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use guests::files::*;

fn main() {
    let start = Instant::now();
    let real = SystemTime::now();
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    println!("it is {} s since 1970", since(real).as_secs());
    thread::sleep(Duration::from_secs(100_000));
    println!(
        "slept {} s, by the other clock {} s",
        start.elapsed().as_secs(),
        real.elapsed().expect("it goes on").as_secs()
    );

    let mut random = [0; 16];
    // SAFETY: the buffer is valid for writes of its length.
    unsafe { wasip1::random_get(random.as_mut_ptr(), random.len()) }.expect("there are random numbers");
    println!("random: {random:02x?}");

    nans();
    directory();
    eprintln!("{} ns", start.elapsed().as_nanos());
}

/// Operations without a result that is a number: processors have signs and payloads of their own for each.
fn nans() {
    let [zero, nothing, one] = [0.0_f64, -0.0, 1.0].map(black_box);
    let [infinity, endless] = [f64::INFINITY; 2].map(black_box);
    let payload = black_box(f64::from_bits(0xfff0_1234_5678_9abc));
    let other = black_box(f64::from_bits(0x7ff8_0000_0000_0777));
    let doubles = [
        zero / nothing,
        infinity - endless,
        infinity * zero,
        (-one).sqrt(),
        payload + one,
        one - other,
        payload * other,
        other / payload,
        payload.floor(),
        other.ceil(),
        payload.sqrt(),
        f64::from(black_box(f32::from_bits(0xffc0_1234))),
    ];
    for value in doubles {
        println!("f64 {:016x}", black_box(value).to_bits());
    }
    let [zero, nothing, one] = [0.0_f32, -0.0, 1.0].map(black_box);
    let payload = black_box(f32::from_bits(0xff80_1234));
    let singles = [
        zero / nothing,
        payload * one,
        payload.trunc(),
        other as f32,
        (-one).sqrt(),
    ];
    for value in singles {
        println!("f32 {:08x}", black_box(value).to_bits());
    }
}

/// What is in `/`, in the order in which it is listed, and what becomes of a file that is written.
fn directory() {
    let show = |name: &str| {
        let stat = lstat(FIRST, name).unwrap();
        let [atim, mtim, ctim] = [stat.atim, stat.mtim, stat.ctim].map(|time| time / 1_000_000_000);
        println!(
            "{name}: device {}, inode {}, {} links, {} bytes, times {atim} {mtim} {ctim}",
            stat.dev, stat.ino, stat.nlink, stat.size
        );
    };
    let mut buffer = [0; 4096];
    let Ok(length) = readdir(FIRST, &mut buffer, 0) else {
        println!("no directory");
        return;
    };
    // What is above the directory is not told.
    for entry in entries(&buffer[..length]).filter(|entry| entry.name != b"..") {
        print!("listed with inode {}: ", entry.ino);
        show(&String::from_utf8_lossy(entry.name));
    }
    if put(FIRST, "written", "text").is_ok() {
        thread::sleep(Duration::from_secs(1_000));
        put(FIRST, "written", "longer text").unwrap();
        show("written");
        unlink(FIRST, "written").unwrap();
    }
}
