//! What must come of what the machine has sent: the reference for a whole session, far simpler than the session.

use boot_protocol::console::{Decoder, Event, Frame, MAX_PAYLOAD, Span, VERSION, VERSION_SHARED, Window};
use boot_protocol::shown::{self, LONGEST_MESSAGE, Layout};

use super::script::{BASE, FIRST, SIZE};

/// Bytes of the application's messages that are kept.
const MOST_DIAGNOSTIC: usize = 64 * 1024;

/// Bytes of output, in order.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    /// These.
    Bytes(Vec<u8>),
    /// What lies, or has lain, at these places of the memory.
    Memory { at: u64, length: u64 },
}

/// What the machine's frames mean, up to EXIT or to the first that breaks the protocol.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) stdout: Vec<Segment>,
    pub(super) stderr: Vec<Segment>,
    pub(super) diagnostic: String,
    pub(super) exit: Option<u8>,
    /// Whether a frame breaks the protocol.
    pub(super) broken: bool,
    /// Whether one may, depending on what was answered when.
    pub(super) doubtful: bool,
    /// Most bytes for each READ.
    pub(super) reads: Vec<usize>,
    pub(super) polls: usize,
    pub(super) times: usize,
    pub(super) syncs: usize,
    pub(super) started: bool,
    /// The window, once it is accepted.
    pub(super) window: Option<Window>,
    version: u8,
}

impl Model {
    /// Of all that was sent.
    pub(super) fn of(sent: &[u8], memory: bool, show_diagnostics: bool, only_boot: bool) -> Self {
        let mut model = Self::default();
        Decoder::new().feed(sent, |event| {
            let over = model.exit.is_some() || model.broken || (only_boot && model.started);
            match event {
                // At once, also with the frames that come together with a broken one.
                Event::Frame(Frame::Time) => model.times += 1,
                Event::Frame(frame) if !over => model.frame(frame, memory, show_diagnostics),
                _ => {}
            }
        });
        model
    }

    fn frame(&mut self, frame: Frame<'_>, memory: bool, show_diagnostics: bool) {
        match frame {
            Frame::Stdout(bytes) => self.stdout.push(Segment::Bytes(bytes.to_vec())),
            Frame::Stderr(bytes) => self.stderr.push(Segment::Bytes(bytes.to_vec())),
            Frame::Diagnostic(bytes) => {
                let room = MOST_DIAGNOSTIC.saturating_sub(self.diagnostic.len());
                if room > 0 {
                    let text = shown::bounded(bytes, Layout::Text, room.min(LONGEST_MESSAGE));
                    self.diagnostic.push_str(&text);
                    if show_diagnostics {
                        self.stderr.push(Segment::Bytes(text.into_bytes()));
                    }
                }
            }
            Frame::StdoutWindow(span) => match self.span(span) {
                Some(segment) => self.stdout.push(segment),
                None => self.broken = true,
            },
            Frame::StderrWindow(span) => match self.span(span) {
                Some(segment) => self.stderr.push(segment),
                None => self.broken = true,
            },
            Frame::Read { max } => {
                let room = self
                    .window
                    .map_or(0, |window| window.input)
                    .max(MAX_PAYLOAD as u32);
                self.reads.push(max.clamp(1, room) as usize);
                self.doubtful = true;
            }
            Frame::Poll => {
                self.polls += 1;
                self.doubtful = true;
            }
            Frame::Unread { .. } => self.doubtful = true,
            // Counted already.
            Frame::Time => {}
            Frame::Sync => self.syncs += 1,
            Frame::Exit(ending) => self.exit = Some(ending.code),
            Frame::Hello { version } => {
                let most = if memory { VERSION_SHARED } else { VERSION };
                self.broken = !(VERSION..=most).contains(&version);
                self.started = true;
                self.version = version;
            }
            Frame::Window(window) => {
                let right = memory && self.version == VERSION_SHARED && self.window.is_none();
                match right && lies_in_memory(window) {
                    true => self.window = Some(window),
                    false => self.broken = true,
                }
            }
            // There are no directories.
            Frame::Share { .. } => self.broken = true,
            // Nobody has asked for a recording.
            Frame::Recording(_) | Frame::RecordingWindow(_) => self.broken = true,
        }
    }

    fn span(&self, span: Span) -> Option<Segment> {
        let window = self.window?;
        let end = u64::from(span.offset) + u64::from(span.length);
        (end <= window.output.into()).then(|| Segment::Memory {
            at: window.address - BASE + u64::from(span.offset),
            length: span.length.into(),
        })
    }
}

/// In numbers that cannot overflow.
pub(super) fn lies_in_memory(window: Window) -> bool {
    let end = u128::from(window.address) + u128::from(window.output) + u128::from(window.input);
    window.address >= FIRST && end <= u128::from(BASE + SIZE)
}
