//! Sends back what it is sent: tokio, as in its own documentation, at the listener that it was given.
//!
//! Usage: tokio-echo [CONNECTIONS]: ends after so many, and says how much memory it has and could still take by then, in
//! MiB.

use std::io;

use network_guests::given_to_tokio;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve())?;
    println!("tokio-echo: {} MiB", all_memory());
    Ok(())
}

/// Takes all memory that there is; how much it is then, in MiB.
fn all_memory() -> usize {
    // Sixteen pages of 64 KiB.
    while core::arch::wasm32::memory_grow::<0>(16) != usize::MAX {}
    core::arch::wasm32::memory_size::<0>() / 16
}

/// Accepts as many connections as were asked for, and ends when all have ended.
async fn serve() -> io::Result<()> {
    let most = std::env::args().nth(1).and_then(|number| number.parse().ok());
    let listener = given_to_tokio()?;
    eprintln!("tokio-echo: ready");
    let mut connections = JoinSet::new();
    for _ in 0..most.unwrap_or(usize::MAX) {
        let (stream, _) = listener.accept().await?;
        connections.spawn(echo(stream));
        while connections.try_join_next().is_some() {}
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// One connection, until the client has sent all.
async fn echo(mut stream: TcpStream) -> io::Result<u64> {
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await
}
