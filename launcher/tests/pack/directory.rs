//! Directories that payloads were unpacked into, packed again.

use super::{done, launcher, pack, refused, scratch};

#[test]
fn a_directory_says_all_that_is_packed() {
    let scratch = scratch();
    pack(&scratch, "a.tar", &["m.wat"]);
    done(&launcher(scratch.path(), &["unpack", "a.tar", "parts"]));
    for words in [
        &["--env", "A=1", "parts"][..],
        &["--tmpfs", "/t", "parts"],
        &["--invoke", "f", "parts"],
        &["--preload", "l=m.wat", "parts"],
        &["-W", "fuel=1", "parts"],
        &["-S", "inherit-env", "parts"],
        &["--argv0", "a", "parts"],
        &["--deterministic", "parts"],
        &["--engine", "native", "parts"],
        &["--cpu", "x86-64", "parts"],
        &["parts", "word"],
    ] {
        let words = [&["pack", "-o", "x"], words].concat();
        let output = launcher(scratch.path(), &words);
        refused(&output, 2, &["combined with a directory", "says it all"]);
    }
    assert!(!scratch.path().join("x").exists());
}
