//! A client of Redis with `redis_wasi`: stores, reads, counts and removes. The argument is the server's URL,
//! `redis://NAME:PORT/`.

use redis::{Commands as _, RedisResult};

fn main() -> RedisResult<()> {
    let url = std::env::args().nth(1).expect("redis://NAME:PORT/");
    let mut connection = redis::Client::open(url)?.get_connection()?;
    // More than a segment takes, and than a buffer.
    let long = "0123456789abcdef".repeat(64 << 10);
    let () = connection.set("hermit", &long)?;
    let stored: String = connection.get("hermit")?;
    println!(
        "{} bytes, {}",
        stored.len(),
        if stored == long { "the same" } else { "others" }
    );
    let () = connection.del(&["hermit", "count"])?;
    let counted: Vec<u32> = (0..3)
        .map(|_| connection.incr("count", 1))
        .collect::<RedisResult<_>>()?;
    println!("{counted:?}");
    let missing: Option<String> = connection.get("hermit")?;
    println!("{missing:?}");
    Ok(())
}
