//! Tests of the `fd_*` calls.

mod stream_io;
mod streams;
