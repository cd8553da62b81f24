//! Command lines that run the same without this program.

use std::path::Path;

use boot_protocol::run_spec::Terminals;

use super::choice::{self, Chosen};
use super::deadline::Deadline;
use super::request::Request;
use super::run::Run;
use crate::error::Error;
use crate::vmm::capabilities::{self, Feature};

impl Run {
    /// A command line that runs the same without this program, of the chosen hypervisor. `directory` is where the files
    /// go that it needs; without one, it names them as they are usually called.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn command(self, directory: Option<&Path>) -> Result<String, Error> {
        let deadline = self.deadline_from_now();
        let this = self.in_order(&deadline)?;
        if this.packed.is_some() {
            return Err(Error::Invalid(format!(
                "--print-command: {} is a packed file; 'hermit-wasm inspect' shows what it runs",
                this.module
            )));
        }
        this.command_in_order(directory, deadline)
    }

    fn command_in_order(&self, directory: Option<&Path>, deadline: Deadline) -> Result<String, Error> {
        if self.record.is_some() || self.replay.is_some() {
            return Err(Error::Invalid(
                "a recorded or replayed run needs this program; no command of the hypervisor's alone can do it"
                    .to_string(),
            ));
        }
        let mut demands = capabilities::demands(self);
        demands.push(Feature::Command);
        let vmm = self.choose(&demands)?;
        // By itself a command carries the module: native code is of this build alone.
        let chosen = match self.engines.demanded {
            None if !self.is_precompiled() => Chosen::Module,
            _ => choice::choose(self, &deadline)?,
        };
        let command = |chosen: &Chosen| {
            let request = Request::new(self, chosen.programs(self), Terminals::NONE, deadline.clone())?;
            vmm.command(&request, directory)
        };
        match command(&chosen) {
            // What was kept is damaged.
            Err(Error::Foreign(_)) if !self.is_precompiled() => {
                choice::forget(self, &deadline)?;
                command(&choice::choose(self, &deadline)?)
            }
            made => made,
        }
    }
}
