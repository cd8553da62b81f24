//! What the machine does, read off the fuzzer's bytes: any bytes are a script.

use boot_protocol::console::{FrameKind, Span, Window, header};

/// The machine's memory begins at this address.
pub(super) const BASE: u64 = 0x4000_0000;
/// Bytes of memory.
pub(super) const SIZE: u64 = 256 * 1024;
/// Windows must not begin below this address.
pub(super) const FIRST: u64 = BASE + 4096;

/// One thing that the machine, its hypervisor, or whoever runs it does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The machine sends these bytes.
    Send(Vec<u8>),
    /// It sends what it sent last so many times more.
    Again(u8),
    /// It writes to its memory, counted from the last window that it has named, or else from the start.
    Store { at: u64, length: u64, value: u8 },
    /// It takes at most so many bytes of answers.
    Take(usize),
    /// The hypervisor says this.
    Say(Vec<u8>),
    /// An end is closed.
    Close(End),
    /// Standard input has so many bytes more.
    Type(usize),
    /// The reader of standard output, or of standard error, takes so many bytes.
    Read { stderr: bool, length: usize },
    /// So many turns pass.
    Wait(u8),
    /// The run is stopped.
    Stop,
}

/// What can be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    ConsoleOut,
    ConsoleIn,
    Hypervisor,
    /// The hypervisor's process.
    Process,
    Stdin,
    Stdout,
    Stderr,
}

/// Reads steps. Past the end of the bytes there are zeros, and no more steps.
#[derive(Debug)]
pub(super) struct Script<'a> {
    bytes: &'a [u8],
    /// Counts what is sent as output, so that two pieces differ.
    fill: u8,
}

impl<'a> Script<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, fill: 0 }
    }

    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        *byte
    }

    fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number of any size from two bytes: eight bits, shifted. Above 31 it is a small one below 0 or below a power of
    /// two.
    fn number(&mut self) -> u32 {
        let (bits, shift) = (u32::from(self.byte()), self.byte());
        match shift {
            0..32 => bits << shift,
            32..64 => (1u32 << (shift - 32)).wrapping_sub(bits),
            _ => bits | u32::from(shift) << 8,
        }
    }

    /// Bytes of the script itself.
    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.bytes.len());
        let (bytes, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        bytes.to_vec()
    }

    fn filled(&mut self, length: usize) -> Vec<u8> {
        self.fill = self.fill.wrapping_add(41);
        (0..length)
            .map(|at| self.fill.wrapping_add(at.to_le_bytes()[0]))
            .collect()
    }

    /// The next step, and whether a turn passes after it.
    pub(super) fn step(&mut self) -> Option<(Step, bool)> {
        if self.bytes.is_empty() {
            return None;
        }
        let operation = self.byte();
        Some((self.operation(operation & 0x7f), operation & 0x80 != 0))
    }

    fn operation(&mut self, operation: u8) -> Step {
        let close = Step::Close;
        match operation % 36 {
            kind @ 0..16 => Step::Send(self.frame(kind + 1)),
            16 => Step::Send(self.bytes()),
            // A header alone: what follows becomes its payload.
            17 => Step::Send([&[0xff, self.byte()][..], &self.short().to_le_bytes()].concat()),
            18 => {
                let length = self.short();
                let payload = self.filled(length.into());
                Step::Send([&header(FrameKind::Stdout, length)[..], &payload].concat())
            }
            19 => Step::Again(self.byte()),
            20 => Step::Store {
                at: self.short().into(),
                length: u64::from(self.byte()) + 1,
                value: self.byte(),
            },
            21 => Step::Take(self.short().into()),
            22 => Step::Type(self.short().into()),
            23 => Step::Read {
                stderr: false,
                length: self.short().into(),
            },
            24 => Step::Read {
                stderr: true,
                length: self.short().into(),
            },
            25 => Step::Say(self.bytes()),
            26 => Step::Say(b"KVM internal error. Suberror: 1\n".to_vec()),
            27 => close(End::ConsoleOut),
            28 => close(End::ConsoleIn),
            29 => close(End::Hypervisor),
            30 => close(End::Process),
            31 => close(End::Stdin),
            32 => close(End::Stdout),
            33 => close(End::Stderr),
            34 => Step::Wait(self.byte()),
            _ => Step::Stop,
        }
    }

    /// A frame that is one, whatever it says.
    fn frame(&mut self, kind: u8) -> Vec<u8> {
        let kind = FrameKind::from_byte(kind).expect("the kinds are 1 to 16");
        let payload = match kind {
            FrameKind::Stdout | FrameKind::Stderr => {
                let length = self.byte().into();
                self.filled(length)
            }
            FrameKind::Diagnostic | FrameKind::Recording => self.bytes(),
            FrameKind::Read | FrameKind::Unread | FrameKind::Share => self.number().to_le_bytes().to_vec(),
            FrameKind::Poll | FrameKind::Time | FrameKind::Sync => vec![],
            FrameKind::Hello => vec![self.byte()],
            // In its old form, or with a cause and limits.
            FrameKind::Exit => match (self.byte(), self.byte()) {
                (code, 0xff) => vec![code],
                (code, how) => vec![code, how & 0x0f, how >> 4],
            },
            FrameKind::Window => self.window().to_bytes().to_vec(),
            FrameKind::StdoutWindow | FrameKind::StderrWindow | FrameKind::RecordingWindow => {
                let (offset, length) = (self.number(), self.number());
                Span { offset, length }.to_bytes().to_vec()
            }
        };
        let length = u16::try_from(payload.len()).expect("at most 255 bytes");
        [&header(kind, length)[..], &payload].concat()
    }

    /// Mostly one that lies in the memory.
    fn window(&mut self) -> Window {
        let address = match self.byte() {
            0 => u64::from(self.number()),
            1 => u64::MAX - u64::from(self.number()),
            page => FIRST + (u64::from(page - 2) << 10),
        };
        Window {
            address,
            output: self.number(),
            input: self.number(),
        }
    }
}
