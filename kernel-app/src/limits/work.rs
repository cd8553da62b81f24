//! Refuses code whose checking and translating would take work out of proportion to the module's size.
//!
//! The interpreter looks at each value that passes between a block, a branch or a call and the stack, and translates a
//! branch into a copy of each. An operator names its type by a number, so two bytes may stand for the 2,000 values of a
//! type with 1,000 parameters and 1,000 results, and each byte of a `br_table` for 1,000.
//!
//! Hardly any module has a type of so many values that its code could come near to the limit. Only in one that has,
//! operators are looked at.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use wasmparser::{
    BinaryReader, BlockType, CodeSectionReader, CompositeInnerType, FunctionBody, FunctionSectionReader,
    ImportSectionReader, Operator, TypeRef, TypeSectionReader,
};

/// So many values may pass in any module …
const BASE: u64 = 1 << 20;
/// … and so many more for each of its bytes. Compilers write code with less than one.
const FOR_A_BYTE: u64 = 16;

/// What is known of a module before its code section is reached.
pub(super) struct Work<'a> {
    /// The module's size in bytes.
    length: usize,
    /// The content of the type section.
    pub(super) types: Option<BinaryReader<'a>>,
    /// The content of the import section.
    pub(super) imports: Option<BinaryReader<'a>>,
    /// The content of the function section.
    pub(super) functions: Option<BinaryReader<'a>>,
}

/// How many parameters and results a type has.
#[derive(Clone, Copy, Default)]
struct Arity {
    parameters: u64,
    results: u64,
}

impl Arity {
    const fn both(self) -> u64 {
        self.parameters.saturating_add(self.results)
    }
}

impl<'a> Work<'a> {
    /// Nothing is known of a module of so many bytes.
    pub(super) const fn new(length: usize) -> Self {
        Self {
            length,
            types: None,
            imports: None,
            functions: None,
        }
    }

    /// Why a module with this code is refused.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn refusal(&self, code: BinaryReader<'a>) -> Option<String> {
        let limit = BASE.saturating_add(FOR_A_BYTE.saturating_mul(wide(self.length)));
        let length = wide(code.bytes_remaining());
        let types = self.types.clone()?;
        // No type has more values than the section has bytes, and no byte of code is worth more than a type's values.
        if length.saturating_mul(wide(types.bytes_remaining())) <= limit {
            return None;
        }
        let types = arities(types);
        let most = types.iter().map(|arity| arity.both()).max().unwrap_or(0);
        if length.saturating_mul(most) <= limit {
            return None;
        }
        let functions = self.function_types();
        let imported = functions.imported;
        let mut count = Count {
            types: &types,
            functions: &functions.types,
            labels: Vec::new(),
            values: 0,
        };
        let bodies = CodeSectionReader::new(code).ok()?.into_iter();
        for (index, body) in bodies.map_while(Result::ok).enumerate() {
            let index = index.saturating_add(imported);
            // What cannot be read ends the body here, and there for the interpreter too.
            let _ = count.body(index, &body, limit);
            if count.values > limit {
                return Some(format!(
                    "its code takes work out of proportion to its size: by function {index} its calls, blocks and \
                     branches have passed more than {limit} values, the limit, up to {most} at a time; give \
                     functions and blocks fewer parameters and results"
                ));
            }
        }
        None
    }

    /// The types' numbers of all functions, imported ones first.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn function_types(&self) -> FunctionTypes {
        let mut types = Vec::new();
        if let Some(Ok(imports)) = self.imports.clone().map(ImportSectionReader::new) {
            let imports = imports.into_iter().map_while(Result::ok);
            types.extend(imports.filter_map(|import| match import.ty {
                TypeRef::Func(index) => Some(index),
                _ => None,
            }));
        }
        let imported = types.len();
        if let Some(Ok(functions)) = self.functions.clone().map(FunctionSectionReader::new) {
            types.extend(functions.into_iter().map_while(Result::ok));
        }
        FunctionTypes { types, imported }
    }
}

/// See [`Work::function_types`].
struct FunctionTypes {
    types: Vec<u32>,
    imported: usize,
}

/// How many parameters and results each type has.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn arities(types: BinaryReader<'_>) -> Vec<Arity> {
    let Ok(groups) = TypeSectionReader::new(types) else {
        return Vec::new();
    };
    let types = groups
        .into_iter()
        .map_while(Result::ok)
        .flat_map(wasmparser::RecGroup::into_types);
    types
        .map(|ty| match ty.composite_type.inner {
            CompositeInnerType::Func(ty) => Arity {
                parameters: wide(ty.params().len()),
                results: wide(ty.results().len()),
            },
            _ => Arity::default(),
        })
        .collect()
}

/// Counts the values that pass.
struct Count<'a> {
    types: &'a [Arity],
    /// The types' numbers of all functions.
    functions: &'a [u32],
    /// How many values a branch to each of the blocks around an operator passes; the function's own is the first.
    labels: Vec<u64>,
    values: u64,
}

impl Count<'_> {
    /// Counts those of a function; stops beyond `limit`.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn body(&mut self, index: usize, body: &FunctionBody<'_>, limit: u64) -> wasmparser::Result<()> {
        let arity = self.function(index);
        self.pass(arity.both());
        self.labels.clear();
        self.labels.push(arity.results);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() && self.values <= limit {
            self.operator(&operators.read()?)?;
        }
        Ok(())
    }

    /// Counts those of an operator: what it takes, and what it leaves.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn operator(&mut self, operator: &Operator<'_>) -> wasmparser::Result<()> {
        match operator {
            Operator::Block { blockty } | Operator::If { blockty } => {
                let arity = self.block(*blockty);
                self.labels.push(arity.results);
            }
            Operator::Loop { blockty } => {
                let arity = self.block(*blockty);
                self.labels.push(arity.parameters);
            }
            Operator::End => {
                self.labels.pop();
            }
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                self.pass(self.label(*relative_depth));
            }
            Operator::BrTable { targets } => {
                self.pass(self.label(targets.default()));
                for target in targets.targets() {
                    self.pass(self.label(target?));
                }
            }
            Operator::Return => self.pass(self.labels.first().copied().unwrap_or(0)),
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                let index = usize::try_from(*function_index).unwrap_or(usize::MAX);
                self.pass(self.function(index).both());
            }
            Operator::CallIndirect { type_index, .. } | Operator::ReturnCallIndirect { type_index, .. } => {
                self.pass(self.ty(*type_index).both());
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts those of a block at its start, its `else` and its end.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn block(&mut self, ty: BlockType) -> Arity {
        let arity = match ty {
            BlockType::FuncType(index) => self.ty(index),
            BlockType::Type(_) => Arity {
                parameters: 0,
                results: 1,
            },
            BlockType::Empty => Arity::default(),
        };
        self.pass(arity.both().saturating_mul(3));
        arity
    }

    const fn pass(&mut self, values: u64) {
        self.values = self.values.saturating_add(values);
    }

    /// How many values a branch to the block of this depth passes.
    fn label(&self, depth: u32) -> u64 {
        let place = usize::try_from(depth).ok().and_then(|depth| {
            let last = self.labels.len().checked_sub(1)?;
            last.checked_sub(depth)
        });
        place
            .and_then(|place| self.labels.get(place))
            .copied()
            .unwrap_or(0)
    }

    fn function(&self, index: usize) -> Arity {
        self.functions
            .get(index)
            .map_or_else(Arity::default, |index| self.ty(*index))
    }

    fn ty(&self, index: u32) -> Arity {
        let ty = usize::try_from(index)
            .ok()
            .and_then(|index| self.types.get(index));
        ty.copied().unwrap_or_default()
    }
}

/// A number of things in memory.
fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
