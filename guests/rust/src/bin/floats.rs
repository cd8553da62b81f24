//! Floating-point arithmetic to the last digit: printing, parsing, rounding, special values.

/// Keeps the compiler from computing a result itself, which would show nothing of the machine.
use std::hint::black_box as run;

fn main() {
    println!("{} {} {}", run(0.1) + 0.2, run(1.0) / 3.0, run(1.0f32) / 3.0);
    println!("{} {} {:e}", f64::MAX, f64::MIN_POSITIVE, f64::from_bits(1));
    println!("{:.50}", run(0.1));
    println!(
        "{} {} {}",
        run(2f64).sqrt(),
        run(2f32).sqrt(),
        run(1e300f64) * 1e10
    );
    println!(
        "{:?} {:?} {:?}",
        run(0.0f64) / run(0.0),
        run(-0.0f64),
        run(f64::NEG_INFINITY).max(f64::NAN)
    );
    for value in [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5f64].map(run) {
        print!(
            "{} {} {} {} {}; ",
            value.floor(),
            value.ceil(),
            value.trunc(),
            value.round(),
            value.round_ties_even()
        );
    }
    println!();
    println!(
        "{} {} {}",
        run(1e20) as i32,
        run(f64::NAN) as u8,
        run(-1.5f32) as u64
    );
    println!(
        "{} {}",
        run("6.02214076e23").parse::<f64>().expect("a number"),
        run(16_777_217.0f64) as f32
    );
    println!(
        "{} {} {}",
        run(0.5f64).sin(),
        run(0.5f64).exp(),
        run(2.5f64).powf(3.5)
    );
    println!("{} {}", run(5e-324f64) / 2.0, run(f32::MAX) * 2.0);
}
