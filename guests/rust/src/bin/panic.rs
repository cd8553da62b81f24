//! Panics: a message on standard error, then a trap.

fn main() {
    println!("before");
    panic!("this guest panics on purpose");
}
