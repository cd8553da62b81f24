//! Tests of the `fd_*` calls.

mod attributes;
mod directories;
mod file_io;
mod stream_io;
mod streams;
mod table;
