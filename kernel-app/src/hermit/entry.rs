//! The symbol that the kernel calls: C's `main`, turned into owned strings at once.

use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};

use super::platform;

/// The application's entry. Called once by the kernel's first task.
///
/// # Safety
/// `argv` points to `argc` C strings, `envp` to C strings that a null pointer ends; both live as long as the machine.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(argc: i32, argv: *const *const c_char, envp: *const *const c_char) -> i32 {
    let argc = usize::try_from(argc).unwrap_or(0);
    let arguments: Vec<String> = (1..argc)
        // SAFETY: the kernel promises `argc` C strings; `index` stays below it.
        .map(|index| unsafe { owned(*argv.add(index)) })
        .collect();
    let mut environment = Vec::new();
    let mut entry = envp;
    // SAFETY: the kernel promises an array that a null pointer ends, and the loop stops there.
    while let Some(variable) = unsafe { entry.as_ref() }.filter(|variable| !variable.is_null()) {
        // SAFETY: each entry before the null pointer is a C string.
        let text = unsafe { owned(*variable) };
        if let Some((name, value)) = text.split_once('=') {
            environment.push((String::from(name), String::from(value)));
        }
        // SAFETY: this entry was not the last, so the next one exists.
        entry = unsafe { entry.add(1) };
    }
    platform::main(&arguments, &environment)
}

/// The string at `text`; bytes that are not UTF-8 are replaced (the kernel only passes UTF-8).
///
/// # Safety
/// `text` is a C string.
unsafe fn owned(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
