//! Writes to standard output and standard error in turn; each must arrive on its own stream, in order.

fn main() {
    for line in 0..200 {
        println!("out {line}");
        eprintln!("err {line}");
    }
}
