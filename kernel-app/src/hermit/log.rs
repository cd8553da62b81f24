//! The application's own messages: lines of text on the console, outside of frames.

use alloc::format;

use boot_protocol::run_spec::LogLevel;
use boot_protocol::shown;
use log::{LevelFilter, Log, Metadata, Record};

use super::console::write_line;

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = shown::message(format!("{}", record.args()));
            write_line(format!("[app][{}] {text}\n", record.level()).as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Prints messages of `level` and above from now on.
pub(crate) fn init(level: LogLevel) {
    let level = match level {
        LogLevel::Off => LevelFilter::Off,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    };
    // Fails only where the logger is set already: this is the one place that sets one.
    let _ = log::set_logger(&Logger);
    log::set_max_level(level);
}
