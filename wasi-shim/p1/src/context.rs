//! What one guest of preview1 has.
//!
//! Layer: below the calls, above `wasi-core`. Built once before the guest starts; the calls get it mutably.

use wasi_core::WasiCtx;

use crate::abi::{Errno, types::Fd};
use crate::error::Error;
use crate::fd_table::FdTable;

/// All state of WASI for one guest of preview1.
#[derive(Debug)]
pub struct WasiP1Ctx<S> {
    /// What every interface of WASI works on.
    pub core: WasiCtx<S>,
    pub(crate) fds: FdTable,
}

impl<S> WasiP1Ctx<S> {
    /// The state of a guest that begins: its descriptors are numbered, the standard streams 0, 1 and 2, then the
    /// preopens.
    pub fn new(mut core: WasiCtx<S>) -> Self {
        let fds = FdTable::new(core.take_descriptors(), core.max_descriptors());
        Self { core, fds }
    }

    /// The number of the next descriptor, with room for it; see [`FdTable::vacancy`].
    ///
    /// # Errors
    /// MFILE, NOMEM; [`Error::Limit`].
    pub(crate) fn vacancy(&mut self) -> Result<Fd, Error> {
        self.fds.vacancy().or_else(|errno| {
            if errno == Errno::MFILE {
                self.core.no_descriptor();
            }
            self.check_limits()?;
            Err(Error::Errno(errno))
        })
    }

    /// Ends the guest if it has wanted more than it may use up.
    pub(crate) fn check_limits(&self) -> Result<(), Error> {
        self.core
            .exceeded()
            .map_or(Ok(()), |limit| Err(Error::Limit(limit)))
    }
}
