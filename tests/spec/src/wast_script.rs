//! Turns a file of the suite into a script's commands, and what each must answer.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use spec_script::{Command, Value};
use wast::core::{V128Const, WastArgCore};
use wast::lexer::Lexer;
use wast::parser::{ParseBuffer, parse};
use wast::token::Id;
use wast::{QuoteWat, QuoteWatTest, Wast, WastArg, WastDirective, WastExecute, WastInvoke, Wat};

use crate::code::{Made, Maker};
use crate::judge::{Pattern, Wanted, top};

/// A check of a file.
pub(crate) struct Check {
    /// Where in the file it stands.
    pub(crate) line: usize,
    pub(crate) wanted: Wanted,
}

/// A file as commands.
#[derive(Default)]
pub(crate) struct Translated {
    /// The commands' bytes, without a script's beginning.
    pub(crate) script: Vec<u8>,
    /// One for each command.
    pub(crate) checks: Vec<Check>,
    /// What is judged on the host already: where, and what is wrong if something is.
    pub(crate) here: Vec<(usize, Option<String>)>,
    /// Directives that nothing here can carry out: threads, text that the format's parser refuses.
    pub(crate) left_out: usize,
}

/// The number of the module that the suite's own imports come from.
const HOST: u32 = 0;

/// Most modules that a world gets which nothing names any more. Natively the memory of each takes 4 to 64 GiB of
/// addresses, and riscv64 has 256 GiB.
const MOST_FORGOTTEN: u32 = 10;

/// What the suite imports from `spectest`, as a module: nothing that it prints matters.
const SPECTEST: &str = r#"(module
  (func (export "print"))
  (func (export "print_i32") (param i32))
  (func (export "print_i64") (param i64))
  (func (export "print_f32") (param f32))
  (func (export "print_f64") (param f64))
  (func (export "print_i32_f32") (param i32 f32))
  (func (export "print_f64_f64") (param f64 f64))
  (global (export "global_i32") i32 (i32.const 666))
  (global (export "global_i64") i64 (i64.const 666))
  (global (export "global_f32") f32 (f32.const 666.6))
  (global (export "global_f64") f64 (f64.const 666.6))
  (table (export "table") 10 20 funcref)
  (table (export "table64") i64 10 20 funcref)
  (memory (export "memory") 1 2))"#;

/// A text file's module.
pub(crate) fn module(text: &str) -> Result<Vec<u8>> {
    Ok(parse::<Wat<'_>>(&ParseBuffer::new(text)?)?.encode()?)
}

struct Translator<'a> {
    text: &'a str,
    maker: &'a Maker,
    out: Translated,
    next: u32,
    /// The instance that directives without a name mean.
    current: u32,
    instances: BTreeMap<String, u32>,
    definitions: BTreeMap<String, u32>,
    definition: u32,
    /// Whether nothing that stands so far has a name.
    nameless: bool,
    /// The number of the world's first module.
    first: u32,
}

/// Translates a file.
///
/// # Errors
/// If the file cannot be parsed.
pub(crate) fn translate(text: &str, maker: &Maker) -> Result<Translated> {
    let mut lexer = Lexer::new(text);
    // Names with characters that could be taken for others are what some files test.
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).map_err(|error| anyhow!("{error}"))?;
    let wast: Wast<'_> = parse(&buffer).map_err(|error| anyhow!("{error}"))?;
    let mut translator = Translator {
        text,
        maker,
        out: Translated::default(),
        next: HOST + 1,
        current: HOST,
        instances: BTreeMap::new(),
        definitions: BTreeMap::new(),
        definition: HOST,
        nameless: true,
        first: HOST,
    };
    translator.begin()?;
    for directive in wast.directives {
        translator.directive(directive)?;
    }
    Ok(translator.out)
}

impl Translator<'_> {
    /// A new world, in which there is what the suite imports.
    fn begin(&mut self) -> Result<()> {
        self.command(0, &Command::Reset, Wanted::Success);
        self.bytes(0, &module(SPECTEST)?, HOST, Wanted::Success);
        self.command(0, &Command::Instantiate(HOST, HOST), Wanted::Success);
        self.command(0, &Command::Register(HOST, "spectest"), Wanted::Success);
        self.first = self.next;
        Ok(())
    }

    /// Begins a new world for the next module if many are there that nothing can mean any more. An instance without a
    /// name is the one that is meant until the next stands.
    fn forget(&mut self) -> Result<()> {
        if self.nameless && self.next - self.first >= MOST_FORGOTTEN {
            self.begin()?;
        }
        Ok(())
    }

    fn command(&mut self, line: usize, command: &Command<'_>, wanted: Wanted) {
        command.encode(&mut self.out.script);
        self.out.checks.push(Check { line, wanted });
    }

    /// A module's bytes. Those that the compiler refuses are judged here.
    fn bytes(&mut self, line: usize, wasm: &[u8], number: u32, wanted: Wanted) {
        let complaint = match (self.maker.make(wasm), &wanted) {
            // It would have to be loaded to see that the engine takes it.
            (Ok(Made::Bytes(_)), Wanted::Refused) if matches!(self.maker, Maker::Code(..)) => {
                Some("the compiler takes it".into())
            }
            (Ok(Made::Bytes(made)), _) => {
                return self.command(line, &Command::Module(number, &made), wanted);
            }
            (Ok(Made::Refused(_)), Wanted::Refused) => None,
            (Ok(Made::Refused(why)), _) => Some(format!("the compiler refuses it: {why}")),
            (Err(error), _) => Some(format!("{error:#}")),
        };
        self.out.here.push((line, complaint));
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Loads a module; gives its number. `None` if it is text that the format's own parser refuses.
    fn load(&mut self, line: usize, encoded: Result<Vec<u8>, wast::Error>, wanted: Wanted) -> Option<u32> {
        match encoded {
            Ok(wasm) => {
                let number = self.number();
                self.bytes(line, &wasm, number, wanted);
                Some(number)
            }
            Err(error) => {
                self.out
                    .here
                    .push((line, Some(format!("the text is not understood: {error}"))));
                None
            }
        }
    }

    /// Loads a module, makes an instance.
    fn make(&mut self, line: usize, encoded: Result<Vec<u8>, wast::Error>, wanted: Wanted) -> Option<u32> {
        let number = self.load(line, encoded, Wanted::Success)?;
        self.command(line, &Command::Instantiate(number, number), wanted);
        Some(number)
    }

    fn instance(&self, id: Option<Id<'_>>) -> u32 {
        match id {
            // An unknown one is an instance that is missing, which the answer says.
            Some(id) => self.instances.get(id.name()).copied().unwrap_or(u32::MAX),
            None => self.current,
        }
    }

    fn known(&mut self, id: Option<Id<'_>>, number: u32) {
        self.current = number;
        if let Some(id) = id {
            self.instances.insert(id.name().into(), number);
        }
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Result<()> {
        let line = directive.span().linecol_in(self.text).0 + 1;
        match directive {
            WastDirective::Module(mut module) => {
                let name = module.name();
                self.forget()?;
                self.nameless &= name.is_none();
                let encoded = module.encode();
                if let Some(number) = self.make(line, encoded, Wanted::Success) {
                    self.known(name, number);
                    // It can be instantiated once more.
                    self.define(name, number);
                }
            }
            WastDirective::ModuleDefinition(mut module) => {
                let name = module.name();
                self.nameless &= name.is_none();
                let encoded = module.encode();
                if let Some(number) = self.load(line, encoded, Wanted::Success) {
                    self.define(name, number);
                }
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let module = match module {
                    Some(id) => self.definitions.get(id.name()).copied().unwrap_or(u32::MAX),
                    None => self.definition,
                };
                let number = self.number();
                self.nameless &= instance.is_none();
                self.command(line, &Command::Instantiate(module, number), Wanted::Success);
                self.known(instance, number);
            }
            WastDirective::Register { name, module, .. } => {
                self.nameless = false;
                let instance = self.instance(module);
                self.command(line, &Command::Register(instance, name), Wanted::Success);
            }
            WastDirective::AssertMalformed { module, .. } | WastDirective::AssertInvalid { module, .. } => {
                self.bad(line, module);
            }
            WastDirective::AssertUnlinkable { mut module, .. } => {
                let encoded = module.encode();
                self.make(line, encoded, Wanted::Unlinkable);
            }
            other => self.execution(line, other),
        }
        Ok(())
    }

    fn define(&mut self, id: Option<Id<'_>>, number: u32) {
        self.definition = number;
        if let Some(id) = id {
            self.definitions.insert(id.name().into(), number);
        }
    }

    /// A module that must be refused.
    fn bad(&mut self, line: usize, mut module: QuoteWat<'_>) {
        // What is wrong with a text concerns the text format's parser, which no machine has.
        let quoted = matches!(module.to_test(), Ok(QuoteWatTest::Text(_)));
        match module.encode() {
            Ok(wasm) if !quoted => {
                let number = self.number();
                self.bytes(line, &wasm, number, Wanted::Refused);
            }
            Ok(_) | Err(_) => self.out.left_out += 1,
        }
    }

    /// What is called, read, or begun.
    fn execution(&mut self, line: usize, directive: WastDirective<'_>) {
        match directive {
            WastDirective::Invoke(call) => self.invoke(line, call, Wanted::Success),
            WastDirective::AssertTrap { exec, message, .. } => {
                self.execute(line, exec, Wanted::Trap(message.into()));
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                self.invoke(line, call, Wanted::Trap(message.into()));
            }
            WastDirective::AssertException { exec, .. } => self.execute(line, exec, Wanted::Exception),
            WastDirective::AssertReturn { exec, results, .. } => {
                let patterns: Option<Vec<_>> = results.iter().map(Pattern::new).collect();
                match patterns {
                    Some(patterns) => self.execute(line, exec, Wanted::Values(patterns)),
                    None => self.out.left_out += 1,
                }
            }
            _ => self.out.left_out += 1,
        }
    }

    fn execute(&mut self, line: usize, execution: WastExecute<'_>, wanted: Wanted) {
        match execution {
            WastExecute::Invoke(call) => self.invoke(line, call, wanted),
            WastExecute::Wat(mut module) => {
                let encoded = module.encode();
                self.make(line, encoded, wanted);
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(module);
                self.command(line, &Command::Get(instance, global), wanted);
            }
        }
    }

    fn invoke(&mut self, line: usize, call: WastInvoke<'_>, wanted: Wanted) {
        let instance = self.instance(call.module);
        let arguments: Option<Vec<Value>> = call.args.iter().map(argument).collect();
        match arguments {
            Some(arguments) => self.command(line, &Command::Invoke(instance, call.name, arguments), wanted),
            None => self.out.left_out += 1,
        }
    }
}

/// An argument; `None` if no engine here has such.
fn argument(argument: &WastArg<'_>) -> Option<Value> {
    let WastArg::Core(argument) = argument else {
        return None;
    };
    Some(match argument {
        WastArgCore::I32(value) => Value::I32(value.cast_unsigned()),
        WastArgCore::I64(value) => Value::I64(value.cast_unsigned()),
        WastArgCore::F32(value) => Value::F32(value.bits),
        WastArgCore::F64(value) => Value::F64(value.bits),
        WastArgCore::V128(value) => vector(value),
        WastArgCore::RefNull(heap) => Value::Null(top(heap)?),
        WastArgCore::RefExtern(number) => Value::Extern(*number),
        WastArgCore::RefHost(number) => Value::Host(*number),
    })
}

fn vector(value: &V128Const) -> Value {
    Value::V128(u128::from_le_bytes(value.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many worlds a file gets.
    fn worlds(file: &str) -> usize {
        const CHECKS: usize = 4;
        let checks = translate(file, &Maker::Wasm).unwrap().checks;
        let begun = checks.iter().filter(|check| check.line == 0).count();
        assert_eq!(begun % CHECKS, 0);
        begun / CHECKS
    }

    #[test]
    fn what_nothing_names_is_forgotten_and_nothing_else() {
        let modules = "(module)\n".repeat(25);
        assert_eq!(worlds(&modules), 3);
        assert_eq!(worlds(&format!("(module)(register \"m\")\n{modules}")), 1);
        assert_eq!(worlds(&format!("(module $m)\n{modules}")), 1);
        assert_eq!(worlds(&format!("(module definition $m)\n{modules}")), 1);
        assert_eq!(worlds(&format!("{modules}(module $m)\n{modules}")), 3);
    }
}
