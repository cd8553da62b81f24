//! Yields the processor a thousand times; with one thread that is simply survived.

fn main() {
    (0..1000).for_each(|_| std::thread::yield_now());
    println!("yielded");
}
