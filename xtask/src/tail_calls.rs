//! Looks into the machine code of the interpreter: each handler of an instruction must jump to the next one's.
//!
//! wasmi's handlers end with `become`, a guaranteed tail call. A feature that leaks in (`stable`,
//! `portable-dispatch`) or a compiler that gives up makes them calls: the native stack then grows with the guest's
//! loops, and every instruction pays for a frame. Tests of behaviour notice the former late and the latter never.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use test_qemu::Engine;

use crate::arch::Arch;
use crate::image::app_with_symbols;
use crate::toolchain::{output, tool};

/// Where wasmi has its handlers.
const HANDLERS: &str = "wasmi::engine::executor::handler::exec::";

/// There are some 1,400; if there are far fewer, they are called something else now.
const LEAST_HANDLERS: usize = 1000;

/// Handlers that never go on to another one, and a function among them that is none.
const ENDS: [&str; 2] = ["trap", "memory_copy_within"];

/// Parts of the names of instructions that can trap or leave the interpreter: they may also return.
const MAY_RETURN: [&str; 11] = [
    "load",
    "store",
    "div",
    "rem",
    "trunc",
    "call",
    "return",
    "trap",
    "memory_",
    "table_",
    "consume_fuel",
];

/// Parts of the names of instructions whose work is done by a function: they may have a frame around the call.
/// `branch_table_span` copies a number of values that only the module knows; `return` looks up the caller.
const MAY_HAVE_FRAME: [&str; 9] = [
    "call",
    "memory_",
    "table_",
    "data_drop",
    "elem_drop",
    "branch_table_span",
    "consume_fuel",
    "return",
    "v128",
];

/// 128-bit vectors are software: the same, for names with a number of lanes.
const VECTORS: [&str; 4] = ["x16", "x8", "x4", "x2"];

/// Further ones by architecture, as they are with Rust 1.95: more are noticed.
fn may_also_have_frame(arch: Arch) -> &'static [&'static str] {
    match arch {
        // Rounding is a function without SSE4.1. The others push one register: six of the sixteen carry arguments
        // from handler to handler.
        Arch::X86_64 => &[
            "f32_ceil_",
            "f64_ceil_",
            "f32_floor_",
            "f64_floor_",
            "f32_trunc_",
            "f64_trunc_",
            "_load_ri",
            "_store_i",
            "_store_wrap16_i",
            "_store_wrap16_mem0_offset16_si",
            "i64_add128",
            "i64_sub128",
            "_mul_wide",
            "_rir",
        ],
        Arch::Aarch64 => &[],
        // Square roots are a function: the library `libm` uses instructions on the others.
        Arch::Riscv64 => &["_sqrt_"],
    }
}

/// What is found in one handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Findings {
    /// It takes room on the native stack.
    frame: bool,
    /// It returns.
    returns: bool,
    /// It jumps to where a register or memory says.
    dispatches: bool,
}

/// Checks the application of `arch` as it was built last.
pub(crate) fn check(arch: Arch) -> Result<()> {
    let text = disassemble(&app_with_symbols(arch, Engine::Interp))?;
    let handlers = find(arch, &text);
    ensure!(
        handlers.len() >= LEAST_HANDLERS,
        "only {} of wasmi's handlers are found: are they called otherwise now?",
        handlers.len()
    );
    let wrong: Vec<String> = handlers
        .iter()
        .flat_map(|(name, findings)| complaints(arch, name, *findings))
        .collect();
    println!(
        "{}: {} handlers, {} with a frame, {} that may return",
        arch.name(),
        handlers.len(),
        handlers.values().filter(|findings| findings.frame).count(),
        handlers.values().filter(|findings| findings.returns).count(),
    );
    if !wrong.is_empty() {
        bail!(
            "{} handlers are not as they should be:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
    Ok(())
}

fn disassemble(app: &Path) -> Result<String> {
    output(
        tool("llvm-objdump")?
            .args(["--disassemble", "--no-show-raw-insn", "--demangle"])
            .arg(app),
    )
}

/// What is wrong with a handler.
fn complaints(arch: Arch, name: &str, findings: Findings) -> Vec<String> {
    let any = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let mut complaints = Vec::new();
    if findings.frame && !any(&MAY_HAVE_FRAME) && !any(&VECTORS) && !any(may_also_have_frame(arch)) {
        complaints.push(format!("{name} has a frame"));
    }
    if findings.returns && !any(&MAY_RETURN) {
        complaints.push(format!("{name} returns"));
    }
    if !findings.dispatches && !ENDS.contains(&name) {
        complaints.push(format!("{name} does not jump to the next handler"));
    }
    complaints
}

/// The handlers in a disassembly, by the last part of their names.
fn find(arch: Arch, text: &str) -> BTreeMap<&str, Findings> {
    let mut handlers = BTreeMap::new();
    let mut current: Option<&str> = None;
    for line in text.lines() {
        if let Some(name) = line
            .strip_suffix(">:")
            .and_then(|line| line.split_once(" <"))
            .map(|(_, name)| name)
        {
            // Labels within a function are no functions.
            if !name.starts_with(".L") && !name.starts_with('$') {
                current = name
                    .strip_prefix(HANDLERS)
                    .map(|name| name.rsplit("::").next().unwrap_or(name))
                    .filter(|name| {
                        name.bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                    });
            }
        } else if let (Some(name), Some((_, instruction))) = (current, line.split_once(':')) {
            let findings: &mut Findings = handlers.entry(name).or_default();
            let mut words = instruction.split_whitespace();
            if let Some(mnemonic) = words.next() {
                look(arch, mnemonic, &words.collect::<Vec<_>>().join(" "), findings);
            }
        }
    }
    handlers
}

/// Notes what one instruction tells.
fn look(arch: Arch, mnemonic: &str, operands: &str, findings: &mut Findings) {
    let (frame, returns, dispatches) = match arch {
        Arch::X86_64 => (
            mnemonic.starts_with("push")
                || mnemonic.starts_with("call")
                || (mnemonic.starts_with("sub") && operands.ends_with(", %rsp")),
            mnemonic.starts_with("ret"),
            mnemonic.starts_with("jmp") && operands.starts_with('*'),
        ),
        Arch::Aarch64 => (
            matches!(mnemonic, "bl" | "blr")
                || (mnemonic == "sub" && operands.starts_with("sp, sp,"))
                || (mnemonic.starts_with("st") && operands.contains("[sp, #-") && operands.ends_with("]!")),
            mnemonic == "ret",
            mnemonic == "br",
        ),
        Arch::Riscv64 => (
            matches!(mnemonic, "jal" | "jalr" | "call")
                || (mnemonic == "addi" && operands.starts_with("sp, sp, -")),
            mnemonic == "ret",
            mnemonic == "jr" && operands != "ra",
        ),
    };
    findings.frame |= frame;
    findings.returns |= returns;
    findings.dispatches |= dispatches;
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Findings = Findings {
        frame: false,
        returns: false,
        dispatches: true,
    };

    fn one(arch: Arch, body: &str) -> Findings {
        let text = format!(
            "0000000000001000 <core::fmt::write>:\n    1000:      \tpushq\t%rbp\n\n\
             0000000000002000 <{HANDLERS}i32_add_rss>:\n{body}\n\
             0000000000003000 <memcpy>:\n    3000:      \tret\n"
        );
        let found = find(arch, &text);
        assert_eq!(found.len(), 1);
        found["i32_add_rss"]
    }

    #[test]
    fn handlers_that_jump_on() {
        assert_eq!(
            one(
                Arch::X86_64,
                "    2000:      \tmovl\t0x8(%rsi), %eax\n    2004:      \tjmpq\t*%rax"
            ),
            GOOD
        );
        assert_eq!(
            one(
                Arch::Aarch64,
                "    2000:      \tldr\tw9, [x1, #0x8]\n    2004:      \tbr\tx10"
            ),
            GOOD
        );
        // A label in the middle does not end the function.
        assert_eq!(
            one(
                Arch::Riscv64,
                "    2000:      \tlw\ta6, 0x8(a1)\n\n00002004 <.Lpcrel_hi1>:\n    2004:      \tjr\tt1"
            ),
            GOOD
        );
    }

    #[test]
    fn calls_frames_and_returns_are_found() {
        let bad = Findings {
            frame: true,
            returns: true,
            dispatches: false,
        };
        for (arch, body) in [
            (
                Arch::X86_64,
                "    2000:      \tpushq\t%rax\n    2001:      \tcallq\t*%rax\n    2003:      \tretq",
            ),
            (
                Arch::X86_64,
                "    2000:      \tsubq\t$0x18, %rsp\n    2001:      \tretq",
            ),
            (
                Arch::Aarch64,
                "    2000:      \tstp\tx29, x30, [sp, #-0x10]!\n    2004:      \tret",
            ),
            (Arch::Aarch64, "    2000:      \tblr\tx8\n    2004:      \tret"),
            (
                Arch::Riscv64,
                "    2000:      \taddi\tsp, sp, -0x10\n    2002:      \tret",
            ),
            (Arch::Riscv64, "    2000:      \tjalr\tt1\n    2002:      \tret"),
        ] {
            assert_eq!(one(arch, body), bad, "{body}");
            assert_eq!(complaints(arch, "i32_add_rss", bad).len(), 3);
        }
    }

    #[test]
    fn some_may_return_and_some_may_have_a_frame() {
        let returns = Findings {
            returns: true,
            ..GOOD
        };
        let frame = Findings { frame: true, ..GOOD };
        assert!(complaints(Arch::X86_64, "u32_load_rs", returns).is_empty());
        assert!(complaints(Arch::X86_64, "i32_div_rss", returns).is_empty());
        assert_eq!(complaints(Arch::X86_64, "i64_add_rss", returns).len(), 1);
        assert!(complaints(Arch::X86_64, "memory_grow", frame).is_empty());
        assert!(complaints(Arch::X86_64, "i8x16_add_sss", frame).is_empty());
        assert_eq!(complaints(Arch::X86_64, "u32_load_rs", frame).len(), 1);
        assert_eq!(complaints(Arch::X86_64, "f64_sqrt_rs", frame).len(), 1);
        assert!(complaints(Arch::Riscv64, "f64_sqrt_rs", frame).is_empty());
    }
}
