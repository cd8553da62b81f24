//! How far the compilation is: functions that are compiled, of all that the module has.
//!
//! Cranelift tells whoever measures it where each step begins and ends. A function of the module is done when the step
//! `compile` ends that follows its translation on the same thread; what is compiled besides, between WebAssembly and
//! the host, has no translation.

use std::any::Any;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use aot_config::protocol::Message;
use cranelift_codegen::timing::{Pass, Profiler, set_thread_profiler};
use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};
use wasmparser::{Parser, Payload};

/// Functions that are compiled.
static DONE: AtomicU32 = AtomicU32::new(0);

/// How often progress is told.
const INTERVAL: Duration = Duration::from_millis(250);

thread_local! {
    /// Whether this thread has translated a function that it has not compiled yet.
    static TRANSLATED: Cell<bool> = const { Cell::new(false) };
}

struct Counter;

/// A function's compilation, which ends with this value.
struct Compilation;

impl Profiler for Counter {
    fn start_pass(&self, pass: Pass) -> Box<dyn Any> {
        match pass {
            Pass::wasm_translate_function => TRANSLATED.set(true),
            Pass::compile if TRANSLATED.replace(false) => return Box::new(Compilation),
            _ => {}
        }
        Box::new(())
    }
}

impl Drop for Compilation {
    fn drop(&mut self) {
        DONE.fetch_add(1, Ordering::Relaxed);
    }
}

/// Has so many threads compile, and counts on each of them.
pub(crate) fn on_each_thread(number: usize) -> Result<(), ThreadPoolBuildError> {
    ThreadPoolBuilder::new()
        .num_threads(number)
        .start_handler(|_| {
            set_thread_profiler(Box::new(Counter));
        })
        .build_global()
}

/// How many functions a module has, as it says itself.
pub(crate) fn functions(module: &[u8]) -> u32 {
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::CodeSectionStart { count, .. }) => return count,
            Ok(_) => {}
            // The compiler says what is wrong with it.
            Err(_) => break,
        }
    }
    0
}

/// Tells now and then how many of `all` functions are compiled, until the program ends.
pub(crate) fn report(all: u32) {
    let report = move || {
        let mut last = 0;
        loop {
            thread::sleep(INTERVAL);
            let done = DONE.load(Ordering::Relaxed);
            if done != last {
                last = done;
                super::say(&Message::Progress { done, all });
            }
        }
    };
    // Without it, it compiles all the same.
    let _ = thread::Builder::new().spawn(report);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_counted() {
        // Two types, an import, two functions with bodies.
        let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x07\x01\x01m\x01f\0\0\
            \x03\x03\x02\0\0\x0a\x07\x02\x02\0\x0b\x02\0\x0b";
        assert_eq!(functions(module), 2);
        assert_eq!(functions(b"\0asm\x01\0\0\0"), 0);
        assert_eq!(functions(b"nonsense"), 0);
        let threads = rayon::current_num_threads();
        assert!(threads > 0);
    }

    #[test]
    fn a_function_is_done_when_it_is_compiled_and_trampolines_do_not_count() {
        let counter = Counter;
        let before = DONE.load(Ordering::Relaxed);
        drop(counter.start_pass(Pass::compile));
        drop(counter.start_pass(Pass::wasm_translate_function));
        let under_way = counter.start_pass(Pass::compile);
        drop(counter.start_pass(Pass::regalloc));
        assert_eq!(DONE.load(Ordering::Relaxed), before);
        drop(under_way);
        drop(counter.start_pass(Pass::compile));
        assert_eq!(DONE.load(Ordering::Relaxed), before + 1);
    }
}
