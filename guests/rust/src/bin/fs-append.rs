//! `append`: several descriptors that write at the end, wherever that is by then; setting and clearing the flag.

use guests::files::*;
use guests::{show, value};

fn main() {
    let append = |path: &str| open_with(FIRST, FOLLOW, path, CREAT, BOTH, APPEND);
    let (a, b) = (append("log").unwrap(), append("log").unwrap());
    let plain = open(FIRST, "log", 0, BOTH).unwrap();
    for round in 0..3 {
        write(a, format!("a{round} ")).unwrap();
        write(b, format!("b{round} ")).unwrap();
    }
    content("in turns");
    value!(tell(a));
    value!(tell(b));
    value!(write(plain, "XX"));
    content("overwritten without append");
    value!(seek(a, 0));
    value!(write(a, "end "));
    value!(tell(a));
    content("after seeking to the beginning");
    let mut buffer = [0; 4];
    value!(seek(a, 3));
    value!(read(a, &mut buffer));
    println!("read at 3: {}", buffer.escape_ascii());
    show!(set_size(plain, 2)).unwrap();
    value!(write(b, "|after truncation"));
    content("truncated");
    println!("the flag taken away and set");
    show!(set_flags(b, 0)).unwrap();
    value!(seek(b, 0));
    value!(write(b, "__"));
    show!(set_flags(plain, APPEND)).unwrap();
    value!(seek(plain, 0));
    value!(write(plain, "!"));
    content("in the end");
    // Positioned writing.
    show!(set_flags(plain, 0)).unwrap();
    value!(pwrite(plain, "P", 1));
    content("at 1");
    value!(tell(plain));
    let reader = open_with(FIRST, FOLLOW, "log", 0, READ, APPEND).unwrap();
    value!(write(reader, "no"));
}

fn content(what: &str) {
    let mut buffer = [0; 128];
    println!(
        "    {what}: {}",
        get(FIRST, "log", &mut buffer).unwrap().escape_ascii()
    );
}
