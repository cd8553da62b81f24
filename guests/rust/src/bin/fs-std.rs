//! Rust's standard library on a tree: walking, reading, copying, renaming, metadata, removing all of it.
//!
//! The argument `above` shows what leads out of the tree instead.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

fn main() -> std::io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("above") {
        let errno = fs::read("/tree/../etc/passwd")
            .err()
            .and_then(|error| error.raw_os_error());
        println!("above: {}", guests::errno_name(errno.unwrap_or(0)));
        return Ok(());
    }
    println!("the tree that was given");
    walk(Path::new("/tree"), 1)?;
    println!("{:?}", fs::read_to_string("/tree/file.txt")?);
    println!("{:?}", fs::read_to_string("/tree/link")?);
    println!("{:?}", fs::read_link("/tree/link")?);

    println!("a tree of its own");
    fs::create_dir_all("/tree/a/b/c")?;
    fs::create_dir_all("/tree/a/b/c")?;
    let mut writer = BufWriter::new(File::create("/tree/a/b/lines")?);
    for number in 0..10_000 {
        writeln!(writer, "line {number}")?;
    }
    writer.into_inner()?.sync_all()?;
    let lines = BufReader::new(File::open("/tree/a/b/lines")?).lines();
    println!(
        "{} lines, {} bytes",
        lines.count(),
        fs::metadata("/tree/a/b/lines")?.len()
    );
    println!("copied {}", fs::copy("/tree/a/b/lines", "/tree/a/b/c/copy")?);
    println!(
        "equal: {}",
        fs::read("/tree/a/b/lines")? == fs::read("/tree/a/b/c/copy")?
    );
    fs::rename("/tree/a/b/c/copy", "/tree/a/copy")?;
    fs::hard_link("/tree/a/copy", "/tree/a/second")?;
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .open("/tree/a/second")?;
    file.write_all(b"appended")?;
    file.seek(SeekFrom::End(-8))?;
    let mut end = String::new();
    file.read_to_string(&mut end)?;
    println!("{end}");
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    file.set_modified(time)?;
    println!("kept: {}", fs::metadata("/tree/a/copy")?.modified()? == time);
    file.set_len(12)?;
    println!("{:?}", fs::read_to_string("/tree/a/copy")?);
    walk(Path::new("/tree/a"), 1)?;

    println!("errors");
    for (what, result) in [
        ("open nothing", File::open("/tree/nothing").map(drop)),
        ("open below a file", File::open("/tree/file.txt/x").map(drop)),
        (
            "create what is there",
            File::create_new("/tree/file.txt").map(drop),
        ),
        ("create a directory that is there", fs::create_dir("/tree/a")),
        ("create below nothing", fs::create_dir("/tree/nothing/x")),
        ("remove a full directory", fs::remove_dir("/tree/a")),
        ("remove a file as a directory", fs::remove_dir("/tree/file.txt")),
        ("list a file", fs::read_dir("/tree/file.txt").map(drop)),
        ("read a directory", fs::read("/tree/a").map(drop)),
        ("write a directory", fs::write("/tree/a", "")),
    ] {
        let errno = result.err().and_then(|error| error.raw_os_error());
        println!("{what}: {}", guests::errno_name(errno.unwrap_or(0)));
    }
    // Which error it is depends on the C library's version.
    println!("outside of all directories: {}", fs::read("/etc/passwd").is_err());

    println!("removed");
    fs::remove_file("/tree/a/second")?;
    fs::remove_dir_all("/tree/a")?;
    println!("{}", fs::exists("/tree/a")?);
    Ok(())
}

/// Prints a tree, sorted.
fn walk(directory: &Path, depth: usize) -> std::io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (kind, name) = (entry.file_type()?, entry.file_name());
        let stat = entry.metadata()?;
        let what = if kind.is_dir() {
            "directory".into()
        } else if kind.is_symlink() {
            "link".into()
        } else {
            format!("{} bytes", stat.len())
        };
        println!("{}{}: {what}", "    ".repeat(depth), name.display());
        if kind.is_dir() {
            walk(&entry.path(), depth + 1)?;
        }
    }
    Ok(())
}
