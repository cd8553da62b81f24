//! Tells which proposal a module needs that the interpreter lacks.
//!
//! Layer: pure; from the interpreter's messages. What is no module at all: `boot_protocol::file_kind`.

/// The WebAssembly proposal that a validation error is about, if the interpreter lacks it.
///
/// The interpreter's errors are text only; the words come from its parser's messages, and a test holds one module
/// per proposal against them.
#[must_use]
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn missing_proposal(error: &str) -> Option<&'static str> {
    // The first that fits counts.
    const WORDS: [(&str, &str); 19] = [
        ("shared-everything", "shared-everything threads"),
        ("acquire-release", "shared-everything threads"),
        ("stack switching", "stack switching"),
        ("continuation", "stack switching"),
        ("custom descriptor", "custom descriptors"),
        ("shared", "threads"),
        ("thread", "threads"),
        ("atomic", "threads"),
        ("exception", "exception handling"),
        ("simd", "SIMD"),
        ("memory64", "memory64"),
        ("multibyte array", "garbage collection"),
        ("gc ", "garbage collection"),
        ("`gc`", "garbage collection"),
        ("function references", "typed function references"),
        ("function-references", "typed function references"),
        ("wide arithmetic", "wide arithmetic"),
        ("page size", "custom page sizes"),
        ("memory control", "memory control"),
    ];
    let error = error.to_ascii_lowercase();
    let about_support = [
        "enabled",
        "support",
        "require",
        "proposal",
        "disallowed",
        "disabled",
    ]
    .iter()
    .any(|word| error.contains(word));
    if !about_support {
        return None;
    }
    WORDS
        .iter()
        .find(|(word, _)| error.contains(word))
        .map(|(_, proposal)| *proposal)
}
