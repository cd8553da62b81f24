//! Reads standard input line by line and answers each at once, as a dialogue does.

use std::io::{BufRead, Write};

fn main() {
    let mut sum = 0i64;
    print!("> ");
    std::io::stdout().flush().expect("flushing works");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the input is UTF-8");
        match line.trim().parse::<i64>() {
            Ok(number) => {
                sum += number;
                print!("sum {sum}\n> ");
            }
            Err(error) => print!("'{line}': {error}\n> "),
        }
        std::io::stdout().flush().expect("flushing works");
    }
    println!("end, sum {sum}");
}
