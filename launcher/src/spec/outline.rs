//! A module from outside: how much code it has, and whether it needs what only the native engine has. Its code is not
//! read.
//!
//! Layer: host. Nothing is validated: what is not understood is left to the engine, which says what is wrong with it.
//! Source: WebAssembly core specification 3.0, "Modules" (binary format).

use std::collections::BTreeSet;
use std::ops::Range;

use wasmparser::{
    BinaryReader, CompositeInnerType, ImportSectionReader, RefType, TableSectionReader, TypeRef,
    TypeSectionReader, ValType,
};

use super::deadline::Deadline;
use super::module::Module;
use super::reading::WriteError;

/// Sections that are looked at, by their numbers.
const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const TABLES: u8 = 4;
const CODE: u8 = 10;
const TAGS: u8 = 13;

/// No section of types is longer, and of no module more sections are looked at: where there is more, nothing is known.
const LONGEST: u64 = 1 << 20;
const MOST: usize = 1000;

/// The longest head of a section: its number, and its length in LEB128.
const HEAD: u64 = 6;

/// What is seen of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// Bytes of code; as many as there can be if not all sections were seen.
    pub(super) code: u64,
    /// The proposal that it needs and the interpreter does not have.
    pub(super) native_only: Option<&'static str>,
}

impl Outline {
    /// Looks at a module.
    ///
    /// # Errors
    /// It cannot be read, or the run is over.
    pub(super) fn of(module: &Module, deadline: &Deadline) -> Result<Self, WriteError> {
        let mut outline = Self::default();
        let all = look(
            module,
            deadline,
            &[TYPES, IMPORTS, TABLES, TAGS],
            |number, size, bytes| {
                if number == CODE {
                    outline.code = outline.code.saturating_add(size);
                }
                outline.native_only = outline.native_only.or_else(|| native_only(number, bytes?));
            },
        )?;
        if !all {
            // Whatever comes behind may be code, too.
            outline.code = u64::MAX;
        }
        Ok(outline)
    }
}

/// The names of the modules that a module imports from.
///
/// # Errors
/// It cannot be read, or the run is over.
pub(super) fn imports(module: &Module, deadline: &Deadline) -> Result<BTreeSet<String>, WriteError> {
    let mut names = BTreeSet::new();
    look(module, deadline, &[IMPORTS], |_, _, bytes| {
        let reader = ImportSectionReader::new(BinaryReader::new(bytes.unwrap_or_default(), 0));
        let imports = reader.into_iter().flatten().map_while(Result::ok);
        names.extend(imports.map(|import| import.module.to_string()));
    })?;
    Ok(names)
}

/// Shows `see` each section: its number, its size, and its bytes, if it is `wanted` and not too long.
/// Whether these were all.
fn look(
    module: &Module,
    deadline: &Deadline,
    wanted: &[u8],
    mut see: impl FnMut(u8, u64, Option<&[u8]>),
) -> Result<bool, WriteError> {
    let length = module.length();
    // Behind magic and version.
    let mut at = 8u64;
    for _ in 0..MOST {
        if at >= length {
            break;
        }
        let head = module.part(at..length.min(at.saturating_add(HEAD)), deadline)?;
        let Some((number, section)) = section(&head, at) else {
            break;
        };
        let size = section.end.saturating_sub(section.start);
        let bytes = match wanted.contains(&number) && size <= LONGEST && section.end <= length {
            true => Some(module.part(section.clone(), deadline)?),
            false => None,
        };
        see(number, size, bytes.as_deref());
        at = section.end;
    }
    Ok(at >= length)
}

/// A section's number and place, from the first bytes of its head, which are at `at`.
fn section(head: &[u8], at: u64) -> Option<(u8, Range<u64>)> {
    let mut reader = BinaryReader::new(head, 0);
    let number = reader.read_u8().ok()?;
    let size = reader.read_var_u32().ok()?;
    let start = at.checked_add(u64::try_from(reader.original_position()).ok()?)?;
    Some((number, start..start.checked_add(size.into())?))
}

/// The proposal that a section's content needs, if the interpreter does not have it.
fn native_only(number: u8, bytes: &[u8]) -> Option<&'static str> {
    let reader = BinaryReader::new(bytes, 0);
    match number {
        TYPES => {
            let groups = TypeSectionReader::new(reader).ok()?;
            groups.into_iter().map_while(Result::ok).find_map(|group| {
                // Groups that refer to themselves came with garbage collection.
                if group.is_explicit_rec_group() {
                    return Some(COLLECTION);
                }
                group.types().find_map(|one| match &one.composite_type.inner {
                    CompositeInnerType::Func(function) => {
                        let mut values = function.params().iter().chain(function.results());
                        values.find_map(|value| of_value(*value))
                    }
                    CompositeInnerType::Array(_) | CompositeInnerType::Struct(_) => Some(COLLECTION),
                    CompositeInnerType::Cont(_) => None,
                })
            })
        }
        IMPORTS => {
            let imports = ImportSectionReader::new(reader).ok()?;
            let mut imports = imports.into_iter().map_while(Result::ok);
            imports.find_map(|import| match import.ty {
                TypeRef::Tag(_) => Some(EXCEPTIONS),
                TypeRef::Table(table) => of_reference(table.element_type),
                TypeRef::Global(global) => of_value(global.content_type),
                TypeRef::Func(_) | TypeRef::Memory(_) => None,
            })
        }
        TABLES => {
            let tables = TableSectionReader::new(reader).ok()?;
            let mut tables = tables.into_iter().map_while(Result::ok);
            tables.find_map(|table| of_reference(table.ty.element_type))
        }
        // The number of tags, which only exceptions have.
        TAGS => (bytes.first() != Some(&0)).then_some(EXCEPTIONS),
        _ => None,
    }
}

const EXCEPTIONS: &str = "exception handling";
const COLLECTION: &str = "garbage collection";
const REFERENCES: &str = "function references";

fn of_value(value: ValType) -> Option<&'static str> {
    match value {
        ValType::Ref(reference) => of_reference(reference),
        _ => None,
    }
}

/// References of WebAssembly 2.0 are null or to anything of their kind.
fn of_reference(reference: RefType) -> Option<&'static str> {
    if reference == RefType::FUNCREF || reference == RefType::EXTERNREF {
        None
    } else if reference == RefType::EXN || reference == RefType::EXNREF {
        Some(EXCEPTIONS)
    } else if reference.is_concrete_type_ref() || reference == RefType::FUNC || reference == RefType::EXTERN {
        Some(REFERENCES)
    } else {
        Some(COLLECTION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &str) -> Outline {
        let module = Module::from_bytes("m.wat", text).unwrap();
        Outline::of(&module, &Deadline::never()).unwrap()
    }

    #[test]
    fn what_the_interpreter_has_needs_nothing_else() {
        for text in [
            "(module)",
            "(module (func (param i32 f64 v128) (result i64 funcref externref) unreachable))",
            "(module (table 1 funcref) (table 1 externref) (memory 1) (memory i64 1))",
            r#"(module (import "a" "b" (table 1 funcref)) (import "a" "c" (global externref)))"#,
        ] {
            assert_eq!(outline(text).native_only, None, "{text}");
        }
    }

    #[test]
    fn each_proposal_shows_in_some_section() {
        for (text, proposal) in [
            ("(module (tag))", EXCEPTIONS),
            (r#"(module (import "a" "b" (tag)))"#, EXCEPTIONS),
            ("(module (func (param exnref)))", EXCEPTIONS),
            ("(module (type (struct)))", COLLECTION),
            ("(module (type (array i8)))", COLLECTION),
            ("(module (rec (type (func)) (type (func))))", COLLECTION),
            ("(module (table 1 anyref))", COLLECTION),
            ("(module (type $f (func)) (func (param (ref $f))))", REFERENCES),
            ("(module (type $f (func)) (table 1 (ref null $f)))", REFERENCES),
            (r#"(module (import "a" "b" (global (ref func))))"#, REFERENCES),
        ] {
            assert_eq!(outline(text).native_only, Some(proposal), "{text}");
        }
    }

    #[test]
    fn modules_that_are_imported_from_are_named() {
        let of = |text: &str| {
            let module = Module::from_bytes("m.wat", text).unwrap();
            imports(&module, &Deadline::never()).unwrap()
        };
        assert!(of("(module (func) (memory 1))").is_empty());
        let names = of(
            r#"(module (import "b" "f" (func)) (import "" "m" (memory 1)) (import "b" "g" (global i32)))"#,
        );
        assert_eq!(names, ["", "b"].map(String::from).into());
    }

    #[test]
    fn code_is_measured_wherever_it_stands() {
        let none = outline("(module (memory 1) (data (i32.const 0) \"0123456789\"))");
        assert_eq!(none.code, 0);
        let some = outline("(module (func (drop (i32.const 1))) (func) (@custom \"c\" \"0123456789\"))");
        // Their number; of each its length, no locals, and what ends it: `i32.const 1`, `drop`.
        assert_eq!(some.code, 1 + (1 + 1 + 3 + 1) + (1 + 1 + 1));
    }

    #[test]
    fn code_that_was_not_looked_for_counts_as_all_there_can_be() {
        let bytes = |text: &str| {
            let module = Module::from_bytes("m.wat", text).unwrap();
            let mut bytes = Vec::new();
            module.write_to(&mut bytes, &Deadline::never()).unwrap();
            bytes
        };
        let of = |bytes: Vec<u8>| {
            let module = Module::from_bytes("m.wasm", bytes).unwrap();
            Outline::of(&module, &Deadline::never()).unwrap().code
        };
        let good = bytes("(module (func))");
        let code = of(good.clone());
        assert!(code < 10);
        // Empty sections of any kind, before the code.
        let with = |number: usize| [&good[..8], &[0, 1, 0].repeat(number), &good[8..]].concat();
        assert_eq!(of(with(MOST / 2)), code);
        assert_eq!(of(with(MOST)), u64::MAX);
        // What is no section.
        assert_eq!(of([&good[..8], &[0xff; 20], &good[8..]].concat()), u64::MAX);
    }

    #[test]
    fn whatever_the_bytes_are_the_outline_is_had() {
        let good = Module::from_bytes("m.wat", "(module (type (struct)) (tag) (func (nop)))").unwrap();
        let mut bytes = Vec::new();
        good.write_to(&mut bytes, &Deadline::never()).unwrap();
        for at in 8..bytes.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] = value;
                let module = Module::from_bytes("m.wasm", bad).unwrap();
                Outline::of(&module, &Deadline::never()).unwrap();
                imports(&module, &Deadline::never()).unwrap();
            }
            let module = Module::from_bytes("m.wasm", &bytes[..at]).unwrap();
            Outline::of(&module, &Deadline::never()).unwrap();
        }
    }
}
