//! What runs a module in a machine: one name for tests and `xtask` alike.
//!
//! The launcher has a type of its own, since others use its library. Layer: host tests.

use std::str::FromStr;

/// What runs a module in the virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter, for modules as they are.
    Interp,
    /// The runtime of native code, for what the compiler has made of modules.
    Native,
}

impl Engine {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Interp, Self::Native];

    /// Its name: the launcher's, and that of the application's feature.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interp => "interp",
            Self::Native => "native",
        }
    }

    /// The file of the application; the image has `.img` behind that.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Interp => "hermit-wasm",
            Self::Native => "hermit-wasm-native",
        }
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|engine| engine.name() == name);
        found.ok_or_else(|| format!("no engine is called '{name}'"))
    }
}

impl TryFrom<String> for Engine {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_found_by_its_name() {
        for engine in Engine::ALL {
            assert_eq!(engine.name().parse(), Ok(engine));
        }
        assert!("Interp".parse::<Engine>().is_err());
    }
}
