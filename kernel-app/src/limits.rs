//! Refuses modules that are valid, and that the interpreter would still choke on.
//!
//! Layer: pure; reads the module's sections before the interpreter does, with the interpreter's own parser. Whatever is
//! malformed is left to the interpreter, which refuses it before it comes to what stands behind.
//!
//! - The interpreter makes a closure of each arithmetic operator of a constant expression, which owns those of its
//!   operands. It evaluates and drops them recursively, on the native stack: `docs/upstream-wasmi.md`.
//! - What checking and translating code takes: [`work`].

mod work;

use alloc::format;
use alloc::string::String;

use wasmparser::{
    BinaryReader, ConstExpr, Data, DataKind, DataSectionReader, Element, ElementItems, ElementKind,
    ElementSectionReader, FromReader, Global, GlobalSectionReader, Operator, SectionLimited, Table,
    TableInit, TableSectionReader,
};

use work::Work;

/// Most operators of a constant expression, its constants included and its end not.
///
/// Compilers write one, and three where the code is position-independent. The interpreter takes at most 50 bytes of
/// native stack for each, of the machine's 1 MiB.
pub const MAX_CONSTANT_OPERATORS: usize = 1_000;

/// What a module begins with, magic number and version, has so many bytes.
const PREAMBLE: usize = 8;

/// The sections' numbers in the binary format.
mod section {
    pub(super) const TYPE: u8 = 1;
    pub(super) const IMPORT: u8 = 2;
    pub(super) const FUNCTION: u8 = 3;
    pub(super) const TABLE: u8 = 4;
    pub(super) const GLOBAL: u8 = 6;
    pub(super) const ELEMENT: u8 = 9;
    pub(super) const CODE: u8 = 10;
    pub(super) const DATA: u8 = 11;
}

/// Why `wasm`, which begins as a module does, is not given to the interpreter: the rest of a sentence about it.
#[must_use]
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn refusal(wasm: &[u8]) -> Option<String> {
    let mut reader = BinaryReader::new(wasm.get(PREAMBLE..)?, PREAMBLE);
    let mut work = Work::new(wasm.len());
    while let Some((id, content)) = next_section(&mut reader) {
        let refusal = match id {
            section::TYPE => {
                work.types = Some(content);
                None
            }
            section::IMPORT => {
                work.imports = Some(content);
                None
            }
            section::FUNCTION => {
                work.functions = Some(content);
                None
            }
            section::CODE => work.refusal(content),
            // An expression has no more operators than bytes.
            _ if content.bytes_remaining() <= MAX_CONSTANT_OPERATORS => None,
            _ => long_constant(id, content),
        };
        if refusal.is_some() {
            return refusal;
        }
    }
    None
}

/// Why a module is refused that has this section, if a constant expression in it is too long.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn long_constant(id: u8, content: BinaryReader<'_>) -> Option<String> {
    let (name, index) = match id {
        section::TABLE => {
            let is_bad =
                |table: &Table<'_>| matches!(&table.init, TableInit::Expr(value) if is_too_long(value));
            ("table", first(TableSectionReader::new(content), is_bad))
        }
        section::GLOBAL => {
            let is_bad = |global: &Global<'_>| is_too_long(&global.init_expr);
            ("global", first(GlobalSectionReader::new(content), is_bad))
        }
        section::ELEMENT => (
            "element",
            first(ElementSectionReader::new(content), is_bad_element),
        ),
        section::DATA => {
            let is_bad = |data: &Data<'_>| match &data.kind {
                DataKind::Active { offset_expr, .. } => is_too_long(offset_expr),
                DataKind::Passive => false,
            };
            ("data", first(DataSectionReader::new(content), is_bad))
        }
        _ => return None,
    };
    index.map(|index| {
        format!(
            "entry {index} of its {name} section has a constant expression of more than {MAX_CONSTANT_OPERATORS} \
             operators, the limit; let the program compute the value when it starts"
        )
    })
}

/// Whether the offset of a segment of elements, or an element, is too long.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn is_bad_element(element: &Element<'_>) -> bool {
    if let ElementKind::Active { offset_expr, .. } = &element.kind
        && is_too_long(offset_expr)
    {
        return true;
    }
    match &element.items {
        ElementItems::Functions(_) => false,
        ElementItems::Expressions(_, items) => {
            let mut items = items.clone().into_iter().map_while(Result::ok);
            items.any(|item| is_too_long(&item))
        }
    }
}

/// The number of the next section, and what is in it: as much of it as there is, since of code that ends too early the
/// interpreter checks what is there.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn next_section<'a>(reader: &mut BinaryReader<'a>) -> Option<(u8, BinaryReader<'a>)> {
    let id = reader.read_u8().ok()?;
    let length = usize::try_from(reader.read_var_u32().ok()?).unwrap_or(usize::MAX);
    let offset = reader.original_position();
    let content = reader.read_bytes(length.min(reader.bytes_remaining())).ok()?;
    Some((id, BinaryReader::new(content, offset)))
}

/// The index of the first entry of a section of which `is_bad` holds.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn first<'a, T: FromReader<'a>>(
    section: wasmparser::Result<SectionLimited<'a, T>>,
    is_bad: impl Fn(&T) -> bool,
) -> Option<usize> {
    let entries = section.ok()?.into_iter();
    entries.map_while(Result::ok).position(|entry| is_bad(&entry))
}

/// Whether an expression has more operators than it may have.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn is_too_long(expression: &ConstExpr<'_>) -> bool {
    if expression.get_binary_reader().bytes_remaining() <= MAX_CONSTANT_OPERATORS {
        return false;
    }
    let operators = expression.get_operators_reader().into_iter();
    let ends = |operator: &wasmparser::Result<Operator<'_>>| matches!(operator, Ok(Operator::End) | Err(_));
    operators
        .take_while(|operator| !ends(operator))
        .nth(MAX_CONSTANT_OPERATORS)
        .is_some()
}

#[cfg(test)]
#[path = "limits/tests.rs"]
mod tests;
