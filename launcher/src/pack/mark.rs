//! The mark in this program that says whether a payload was packed behind it.
//!
//! It lies among the program's own data, without which it cannot run. So an executable whose end was cut off or damaged
//! still knows that it was one, and is not taken for the launcher alone.

use std::hint::black_box;

const LENGTH: usize = 40;

/// In a program alone. The last bytes are others in one that carries a payload; no single bit makes one of the other.
static MARK: [u8; LENGTH] = *b"hermit-wasm: a payload follows: 00000000";

/// How many bytes say it.
const SAYING: usize = 8;

/// The mark as it is in this program's file. The compiler must not know it: packing changes it.
fn own() -> &'static [u8; LENGTH] {
    black_box(&MARK)
}

/// Whether a payload was packed behind this program.
pub(super) fn is_set() -> bool {
    !own().ends_with(&[b'0'; SAYING])
}

/// Sets the mark in `program`, which is this one. `false`: it is none.
pub(super) fn set(program: &mut [u8]) -> bool {
    let windows = program.windows(LENGTH).enumerate();
    let mut places = windows.filter(|(_, bytes)| *bytes == own());
    let (Some((place, _)), None) = (places.next(), places.next()) else {
        return false;
    };
    let end = place + LENGTH;
    match program.get_mut(end - SAYING..end) {
        Some(bytes) => bytes.fill(b'1'),
        None => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_set_where_it_is() {
        assert!(!is_set());
        let mut program = [b"before".as_slice(), own(), b"behind"].concat();
        assert!(set(&mut program));
        assert!(program.ends_with(b"follows: 11111111behind"));
        assert!(!set(&mut program), "it has none any more");
        assert!(!set(&mut [&own()[..], own()].concat()), "which one?");
    }

    #[test]
    fn this_program_has_one() {
        let mut program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(set(&mut program));
    }
}
