//! A key-value store behind HTTP: hyper on tokio, at the listener that it was given; the values are in a Redis.
//!
//! | request | answer |
//! |---|---|
//! | `GET /KEY` | 200 and the value; 404 |
//! | `PUT /KEY` | 201, or 204 if there was one before |
//! | `DELETE /KEY` | 204; 404 |
//! | `GET /` | 200 and the keys, one a line, sorted |
//!
//! 502 says that Redis did not answer in time: within 900 ms, so that a client has an answer within a second.
//! Usage: http-kv [REDIS:PORT [MILLISECONDS]]

mod redis;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use network_guests::given_to_tokio;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::redis::{Failure, Redis};

/// The hash in Redis that has all values.
const HASH: &str = "http-kv";

/// The longest value, in bytes.
const LONGEST: usize = 1 << 20;

/// Connections at a time. Further ones wait to be accepted.
const CONNECTIONS: usize = 256;

/// How long a client may take to send a request's head.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent back.
type Answer = Response<Full<Bytes>>;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| runtime.block_on(serve()));
    if let Err(error) = ended {
        eprintln!("http-kv: {error}");
        std::process::exit(1);
    }
}

/// Answers until the listener fails.
async fn serve() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "redis:6379".into());
    let milliseconds = arguments.next().and_then(|number| number.parse().ok());
    let patience = Duration::from_millis(milliseconds.unwrap_or(900));
    let redis = Arc::new(Redis::new(name, patience));
    let listener = given_to_tokio()?;
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    eprintln!("http-kv: ready");
    loop {
        let place = Arc::clone(&room).acquire_owned().await;
        let (stream, _) = listener.accept().await?;
        let redis = Arc::clone(&redis);
        tokio::spawn(async move {
            let _place = place;
            converse(stream, redis).await;
        });
    }
}

/// Answers what one client asks.
async fn converse(stream: TcpStream, redis: Arc<Redis>) {
    let service = service_fn(move |request| {
        let redis = Arc::clone(&redis);
        async move { Ok::<_, Infallible>(answer(request, &redis).await) }
    });
    // A client that goes away is no concern of the others.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The answer to one request.
async fn answer(request: Request<Incoming>, redis: &Redis) -> Answer {
    match act(request, redis).await {
        Ok(answer) => answer,
        Err(failure) => {
            eprintln!("http-kv: {failure}");
            text(StatusCode::BAD_GATEWAY, "Redis does not answer.\n")
        }
    }
}

/// Does what a request asks for.
async fn act(request: Request<Incoming>, redis: &Redis) -> Result<Answer, Failure> {
    let (head, body) = request.into_parts();
    let key = head.uri.path().trim_start_matches('/').to_owned();
    match (&head.method, key.as_str()) {
        (&Method::GET, "") => {
            let mut keys = redis.list(&["HKEYS", HASH]).await?;
            keys.sort_unstable();
            Ok(bytes(StatusCode::OK, lines(&keys)))
        }
        (&Method::GET, key) => Ok(match redis.bytes(&["HGET", HASH, key]).await? {
            Some(value) => bytes(StatusCode::OK, value),
            None => text(StatusCode::NOT_FOUND, "There is no such key.\n"),
        }),
        (&Method::PUT, key) if !key.is_empty() => {
            let Ok(value) = Limited::new(body, LONGEST).collect().await else {
                return Ok(text(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "A value has at most 1 MiB.\n",
                ));
            };
            let words = [b"HSET", HASH.as_bytes(), key.as_bytes(), &value.to_bytes()];
            Ok(empty(match redis.number(&words).await? {
                0 => StatusCode::NO_CONTENT,
                _ => StatusCode::CREATED,
            }))
        }
        (&Method::DELETE, key) if !key.is_empty() => Ok(match redis.number(&["HDEL", HASH, key]).await? {
            0 => text(StatusCode::NOT_FOUND, "There is no such key.\n"),
            _ => empty(StatusCode::NO_CONTENT),
        }),
        _ => {
            let mut answer = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "GET, PUT or DELETE a key, or GET /.\n",
            );
            let known = HeaderValue::from_static("GET, PUT, DELETE");
            answer.headers_mut().insert(ALLOW, known);
            Ok(answer)
        }
    }
}

/// Keys, each with the end of a line.
fn lines(keys: &[Bytes]) -> Bytes {
    keys.iter()
        .flat_map(|key| [key.as_ref(), b"\n"])
        .flatten()
        .copied()
        .collect()
}

/// An answer without a body.
fn empty(status: StatusCode) -> Answer {
    bytes(status, Bytes::new())
}

/// An answer with a sentence.
fn text(status: StatusCode, words: &'static str) -> Answer {
    let mut answer = bytes(status, Bytes::from_static(words.as_bytes()));
    let kind = HeaderValue::from_static("text/plain");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// An answer with these bytes.
fn bytes(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer
}
