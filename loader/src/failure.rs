//! Why booting ends here, each as one line: what was attempted, on what, why it failed, what to do.

use core::fmt;

use hermit_loader_core::elf::ElfError;
use hermit_loader_core::ranges::Span;

/// Why the loader gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No start information where the boot protocol says it is.
    NoStartInfo,
    /// No device tree where the boot protocol says it is.
    NoDeviceTree,
    /// A processor without something that the kernel is built for.
    Processor(&'static str),
    /// An interrupt controller that the kernel does not drive.
    OldInterruptController,
    /// Entered where only a hypervisor or firmware should run.
    WrongLevel,
    /// The hypervisor names no memory.
    NoMemoryMap,
    /// More than one boot module.
    ManyModules,
    /// The boot module does not lie in memory.
    BadModule,
    /// A payload in this file, and a boot module.
    TwoPayloads,
    /// The payload in this file does not lie in memory.
    PayloadBeyondMemory {
        /// Where it lies.
        payload: Span,
        /// How much memory the machine has.
        ram: u64,
    },
    /// The command line has no end, or lies nowhere.
    BadCommandLine,
    /// The command line is not text.
    CommandLineNotText,
    /// Neither an embedded application nor a boot module.
    NoApplication,
    /// The application cannot be loaded.
    Application {
        /// Whether it is in the loader's own image.
        embedded: bool,
        /// Where its file lies.
        file: Span,
        /// What is wrong.
        error: ElfError,
    },
    /// No memory for something.
    NoRoom {
        /// For what.
        what: &'static str,
        /// How many bytes.
        size: u64,
        /// How much memory the machine has.
        ram: u64,
    },
    /// Nothing is left for the kernel.
    TooLittleMemory {
        /// What is left for it.
        left: u64,
        /// What it needs at least.
        needed: u64,
        /// How much memory the machine has.
        ram: u64,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoStartInfo => f.write_str(
                "cannot boot: the boot loader passed no PVH start information; boot by PVH, as QEMU's -kernel does, \
                 with a command line of less than 4 KiB (-append), which is what its boot ROM holds on pc and q35",
            ),
            Self::NoDeviceTree => f.write_str(
                "cannot boot: the boot loader passed no device tree; boot as Linux is booted, as QEMU's -kernel does \
                 on the machine virt",
            ),
            Self::Processor(missing) => write!(
                f,
                "cannot boot: this processor lacks {missing}; use another one (QEMU: -cpu max, or -cpu host with KVM)"
            ),
            Self::OldInterruptController => f.write_str(
                "cannot boot: the machine has no GICv3, the only interrupt controller that the kernel drives; use \
                 -machine virt,gic-version=3",
            ),
            Self::WrongLevel => f.write_str(
                "cannot boot: started in EL2 or EL3, and the kernel runs in EL1 only; use a machine without \
                 virtualization=on and secure=on",
            ),
            Self::NoMemoryMap => f.write_str(
                "cannot boot: the hypervisor passed no memory map; use one that names the machine's memory, in PVH \
                 start information of version 1 (QEMU since 4.0) or a device tree",
            ),
            Self::ManyModules => f.write_str("cannot boot: several boot modules were passed; pass one at most"),
            Self::BadModule => f.write_str(
                "cannot use the boot module: it does not lie in the machine's memory; give the VM more memory \
                 (QEMU: -m, hermit-wasm: --memory)",
            ),
            Self::TwoPayloads => f.write_str(
                "cannot boot: a program is packed into this image, and another boot module was passed; pass none (leave \
                 out -initrd)",
            ),
            Self::PayloadBeyondMemory { payload, ram } => write!(
                f,
                "cannot use what is packed into this image: its {} at {:#x} do not lie in the VM's {} of memory; give the \
                 VM more memory (QEMU: -m)",
                Size(payload.len()),
                payload.start,
                Size(ram)
            ),
            Self::BadCommandLine => write!(
                f,
                "cannot use the command line: it has no end within {} KiB; pass a shorter one (-append)",
                crate::firmware::MAX_COMMAND_LINE >> 10
            ),
            Self::CommandLineNotText => {
                f.write_str("cannot use the command line: it is not UTF-8; pass arguments in UTF-8 (-append)")
            }
            Self::NoApplication => f.write_str(
                "cannot boot: there is no application inside this loader and no boot module was passed; pass the \
                 application (-initrd hermit-wasm)",
            ),
            Self::Application { embedded, file, error } => {
                let place = if embedded { "this image" } else { "the boot module" };
                let (len, start) = (file.len(), file.start);
                write!(f, "cannot load the application in {place} ({len} bytes at {start:#x}): {error}")
            }
            Self::NoRoom { what, size, ram } => {
                write!(f, "cannot place {what}: no room for its {} of the VM's {}", Size(size), Size(ram))?;
                f.write_str("; give the VM more memory (QEMU: -m, hermit-wasm: --memory)")
            }
            Self::TooLittleMemory { left, needed, ram } => {
                // What the firmware has of it is less than a unit.
                let least = ram.div_ceil(MIB) + needed.saturating_sub(left).div_ceil(MIB);
                write!(
                    f,
                    "cannot start the kernel: too little memory, {} of the VM's {} are left and it needs {}; give the VM \
                     {least} MiB at least (QEMU: -m {least}M, hermit-wasm: --memory {least}M)",
                    Size(left),
                    Size(ram),
                    Size(needed)
                )
            }
        }
    }
}

const MIB: u64 = 1 << 20;

/// A size for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 10 << 20 {
            write!(f, "{} KiB", self.0.div_ceil(1024))
        } else {
            write!(f, "{} MiB", self.0 >> 20)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_one_line_that_says_what_to_do() {
        let file = Span {
            start: 0x3fd_8000,
            end: 0x3fd_8042,
        };
        let elf = |error| Failure::Application {
            embedded: false,
            file,
            error,
        };
        let all = [
            Failure::NoStartInfo,
            Failure::NoDeviceTree,
            Failure::Processor("FSGSBASE"),
            Failure::OldInterruptController,
            Failure::WrongLevel,
            Failure::NoMemoryMap,
            Failure::ManyModules,
            Failure::BadModule,
            Failure::TwoPayloads,
            Failure::PayloadBeyondMemory {
                payload: file,
                ram: 32 << 20,
            },
            Failure::BadCommandLine,
            Failure::CommandLineNotText,
            Failure::NoApplication,
            elf(ElfError::Empty),
            elf(ElfError::NotElf),
            elf(ElfError::WebAssembly),
            elf(ElfError::WrongClass),
            elf(ElfError::WrongMachine {
                found: 183,
                expected: 62,
            }),
            elf(ElfError::NotHermit),
            elf(ElfError::EntryVersion(3)),
            elf(ElfError::Relocation(37)),
            elf(ElfError::Unsupported("something")),
            elf(ElfError::DynamicallyLinked),
            elf(ElfError::Truncated {
                what: "header",
                len: 5,
                end: Some(64),
            }),
            elf(ElfError::Damaged("something")),
            Failure::NoRoom {
                what: "the application",
                size: 5,
                ram: 6,
            },
            Failure::TooLittleMemory {
                left: 4096,
                needed: 2 << 20,
                ram: 4 << 20,
            },
        ];
        for failure in all {
            let line = failure.to_string();
            assert!(line.starts_with("cannot ") && !line.contains('\n'), "{line}");
            let (_, advice) = line.rsplit_once("; ").expect(&line);
            let verb = advice.split(' ').next();
            assert!(
                matches!(
                    verb,
                    Some("pass" | "give" | "use" | "boot" | "link" | "copy" | "build")
                ),
                "{line}"
            );
        }
    }

    #[test]
    fn messages_name_file_and_reason() {
        let failure = Failure::Application {
            embedded: false,
            file: Span {
                start: 0x1000,
                end: 0x1005,
            },
            error: ElfError::WrongMachine {
                found: 183,
                expected: 62,
            },
        };
        assert_eq!(
            failure.to_string(),
            "cannot load the application in the boot module (5 bytes at 0x1000): it is built for aarch64, this \
             loader boots x86_64; use loader and application of one architecture"
        );
        let failure = Failure::TooLittleMemory {
            left: 1,
            needed: 2 << 20,
            ram: 64 << 20,
        };
        assert_eq!(
            failure.to_string(),
            "cannot start the kernel: too little memory, 1 KiB of the VM's 64 MiB are left and it needs 2048 KiB; give \
             the VM 66 MiB at least (QEMU: -m 66M, hermit-wasm: --memory 66M)"
        );
        let failure = Failure::NoRoom {
            what: "the application",
            size: 3 << 20,
            ram: 4 << 20,
        };
        assert_eq!(
            failure.to_string(),
            "cannot place the application: no room for its 3072 KiB of the VM's 4096 KiB; give the VM more memory \
             (QEMU: -m, hermit-wasm: --memory)"
        );
    }
}
