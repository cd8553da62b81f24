//! An HTTP server with `hyper_wasi` on `tokio_wasi`. The argument is the address to listen at. `GET /` greets,
//! `POST /echo` sends back what it gets, `GET /end` ends the program.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::server::conn::Http;
use hyper::service::service_fn;
use hyper::{Body, Method, Request, Response, StatusCode};
use tokio::net::TcpListener;

/// Whether it was asked to end.
static END: AtomicBool = AtomicBool::new(false);

async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::from("hello\n"));
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => {}
        (&Method::GET, "/end") => END.store(true, Ordering::Relaxed),
        (&Method::POST, "/echo") => *response.body_mut() = request.into_body(),
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = std::env::args().nth(1).expect("an address").parse()?;
    let listener = TcpListener::bind(address).await?;
    println!("listening");
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = async move {
            let served = Http::new().serve_connection(stream, service_fn(answer)).await;
            if let Err(error) = served {
                eprintln!("{error}");
            }
            if END.load(Ordering::Relaxed) {
                std::process::exit(0);
            }
        };
        tokio::task::spawn(connection);
    }
}
