//! Commands as bytes.

use alloc::string::String;
use alloc::vec::Vec;

use crate::{Command, Top, Value};

/// Reads commands one after the other.
pub(crate) struct Reader<'a>(&'a [u8]);

type Read<T> = Result<T, String>;

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next command; `None` at the end.
    pub(crate) fn command(&mut self) -> Option<Read<Command<'a>>> {
        (!self.0.is_empty()).then(|| self.read())
    }

    fn read(&mut self) -> Read<Command<'a>> {
        Ok(match self.byte()? {
            0 => Command::Reset,
            1 => Command::Module(self.number()?, self.bytes()?),
            2 => Command::Instantiate(self.number()?, self.number()?),
            3 => Command::Register(self.number()?, self.text()?),
            4 => {
                let (instance, name) = (self.number()?, self.text()?);
                let arguments = (0..self.number()?).map(|_| self.value()).collect::<Read<_>>()?;
                Command::Invoke(instance, name, arguments)
            }
            5 => Command::Get(self.number()?, self.text()?),
            6 => Command::Sum(self.number()?),
            _ => return Err("it has an unknown command".into()),
        })
    }

    fn value(&mut self) -> Read<Value> {
        Ok(match self.byte()? {
            0 => Value::I32(self.number()?),
            1 => Value::I64(u64::from_le_bytes(self.array()?)),
            2 => Value::F32(self.number()?),
            3 => Value::F64(u64::from_le_bytes(self.array()?)),
            4 => Value::V128(u128::from_le_bytes(self.array()?)),
            5 => Value::Null(Top::Func),
            6 => Value::Null(Top::Extern),
            7 => Value::Null(Top::Any),
            8 => Value::Null(Top::Exn),
            9 => Value::Extern(self.number()?),
            10 => Value::Host(self.number()?),
            _ => return Err("it has an unknown value".into()),
        })
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().map_err(|_| "it ends too early")?)
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn number(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = usize::try_from(self.number()?).map_err(|_| "it is too long")?;
        self.take(length)
    }

    fn text(&mut self) -> Read<&'a str> {
        Ok(str::from_utf8(self.bytes()?).map_err(|_| "a name is not UTF-8")?)
    }
}

impl Command<'_> {
    /// Writes the command at the end of a script.
    pub fn encode(&self, script: &mut Vec<u8>) {
        match self {
            Self::Reset => script.push(0),
            Self::Module(module, bytes) => {
                script.push(1);
                number(script, *module);
                put(script, bytes);
            }
            Self::Instantiate(module, instance) => {
                script.push(2);
                number(script, *module);
                number(script, *instance);
            }
            Self::Register(instance, name) => {
                script.push(3);
                number(script, *instance);
                put(script, name.as_bytes());
            }
            Self::Invoke(instance, name, arguments) => {
                script.push(4);
                number(script, *instance);
                put(script, name.as_bytes());
                number(script, length(arguments.len()));
                for argument in arguments {
                    argument.encode(script);
                }
            }
            Self::Get(instance, name) => {
                script.push(5);
                number(script, *instance);
                put(script, name.as_bytes());
            }
            Self::Sum(instance) => {
                script.push(6);
                number(script, *instance);
            }
        }
    }
}

impl Value {
    fn encode(self, script: &mut Vec<u8>) {
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::I32(value) => (0, &value.to_le_bytes()),
            Self::I64(value) => (1, &value.to_le_bytes()),
            Self::F32(value) => (2, &value.to_le_bytes()),
            Self::F64(value) => (3, &value.to_le_bytes()),
            Self::V128(value) => (4, &value.to_le_bytes()),
            Self::Null(Top::Func) => (5, &[]),
            Self::Null(Top::Extern) => (6, &[]),
            Self::Null(Top::Any) => (7, &[]),
            Self::Null(Top::Exn) => (8, &[]),
            Self::Extern(value) => (9, &value.to_le_bytes()),
            Self::Host(value) => (10, &value.to_le_bytes()),
        };
        script.push(kind);
        script.extend(bytes);
    }
}

fn number(script: &mut Vec<u8>, number: u32) {
    script.extend(number.to_le_bytes());
}

/// A length as it is written; what has no place in four bytes makes a script that is refused.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn put(script: &mut Vec<u8>, bytes: &[u8]) {
    number(script, length(bytes.len()));
    script.extend(bytes);
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let values = vec![
            Value::I32(1),
            Value::I64(u64::MAX),
            Value::F32(0x7fc0_0000),
            Value::F64(3),
            Value::V128(u128::MAX - 1),
            Value::Null(Top::Func),
            Value::Null(Top::Extern),
            Value::Null(Top::Any),
            Value::Null(Top::Exn),
            Value::Extern(7),
            Value::Host(8),
        ];
        let commands = [
            Command::Reset,
            Command::Module(1, b"\0asm"),
            Command::Instantiate(1, 2),
            Command::Register(2, "M\u{20ac}"),
            Command::Invoke(2, "", values),
            Command::Get(2, "g"),
            Command::Sum(2),
        ];
        let mut script = vec![];
        for command in &commands {
            command.encode(&mut script);
        }
        let mut reader = Reader::new(&script);
        for command in commands {
            assert_eq!(reader.command(), Some(Ok(command)));
        }
        assert_eq!(reader.command(), None);
        let mut cut = Reader::new(&script[..script.len() - 1]);
        assert!(std::iter::from_fn(|| cut.command()).any(|command| command.is_err()));
    }
}
