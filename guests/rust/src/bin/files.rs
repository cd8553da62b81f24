//! Does what its arguments say to files and directories, and prints what came: `files ls / , put /a text , cat /a`.
//! A failure is printed as the errno's name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    for words in args.split(|word| word == ",") {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let result = match act(&words) {
            Ok(text) => text,
            Err(error) => match error.raw_os_error() {
                Some(code) => guests::errno_name(code).to_owned(),
                None => error.to_string(),
            },
        };
        println!("{}: {result}", words.join(" "));
    }
}

fn act(words: &[&str]) -> io::Result<String> {
    let done = |()| "done".to_owned();
    match words {
        ["ls", directory] => list(directory),
        ["cat", file] => fs::read_to_string(file).map(|text| format!("{text:?}")),
        ["sum", file] => sum(file),
        ["copy", from, to] => fs::copy(from, to).map(|count| format!("{count} bytes")),
        ["put", file, text] => fs::write(file, text).map(done),
        ["new", file] => File::create_new(file).map(|_| "done".to_owned()),
        ["append", file, text] => {
            let mut file = OpenOptions::new().append(true).open(file)?;
            file.write_all(text.as_bytes())?;
            file.write_all(b"!").map(done)
        }
        ["truncate", file, size] => {
            let size = size.parse().expect("a size");
            OpenOptions::new().write(true).open(file)?.set_len(size).map(done)
        }
        ["sync", file] => OpenOptions::new().write(true).open(file)?.sync_all().map(done),
        ["touch", file] => {
            let now = std::time::SystemTime::now();
            OpenOptions::new()
                .write(true)
                .open(file)?
                .set_modified(now)
                .map(done)
        }
        ["stat", path] => fs::symlink_metadata(path).map(|found| describe(&found)),
        ["mkdir", directory] => fs::create_dir(directory).map(done),
        ["rm", file] => fs::remove_file(file).map(done),
        ["rmdir", directory] => fs::remove_dir(directory).map(done),
        ["mv", from, to] => fs::rename(from, to).map(done),
        ["ln", from, to] => fs::hard_link(from, to).map(done),
        ["readlink", link] => fs::read_link(link).map(|target| target.display().to_string()),
        _ => panic!("unknown command {words:?}"),
    }
}

fn list(directory: &str) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let mark = match (kind.is_dir(), kind.is_symlink()) {
            (true, _) => "/",
            (_, true) => "@",
            _ => "",
        };
        names.push(format!("{}{mark}", entry.file_name().to_string_lossy()));
    }
    names.sort();
    Ok(format!("[{}]", names.join(" ")))
}

fn describe(found: &fs::Metadata) -> String {
    if found.is_dir() {
        "directory".to_owned()
    } else if found.is_symlink() {
        "symbolic link".to_owned()
    } else {
        format!("file of {} bytes", found.len())
    }
}

/// Length and FNV-1a checksum of a file's words.
fn sum(file: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(file)?.read_to_end(&mut bytes)?;
    let sum = bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325_u64, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Ok(format!("{} bytes, {sum:016x}", bytes.len()))
}
