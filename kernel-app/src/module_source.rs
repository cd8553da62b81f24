//! Which module runs: the one named on the boot line, else the boot module, else the embedded one.
//!
//! Layer: pure choice; reading a file is the caller's.

use alloc::borrow::ToOwned as _;
use alloc::string::String;

use crate::config::Config;

/// Where a module comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleSource<'a> {
    /// A path in the machine's file system (`-f`).
    File(&'a str),
    /// The file that the loader handed over (`-initrd` of QEMU), or the module in it.
    BootModule,
    /// The module that is part of the application's image.
    Embedded,
}

impl<'a> ModuleSource<'a> {
    /// Chooses the source.
    #[must_use]
    pub fn choose(config: &'a Config, boot_module: bool) -> Self {
        match &config.file {
            Some(path) => Self::File(path),
            None if boot_module => Self::BootModule,
            None => Self::Embedded,
        }
    }

    /// The guest's `argv[0]`: what the boot line says, else the file's name, as wasmtime does it.
    #[must_use]
    pub fn argv0(self, config: &Config) -> String {
        if let Some(name) = &config.argv0 {
            return name.clone();
        }
        match self {
            Self::File(path) => path
                .rsplit('/')
                .find(|part| !part.is_empty())
                .unwrap_or(path)
                .to_owned(),
            Self::BootModule => "boot-module.wasm".to_owned(),
            Self::Embedded => "embedded.wasm".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(words: &[&str]) -> Config {
        Config::parse(words.iter().copied(), []).unwrap()
    }

    #[test]
    fn a_named_file_comes_first_and_the_embedded_module_last() {
        let named = config(&["-f", "/root/m.wasm"]);
        assert_eq!(
            ModuleSource::choose(&named, true),
            ModuleSource::File("/root/m.wasm")
        );
        let plain = config(&[]);
        assert_eq!(ModuleSource::choose(&plain, true), ModuleSource::BootModule);
        assert_eq!(ModuleSource::choose(&plain, false), ModuleSource::Embedded);
    }

    #[test]
    fn argv0_is_the_last_part_of_the_path_unless_given() {
        let plain = config(&[]);
        for (path, name) in [
            ("/root/m.wasm", "m.wasm"),
            ("m", "m"),
            ("/a/b/", "b"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(ModuleSource::File(path).argv0(&plain), name);
        }
        assert_eq!(ModuleSource::Embedded.argv0(&plain), "embedded.wasm");
        let named = config(&["--argv0", "other"]);
        assert_eq!(ModuleSource::File("/root/m.wasm").argv0(&named), "other");
    }
}
