//! Answers calls from a recording.

use alloc::{borrow::Cow, format, string::ToString as _};

use wasi_core::{Stream, System, WasiCtx};

use super::{
    Arguments, MOST_ARGUMENTS, ReplayStop, Shown,
    event::{self, Answer, Ended, Event, Malformed},
    touched,
};
use crate::{
    linker::{Stop, table::Function},
    memory::{GuestMemory, Ptr},
};

/// A recording that is being replayed.
#[derive(Debug)]
pub(in crate::linker) struct Player {
    recording: Cow<'static, [u8]>,
    /// How many bytes of it are used.
    used: usize,
    /// The calls that were answered.
    calls: u64,
    /// How often memories and tables were to grow.
    growths: u64,
    /// Whether the last of them was refused as recorded.
    refused: bool,
    /// Whether this machine had no room where the recorded one had.
    is_short_of_memory: bool,
}

impl Player {
    /// A recording at its beginning.
    pub(super) const fn new(recording: Cow<'static, [u8]>) -> Self {
        Self {
            recording,
            used: 0,
            calls: 0,
            growths: 0,
            refused: false,
            is_short_of_memory: false,
        }
    }

    /// What has not been used.
    fn rest(&self) -> &[u8] {
        self.recording.get(self.used..).unwrap_or_default()
    }

    /// Notes that all but `left` bytes are used.
    fn use_up(&mut self, left: usize) {
        self.used = self.recording.len().saturating_sub(left);
    }

    /// The answer to a call, with all that it did.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn answer(
        &mut self,
        core: &mut WasiCtx<impl System>,
        mem: &mut GuestMemory<'_>,
        function: Function,
        arguments: &Arguments,
    ) -> Result<u32, Stop> {
        let (found, left) = self.find(mem, function, arguments).map_err(Stop::Replay)?;
        if let Some((stream, count)) = found.output {
            // First, as what it writes may overwrite it.
            print(core, mem, arguments, stream, count).map_err(|()| Stop::Replay(self.damaged()))?;
        }
        for write in found.writes {
            let written = write.ok().and_then(|(address, bytes)| {
                let len = u32::try_from(bytes.len()).ok()?;
                mem.bytes_mut(Ptr::new(address), len).ok()?.copy_from_slice(bytes);
                Some(())
            });
            written.ok_or_else(|| Stop::Replay(self.damaged()))?;
        }
        let end = found.end;
        self.use_up(left);
        self.calls = self.calls.saturating_add(1);
        match end {
            Ended::Errno(errno) => Ok(errno.into()),
            Ended::Exit(code) => Err(Stop::Exit(code)),
            Ended::Trap(trap) => Err(Stop::Trap(trap)),
            Ended::Limit(limit) => Err(Stop::Limit(limit)),
        }
    }

    /// What the recording has for this call, if it is the one that comes next there, and how many bytes are behind it.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn find(
        &self,
        mem: &GuestMemory<'_>,
        function: Function,
        arguments: &Arguments,
    ) -> Result<(Answer<'_>, usize), ReplayStop> {
        let asked = Shown(function, arguments.all());
        if self.is_short_of_memory {
            return Err(ReplayStop::Diverged(format!(
                "this machine had no memory for a growth that the recorded one had memory for, before {asked}; give it \
                 more with --memory SIZE"
            )));
        }
        let (call, rest) = match event::next(self.rest()) {
            Ok(Some((Event::Call(call), rest))) => (call, rest),
            Ok(None) => {
                return Err(ReplayStop::Over {
                    calls: self.calls,
                    next: asked.to_string(),
                });
            }
            Ok(Some((Event::Refused { .. }, _))) => {
                return Err(self.diverged(&format!("it asks for {asked}, where it had asked for memory")));
            }
            Ok(Some((Event::End, _))) => {
                return Err(self.diverged(&format!("it asks for {asked}, where it had come to its end")));
            }
            Err(Malformed) => return Err(self.damaged()),
        };
        let known = Function::from_place(call.function).ok_or_else(|| self.damaged())?;
        let mut recorded = [0; MOST_ARGUMENTS];
        let recorded = recorded
            .get_mut(..known.signature().params.len())
            .unwrap_or_default();
        let answer = call.read(recorded).map_err(|Malformed| self.damaged())?;
        if known != function || recorded != arguments.all() {
            let recorded = Shown(known, recorded);
            return Err(self.diverged(&format!("it asks for {asked}, where it had asked for {recorded}")));
        }
        if answer.check != touched::check(mem, function, arguments) {
            return Err(self.diverged(&format!(
                "{asked} finds other bytes in memory than it had found there"
            )));
        }
        // Nothing comes back from there.
        if function == Function::ProcExit && matches!(answer.end, Ended::Errno(_)) {
            return Err(self.damaged());
        }
        Ok((answer, rest.len()))
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn diverged(&self, how: &str) -> ReplayStop {
        ReplayStop::Diverged(format!("after {} calls, {how}", self.calls))
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn damaged(&self) -> ReplayStop {
        ReplayStop::Damaged(format!(
            "what stands there after {} calls means nothing",
            self.calls
        ))
    }

    /// A memory or table is about to grow: whether the recorded system had room.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn growing(&mut self) -> bool {
        self.growths = self.growths.saturating_add(1);
        self.refused = false;
        if let Ok(Some((Event::Refused { first, count }, rest))) = event::next(self.rest())
            && let Some(place) = self.growths.checked_sub(first)
            && place < count
        {
            let left = rest.len();
            self.refused = true;
            if place.saturating_add(1) == count {
                self.use_up(left);
            }
        }
        !self.refused
    }

    /// The system had no room for it.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn growth_refused(&mut self) {
        self.is_short_of_memory |= !self.refused;
    }

    /// The guest has come to its end.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn end(&mut self) -> Result<(), ReplayStop> {
        match event::next(self.rest()) {
            Ok(Some((Event::End, _)) | None) => Ok(()),
            Ok(Some(_)) => Err(self.diverged("it comes to its end, where it had gone on")),
            Err(Malformed) => Err(self.damaged()),
        }
    }
}

/// Prints the first `count` bytes of a call's buffers, which count as output here too.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn print(
    core: &mut WasiCtx<impl System>,
    mem: &GuestMemory<'_>,
    arguments: &Arguments,
    stream: Stream,
    count: u64,
) -> Result<(), ()> {
    let mut left = count;
    touched::each_buffer(mem, arguments, |buf, len| {
        let len = u32::try_from(left).map_or(len, |left| len.min(left));
        let Ok(mut bytes) = mem.bytes(Ptr::new(buf), len) else {
            return false;
        };
        left = left.saturating_sub(len.into());
        while !bytes.is_empty() {
            match core.print(stream, bytes) {
                Ok(taken @ 1..) => bytes = bytes.get(taken..).unwrap_or_default(),
                // Nobody is there to be told.
                Ok(0) | Err(_) => break,
            }
        }
        left > 0
    });
    if left == 0 { Ok(()) } else { Err(()) }
}
