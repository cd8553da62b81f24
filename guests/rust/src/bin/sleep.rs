//! Sleeps and measures how long it took. Arguments: how many milliseconds, how often.

use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|number| number.parse::<u64>().expect("a number"));
    let duration = Duration::from_millis(arguments.next().expect("milliseconds"));
    for _ in 0..arguments.next().unwrap_or(1) {
        let start = Instant::now();
        std::thread::sleep(duration);
        let took = start.elapsed();
        // Loose above: the host may be busy.
        let right = took >= duration && took < duration + Duration::from_secs(2);
        println!(
            "slept: {}",
            if right {
                "about right".to_owned()
            } else {
                format!("{took:?} instead of {duration:?}")
            }
        );
    }
}
