//! `proc_exit`, `proc_raise`: the end of the guest.
//!
//! Layer: calls.

use crate::{
    abi::{
        Errno,
        types::{Exitcode, Signal},
    },
    context::WasiP1Ctx,
    error::Error,
    memory::GuestMemory,
};

/// What a shell adds to a signal's number when it reports that a signal ended a process.
const SIGNAL_EXIT_BASE: u32 = 128;

/// Ends the guest.
///
/// ```c
/// _Noreturn void proc_exit(exitcode rval);
/// ```
///
/// - `rval`: the exit code; 0 means success. All 32 bits reach the embedder.
///
/// Always returns [`Error::Exit`].
///
/// **Deviations:** wasmtime accepts 0 to 125 only.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#proc_exit>
pub fn proc_exit<S>(
    _ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    rval: Exitcode,
) -> Result<(), Error> {
    Err(Error::Exit(rval))
}

/// Sends a signal to the guest itself. There are no handlers, so what happens is the signal's action in the
/// specification.
///
/// ```c
/// errno proc_raise(signal sig);
/// ```
///
/// - `sig`: the signal. `none`, `cont`, and those whose action is to be ignored (`pipe`, `chld`, `urg`, `winch`)
///   do nothing. Those that terminate end the guest with exit code 128 + number, as a shell would report it.
///
/// **Errors:**
/// - INVAL: no signal has this number.
/// - NOTSUP: `stop`, `tstp`, `ttin`, `ttou`: nobody could continue a stopped guest.
///
/// **Deviations:** wasmtime answers NOTSUP to every signal.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#proc_raise>
pub fn proc_raise<S>(_ctx: &mut WasiP1Ctx<S>, _mem: &mut GuestMemory<'_>, sig: Signal) -> Result<(), Error> {
    match sig {
        Signal::None | Signal::Cont | Signal::Pipe | Signal::Chld | Signal::Urg | Signal::Winch => Ok(()),
        Signal::Stop | Signal::Tstp | Signal::Ttin | Signal::Ttou => Err(Errno::NOTSUP.into()),
        Signal::Hup
        | Signal::Int
        | Signal::Quit
        | Signal::Ill
        | Signal::Trap
        | Signal::Abrt
        | Signal::Bus
        | Signal::Fpe
        | Signal::Kill
        | Signal::Usr1
        | Signal::Segv
        | Signal::Usr2
        | Signal::Alrm
        | Signal::Term
        | Signal::Xcpu
        | Signal::Xfsz
        | Signal::Vtalrm
        | Signal::Prof
        | Signal::Poll
        | Signal::Pwr
        | Signal::Sys => Err(Error::Exit(SIGNAL_EXIT_BASE.saturating_add(u32::from(sig.raw())))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{abi::types::Param, calls::testbed::TestBed};

    #[test]
    fn proc_exit_carries_all_bits() {
        for code in [0, 1, 125, 126, 255, 256, u32::MAX] {
            assert_eq!(
                TestBed::new().run(|ctx, mem| proc_exit(ctx, mem, code)),
                Err(Error::Exit(code))
            );
        }
    }

    #[test]
    fn proc_raise_does_what_the_signal_says() {
        for number in 0..=30 {
            let signal = Signal::from_raw(number).expect("a signal");
            let end = TestBed::new().run(|ctx, mem| proc_raise(ctx, mem, signal));
            match number {
                0 | 13 | 16 | 17 | 22 | 27 => assert_eq!(end, Ok(()), "{signal:?}"),
                18..=21 => assert_eq!(end, Err(Errno::NOTSUP.into()), "{signal:?}"),
                _ => assert_eq!(end, Err(Error::Exit(128 + number)), "{signal:?}"),
            }
        }
        assert_eq!(Signal::from_raw(31), Err(Errno::INVAL));
    }
}
