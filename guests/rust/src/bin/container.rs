//! What a container's guest can see and do, as its arguments say, one after the other: `say:TEXT`, `complain:TEXT` (to
//! standard error), `env:NAME`, `cat:PATH`, `list:PATH`, `write:PATH=TEXT`, `tty`, `hold:MIB` (of memory, until its end),
//! `sleep:SECONDS`, `exit:CODE`. What fails is told, and is no end.

use std::io::IsTerminal as _;
use std::time::Duration;
use std::{env, fs, io, process, thread};

fn main() {
    let mut held = Vec::new();
    for argument in env::args().skip(1) {
        let (what, value) = argument.split_once(':').unwrap_or((&argument, ""));
        match what {
            "say" => println!("{value}"),
            "complain" => eprintln!("{value}"),
            "env" => println!("{value} is {:?}", env::var(value).ok()),
            "cat" => told(&argument, fs::read_to_string(value).map(|text| print!("{text}"))),
            "list" => told(&argument, list(value)),
            "write" => {
                let (path, text) = value.split_once('=').unwrap_or((value, ""));
                told(
                    &argument,
                    fs::write(path, format!("{text}\n")).map(|()| println!("written")),
                );
            }
            "tty" => println!(
                "terminals: {} {} {}",
                io::stdin().is_terminal(),
                io::stdout().is_terminal(),
                io::stderr().is_terminal()
            ),
            "hold" => held.push(vec![1_u8; number(value) << 20]),
            "sleep" => thread::sleep(Duration::from_secs(number(value) as u64)),
            "exit" => process::exit(number(value) as i32),
            _ => panic!("{argument} is nothing to do"),
        }
    }
    // So that no compiler leaves them out.
    if held.iter().any(|part| part.is_empty()) {
        println!("nothing is held");
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("'{text}' is no number"))
}

fn list(path: &str) -> io::Result<()> {
    let names: io::Result<Vec<_>> = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect();
    let mut names = names?;
    names.sort();
    println!("{}", names.join(" "));
    Ok(())
}

fn told(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        println!("{what}: {:?}", error.kind());
    }
}
