//! Records calls as they are made.

use alloc::vec::Vec;

use wasi_core::{Stream, System, descriptor::Descriptor, limits::Limit};

use super::{
    Arguments, event, number_length, put_number,
    touched::{self, Writes},
};
use crate::{
    abi::Errno,
    context::WasiP1Ctx,
    error::Trap,
    linker::{Stop, table::Function},
    memory::{GuestMemory, Ptr},
};

/// What a recording needs to know from one event to the next.
#[derive(Debug, Default)]
pub(in crate::linker) struct Recorder {
    /// How often memories and tables were to grow.
    growths: u64,
    /// Those that the system refused since the last event: the first, and how many in a row.
    refused: Vec<(u64, u64)>,
    /// The event that is being made.
    event: Vec<u8>,
}

/// A call that is being made.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::linker) struct Pending {
    function: Option<Function>,
    arguments: Arguments,
    check: u32,
    writes: Writes,
    /// Where what it prints goes.
    stream: Option<Stream>,
    /// How many bytes of output were left, if they are limited.
    left: Option<u64>,
}

impl Recorder {
    /// A call is about to be made.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn before<S: System>(
        &mut self,
        ctx: &mut WasiP1Ctx<S>,
        mem: &GuestMemory<'_>,
        function: Function,
        arguments: Arguments,
    ) -> Pending {
        self.send_refused(&mut ctx.core.system);
        let descriptor =
            |ctx: &WasiP1Ctx<S>| match ctx.fds.get(arguments.int(0)).map(|entry| &entry.descriptor) {
                Ok(Descriptor::Output { stream, .. }) => (Some(*stream), false),
                Ok(Descriptor::Stdin { .. }) => (None, true),
                _ => (None, false),
            };
        let (stream, waits) = match function {
            Function::FdWrite => (descriptor(ctx).0, false),
            Function::FdRead => (None, descriptor(ctx).1),
            Function::PollOneoff | Function::OldPollOneoff => (None, true),
            _ => (None, false),
        };
        if waits {
            // It may be the last thing that this guest does.
            ctx.core.system.recorded(true);
        }
        Pending {
            function: Some(function),
            arguments,
            check: touched::check(mem, function, &arguments),
            writes: Writes::new(ctx, mem, function, &arguments),
            stream,
            left: ctx.core.output_left(),
        }
    }

    /// A call has ended.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn after<S: System>(
        &mut self,
        ctx: &mut WasiP1Ctx<S>,
        mem: &GuestMemory<'_>,
        pending: &Pending,
        end: Result<u32, &Stop>,
    ) {
        let Some(function) = pending.function else { return };
        let succeeded = end == Ok(0);
        let output = match pending.stream {
            // What a call has written, it says in its last argument.
            Some(stream) if succeeded => {
                Some((stream, touched::number(mem, pending.arguments.int(3)).into()))
            }
            // What was left of the limit was printed.
            Some(stream) if matches!(end, Err(Stop::Limit(Limit::OutputBytes))) => {
                let [before, after] = [pending.left, ctx.core.output_left()].map(Option::unwrap_or_default);
                Some((stream, before.saturating_sub(after)))
            }
            _ => None,
        };
        self.event.clear();
        self.event.extend([event::CALL, function as u8]);
        for argument in pending.arguments.all() {
            put_number(&mut self.event, *argument);
        }
        self.event.extend(pending.check.to_le_bytes());
        self.put_end(end);
        match output {
            None => self.event.push(0),
            Some((stream, count)) => {
                self.event.push(match stream {
                    Stream::Stdout => 1,
                    Stream::Stderr => 2,
                });
                put_number(&mut self.event, count);
            }
        }
        self.send(ctx, mem, pending, end.is_ok().then_some(succeeded));
        // What a person may have seen is in the recording before anything else happens.
        ctx.core.system.recorded(output.is_some() || end.is_err());
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn put_end(&mut self, end: Result<u32, &Stop>) {
        let event = &mut self.event;
        match end {
            Ok(errno) => {
                event.push(event::ANSWERED);
                put_number(event, errno.into());
            }
            Err(Stop::Exit(code)) => {
                event.push(event::EXITED);
                put_number(event, (*code).into());
            }
            Err(Stop::Trap(Trap::OutOfBounds { start, len, memory })) => {
                event.push(event::OUT_OF_BOUNDS);
                put_number(event, (*start).into());
                put_number(event, *len);
                put_number(event, *memory);
            }
            Err(Stop::Trap(Trap::Misaligned { start, align })) => {
                event.push(event::MISALIGNED);
                put_number(event, (*start).into());
                put_number(event, (*align).into());
            }
            Err(Stop::Limit(limit)) => {
                event.push(event::LIMITED);
                let number = event::LIMITS.iter().position(|known| known == limit);
                // It is one of the three.
                event.push(
                    number
                        .and_then(|number| u8::try_from(number).ok())
                        .unwrap_or(u8::MAX),
                );
            }
            // Found out before a call is made, and the same in a replay: no call ends so.
            Err(Stop::Trap(Trap::NoMemory) | Stop::Replay(_)) => {
                event.push(event::ANSWERED);
                put_number(event, Errno::IO.raw().into());
            }
        }
    }

    /// Sends the event with what the call has written; `wrote`: whether it succeeded, if it may have written at all.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn send<S: System>(
        &mut self,
        ctx: &mut WasiP1Ctx<S>,
        mem: &GuestMemory<'_>,
        pending: &Pending,
        wrote: Option<bool>,
    ) {
        let Pending {
            arguments, writes, ..
        } = pending;
        let mut length = u64::try_from(self.event.len()).unwrap_or(u64::MAX);
        if let Some(succeeded) = wrote {
            writes.each(mem, arguments, succeeded, |region| {
                let [start, len] = [region.start, region.len].map(u64::from);
                let all = [number_length(start), number_length(len), len];
                length = all.into_iter().fold(length, u64::saturating_add);
            });
        }
        let system = &mut ctx.core.system;
        let mut number = Vec::new();
        put_number(&mut number, length);
        system.record(&number);
        system.record(&self.event);
        if let Some(succeeded) = wrote {
            writes.each(mem, arguments, succeeded, |region| {
                number.clear();
                put_number(&mut number, region.start.into());
                put_number(&mut number, region.len.into());
                system.record(&number);
                // A call that has succeeded has checked what it writes to.
                system.record(mem.bytes(Ptr::new(region.start), region.len).unwrap_or_default());
            });
        }
    }

    /// A memory or table is about to grow.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn growing(&mut self) {
        self.growths = self.growths.saturating_add(1);
    }

    /// The system had no room for it.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn growth_refused(&mut self) {
        match self.refused.last_mut() {
            Some((first, count)) if first.saturating_add(*count) > self.growths => {}
            Some((first, count)) if first.saturating_add(*count) == self.growths => {
                *count = count.saturating_add(1);
            }
            _ => self.refused.push((self.growths, 1)),
        }
    }

    /// Sends what is known of growths.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn send_refused(&mut self, system: &mut impl System) {
        for (first, count) in core::mem::take(&mut self.refused) {
            self.event.clear();
            self.event.push(event::REFUSED);
            put_number(&mut self.event, first);
            put_number(&mut self.event, count);
            self.send_short(system);
        }
    }

    /// The guest has come to its end.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn end(&mut self, system: &mut impl System) {
        self.send_refused(system);
        self.event.clear();
        self.event.push(event::END);
        self.send_short(system);
        system.recorded(true);
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn send_short(&mut self, system: &mut impl System) {
        let mut number = Vec::new();
        put_number(&mut number, u64::try_from(self.event.len()).unwrap_or(u64::MAX));
        system.record(&number);
        system.record(&self.event);
        system.recorded(false);
    }
}
