//! Says hello through Rust's standard library.

fn main() {
    println!("Hello from Rust!");
}
