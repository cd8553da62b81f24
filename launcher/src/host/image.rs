//! The bootable images that this program carries: loader, Hermit kernel, an engine and a module that greets.

use boot_protocol::arch::Arch;

use crate::error::StartError;
use crate::spec::engine::Engine;

/// An image, or an application alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    /// All of it; nothing if this program was built without it.
    pub(crate) bytes: &'static [u8],
    /// A short name for the bytes. It tells accidents apart and is no protection against somebody who wants two to
    /// agree.
    pub(crate) fingerprint: u64,
}

// What `build.rs` has found.
include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// The image of an architecture with an engine.
///
/// # Errors
/// This program was built without it.
pub(crate) fn of(arch: Arch, engine: Engine) -> Result<Image, StartError> {
    let image = match (arch, engine) {
        (Arch::X86_64, Engine::Interp) => X86_64_INTERP,
        (Arch::X86_64, Engine::Native) => X86_64_NATIVE,
        (Arch::Aarch64, Engine::Interp) => AARCH64_INTERP,
        (Arch::Aarch64, Engine::Native) => AARCH64_NATIVE,
        (Arch::Riscv64, Engine::Interp) => RISCV64_INTERP,
        (Arch::Riscv64, Engine::Native) => RISCV64_NATIVE,
    };
    present(arch, engine, image)
}

/// The application of an architecture alone, for uhyve and other loaders of Hermit's, which load it themselves.
///
/// # Errors
/// This program was built without it.
pub(crate) fn application(arch: Arch, engine: Engine) -> Result<Image, StartError> {
    let application = match (arch, engine) {
        (Arch::X86_64, Engine::Interp) => X86_64_INTERP_APPLICATION,
        (Arch::X86_64, Engine::Native) => X86_64_NATIVE_APPLICATION,
        (Arch::Aarch64, Engine::Interp) => AARCH64_INTERP_APPLICATION,
        (Arch::Aarch64, Engine::Native) => AARCH64_NATIVE_APPLICATION,
        (Arch::Riscv64, Engine::Interp) => RISCV64_INTERP_APPLICATION,
        (Arch::Riscv64, Engine::Native) => RISCV64_NATIVE_APPLICATION,
    };
    present(arch, engine, application)
}

fn present(arch: Arch, engine: Engine, image: Image) -> Result<Image, StartError> {
    match image.bytes.is_empty() {
        true => Err(missing(arch, engine)),
        false => Ok(image),
    }
}

fn missing(arch: Arch, engine: Engine) -> StartError {
    let arch = arch.name();
    let image = match engine {
        Engine::Interp => "an image",
        Engine::Native => "a native image",
    };
    StartError::NoImage(format!(
        "this hermit-wasm was built without {image} for {arch}. In its source, `scripts/run --arch {arch}` builds one and \
         runs with it; `cargo xtask image --arch {arch}` builds one for the next `cargo install` or `cargo build`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_protocol::fingerprint::fingerprint;

    #[test]
    fn images_bear_their_own_fingerprints() {
        for arch in Arch::ALL {
            for engine in Engine::ALL {
                let images = [of(arch, engine), application(arch, engine)];
                for image in images.into_iter().flatten() {
                    assert_eq!(
                        image.fingerprint,
                        fingerprint(image.bytes),
                        "{arch:?}, {engine:?}"
                    );
                }
            }
        }
    }
}
