//! Programs that are not native code for this machine: each is refused with a message that says what to do, and none is
//! a panic. What code does once it runs is tested in `tests/native/tests/engine.rs` and in the VM.

use std::ptr::NonNull;

use aot_config::{Arch, CpuLevel, Options, Trailer};
use kernel_app::engine::wasmtime::{Machine, Native};
use kernel_app::engine::{Engine as _, Job};
use kernel_app::exit_status::Outcome;
use wasi_core::context::WasiCtxBuilder;
use wasi_core::testing::TestSystem;

/// This process: its processor has every feature, and its memory is wasmtime's own business.
struct Process;

impl Machine for Process {
    fn configure(&self, config: &mut wasmtime::Config) {
        // SAFETY: no code runs here.
        unsafe { config.detect_host_feature(|_| Some(true)) };
    }

    fn load(&self, engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<wasmtime::Module> {
        // SAFETY: nothing here is code that wasmtime takes; were it, it would not be run.
        unsafe { wasmtime::Module::deserialize_raw(engine, NonNull::from(code)) }
    }

    fn has_memory(_: usize) -> bool {
        true
    }
}

/// One whose processor lacks everything that wasmtime does not ask for.
struct Poor;

impl Machine for Poor {
    fn configure(&self, config: &mut wasmtime::Config) {
        Process.configure(config);
    }

    fn load(&self, _: &wasmtime::Engine, _: &[u8]) -> wasmtime::Result<wasmtime::Module> {
        panic!("the code is looked at");
    }

    fn has_memory(_: usize) -> bool {
        true
    }

    fn lacks(&self, _: &str) -> bool {
        true
    }
}

fn run(program: &[u8]) -> Outcome {
    run_on(Process, program)
}

fn run_on(machine: impl Machine, program: &[u8]) -> Outcome {
    let context = WasiCtxBuilder::new()
        .arg("test.cwasm")
        .unwrap()
        .build(TestSystem::default());
    Native(machine).run(Job::of(program), context).0
}

/// What wasmtime's ELF files begin with.
const ELF: &[u8] = b"\x7fELF\x02\x01\x01\xc8\0\0\0\0\0\0\0\0";

/// `code` with our trailer behind it.
fn with_trailer(code: &[u8], level: CpuLevel) -> Vec<u8> {
    let trailer = Trailer {
        level,
        options: Options::default(),
        source: [0; 32],
    };
    [code, &trailer.to_bytes(code.len() as u64)].concat()
}

fn level_of_this_processor() -> CpuLevel {
    Arch::CURRENT.unwrap().default_level()
}

#[test]
fn a_module_is_told_which_image_it_needs() {
    let module = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
    match run(&module) {
        Outcome::Refused(text) => {
            assert!(
                text.contains("boot the image hermit-wasm,") && text.contains("hermit-wasm compile"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_neither_is_named() {
    for (bytes, name) in [
        (b"".as_slice(), "empty"),
        (b"\x7fELF\x02\x01\x01\x03", "an ELF file"),
        (b"#!/bin/sh", "a script"),
        (b"\0asm\x0d\0\x01\0", "component"),
    ] {
        match run(bytes) {
            Outcome::Refused(text) => assert!(text.starts_with("it is") && text.contains(name), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Why code is refused.
fn refusal(program: &[u8]) -> String {
    text_of(run(program))
}

fn text_of(outcome: Outcome) -> String {
    match outcome {
        Outcome::CodeRefused(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn code_for_another_architecture_is_told_so() {
    let here = Arch::CURRENT.unwrap();
    for level in CpuLevel::ALL {
        let text = refusal(&with_trailer(ELF, level));
        if level.arch() == here {
            assert!(!text.contains("compiled for"), "{text}");
        } else {
            let expected = format!(
                "it was compiled for {}, and this machine is {}",
                level.arch().name(),
                here.name()
            );
            assert!(text.starts_with(&expected), "{text}");
        }
        assert!(text.contains("compile the module again"), "{text}");
    }
}

#[test]
fn code_for_a_better_processor_is_refused_before_it_is_looked_at() {
    let here = Arch::CURRENT.unwrap();
    let levels = CpuLevel::ALL.into_iter().filter(|level| level.arch() == here);
    for level in levels {
        let Some(feature) = level.features().first() else {
            continue;
        };
        let text = text_of(run_on(Poor, &with_trailer(ELF, level)));
        let expected = format!(
            "it was compiled for {}, and this machine's processor lacks the feature {}; compile the module again",
            level.name(),
            feature.name
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(!refusal(&with_trailer(ELF, level)).contains("lacks the feature"));
    }
}

#[test]
fn a_damaged_trailer_is_refused_before_the_code_is_looked_at() {
    let whole = with_trailer(ELF, level_of_this_processor());
    let mut longer = whole.clone();
    longer.insert(ELF.len(), 0);
    assert!(refusal(&longer).contains("its trailer is damaged"));
    let mut other = whole;
    other[ELF.len() + 8] = 99;
    assert!(refusal(&other).contains("another version"));
}

/// Whatever stands behind the first bytes: wasmtime's own checks say no, and nothing panics.
#[test]
fn what_only_begins_as_code_is_refused() {
    let mut program = ELF.to_vec();
    program.resize(4096, 0);
    for at in 8..64 {
        for value in [1, 64, 0xff] {
            let mut damaged = program.clone();
            damaged[at] = value;
            refusal(&damaged);
            refusal(&damaged[..at]);
        }
    }
}
