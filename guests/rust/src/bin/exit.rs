//! Prints a line and ends with the exit code that its first argument names, all 32 bits of it.

fn main() {
    let code = std::env::args()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("an exit code as the argument");
    println!("exiting with {code}");
    // SAFETY: the call has no preconditions; nothing is left to be dropped.
    unsafe { wasip1::proc_exit(code) }
}
