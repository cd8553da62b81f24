//! Tells what made a module for a world that is not WASI, by its imports, and what to do.
//!
//! Layer: pure.

/// Whether an import (its module, its name) shows an origin.
type Shows = fn(&str, &str) -> bool;

/// Where modules come from that nothing here can run, and what to do. The first that an import shows counts.
const ORIGINS: [(Shows, &str); 7] = [
    (
        |module, name| module == "wasi" && name.starts_with("thread"),
        "it was built for threads (wasi-threads), and the interpreter runs one thread: build it for wasm32-wasip1",
    ),
    (
        |module, _| module.starts_with("wasi:"),
        "it is the core of a component (WASI 0.2): build it for WASI preview 1 (in Rust: --target wasm32-wasip1)",
    ),
    (
        |module, name| module == "gojs" || module == "go" && name.contains('.'),
        "it is a Go program for JavaScript: build it with GOOS=wasip1 GOARCH=wasm (TinyGo: -target=wasip1)",
    ),
    (
        |module, name| module == "wbg" || module.starts_with("__wbindgen") || name.starts_with("__wbindgen"),
        "it was made for JavaScript by wasm-bindgen: build a program without wasm-bindgen for wasm32-wasip1",
    ),
    (
        |module, name| {
            let emscripten = [
                "emscripten_",
                "_emscripten",
                "__emscripten",
                "invoke_",
                "__syscall_",
            ];
            module == "env" && emscripten.iter().any(|start| name.starts_with(start))
        },
        "it was made for JavaScript by Emscripten: link it with -sSTANDALONE_WASM, or build it with wasi-sdk",
    ),
    (
        // Emscripten's optimiser leaves names of one letter or two.
        |module, name| module == "a" && name.len() <= 2,
        "it was made for JavaScript, probably by Emscripten, which shortened its names: link it with \
         -sSTANDALONE_WASM, or build it with wasi-sdk",
    ),
    (
        |module, name| module == "env" && matches!(name, "abort" | "seed" | "trace" | "console.log"),
        "it looks like AssemblyScript for JavaScript: add the package @assemblyscript/wasi-shim and compile with \
         --config node_modules/@assemblyscript/wasi-shim/asconfig.json",
    ),
];

/// What somebody should do who has a module with these imports, if they show where it comes from.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn advice<'a>(imports: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Option<&'static str> {
    ORIGINS
        .iter()
        .find(|(shows, _)| imports.clone().any(|(module, name)| shows(module, name)))
        .map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_is_known_by_its_imports() {
        type Imports = &'static [(&'static str, &'static str)];
        let cases: &[(Imports, Option<&str>)] = &[
            (&[("wasi_snapshot_preview1", "fd_write")], None),
            (&[("env", "puts"), ("env", "memory")], None),
            (
                &[("wasi_snapshot_preview1", "fd_write"), ("wasi", "thread-spawn")],
                Some("threads"),
            ),
            (&[("wasi:cli/stdout@0.2.0", "get-stdout")], Some("component")),
            (&[("gojs", "runtime.wasmExit")], Some("GOOS=wasip1")),
            (&[("go", "syscall/js.valueGet")], Some("GOOS=wasip1")),
            (&[("wbg", "__wbg_log_1")], Some("wasm-bindgen")),
            (
                &[("__wbindgen_placeholder__", "__wbindgen_describe")],
                Some("wasm-bindgen"),
            ),
            (&[("./app_bg.js", "__wbindgen_throw")], Some("wasm-bindgen")),
            (
                &[("env", "abort"), ("env", "emscripten_resize_heap")],
                Some("Emscripten"),
            ),
            (&[("env", "invoke_vii")], Some("Emscripten")),
            (&[("a", "a"), ("a", "ab")], Some("shortened")),
            (&[("a", "a_function")], None),
            (&[("env", "abort"), ("env", "seed")], Some("AssemblyScript")),
        ];
        for (imports, words) in cases {
            let advice = advice(imports.iter().copied());
            match words {
                Some(words) => assert!(advice.unwrap().contains(words), "{imports:?}: {advice:?}"),
                None => assert_eq!(advice, None, "{imports:?}"),
            }
        }
    }
}
