//! The way of a run from its description to its result: hypervisor, engine, machine, session.

use std::sync::Arc;
use std::time::Instant;

use boot_protocol::console::Cause;

use super::choice::{self, Chosen};
use super::deadline::Deadline;
use super::request::Request;
use super::run::Run;
use crate::error::{Error, StartError};
use crate::host::memory::GuestMemory;
use crate::host::virtiofsd::Daemon;
use crate::jail::Jail;
use crate::report::Figures;
use crate::result::{self, RunResult};
use crate::session::streams::{Captured, OtherEnds, Streams};
use crate::session::{self, ExitReason, SessionConfig};
use crate::vmm::capabilities::{self, Feature};
use crate::vmm::{self, Vmm};

impl Run {
    /// The whole way of a run.
    pub(super) fn execute(
        self,
        streams: Streams,
        ends: OtherEnds,
        deadline: Deadline,
        figures: &mut Figures,
    ) -> Result<RunResult, Error> {
        figures.memory = Some(self.machine.memory);
        if self.jail == Jail::Off {
            log::warn!(
                "--jail off: a machine that is taken over has all rights of this user, on the whole host"
            );
        }
        let vmm = self.choose(&capabilities::demands(&self))?;
        let chosen = choice::choose(&self, &deadline)?;
        let captured = ends.captured;
        if !matches!(chosen, Chosen::Code(_)) || !self.may_be_interpreted() {
            let ended = self.attempt(&*vmm, &chosen, streams, captured, &deadline, figures);
            return ended.map(|(result, _)| result);
        }
        let keep = StartError::file("keep the guest's streams open");
        let copies = streams
            .try_clone()
            .and_then(|streams| Ok((streams, captured.try_clone()?)));
        let (first, first_captured) = copies.map_err(keep)?;
        match self.attempt(&*vmm, &chosen, first, first_captured, &deadline, figures)? {
            (result, false) => Ok(result),
            (_, true) => {
                log::warn!("{} is interpreted instead", self.module);
                choice::refused(&self, &deadline)?;
                let ended = self.attempt(&*vmm, &Chosen::Module, streams, captured, &deadline, figures);
                ended.map(|(result, _)| result)
            }
        }
    }

    /// Whether the interpreter can take over from native code.
    fn may_be_interpreted(&self) -> bool {
        self.engines.demanded.is_none() && !self.module.is_precompiled()
    }

    /// One machine, from its preparation to its end; and whether it could not load native code, so that nothing of the guest
    /// has run.
    fn attempt(
        &self,
        vmm: &dyn Vmm,
        chosen: &Chosen,
        streams: Streams,
        captured: Captured,
        deadline: &Deadline,
        figures: &mut Figures,
    ) -> Result<(RunResult, bool), Error> {
        let program = chosen.program(&self.module);
        let request = Request::new(self, program, streams.terminals(), deadline.clone())?;
        let prepared = vmm.prepare(&request)?;
        request.deadline().check()?;
        let mut machine = prepared.spawn()?;
        (figures.hypervisor, figures.accelerator) = (Some(machine.hypervisor), Some(machine.accelerator));
        figures.engine = Some(request.engine());
        let config = SessionConfig {
            deadline: request.deadline().at(),
            boot_deadline: Instant::now() + machine.boot_limit,
            only_boot: false,
            show_text: self.show_machine || self.spec.log.is_some(),
            show_hypervisor: self.show_machine,
            diagnostics: self.diagnostics,
        };
        let report = session::run(&mut machine, request.interrupts(), &config, streams);
        figures.started(report.hello);
        figures.hypervisor_memory = report.hypervisor_memory;
        figures.machine_memory = machine.memory.as_ref().and_then(GuestMemory::touched);
        figures.quota_met = machine.daemons.iter().any(Daemon::quota_met);
        figures.finish();
        for daemon in &mut machine.daemons {
            for complaint in daemon.complaints() {
                log::warn!("{complaint}");
            }
        }
        let code_refused = matches!(
            &report.reason,
            ExitReason::Exit(ending) if ending.cause() == Some(Cause::CodeRefused)
        );
        let result = result::conclude(report, &request, machine, captured, figures)?;
        Ok((result, code_refused))
    }

    /// The first hypervisor that meets the demands and is installed. Where none is, the first one's reason counts. One whose
    /// program was named is wanted: where that is not there, no other takes its place.
    pub(super) fn choose(&self, demands: &[Feature]) -> Result<Arc<dyn Vmm>, Error> {
        let known = vmm::all();
        let mut reason = None;
        for vmm in &self.vmms {
            let able = capabilities::refuse(&**vmm, demands, &known).map_err(Error::from);
            match able.and_then(|()| Ok(vmm.program(self.machine.arch)?)) {
                Ok(_) => return Ok(Arc::clone(vmm)),
                Err(error @ Error::Start(StartError::NoProgram { .. })) => return Err(error),
                Err(error) => reason = reason.or(Some(error)),
            }
        }
        Err(reason.unwrap_or_else(|| Error::Invalid("the run was given no hypervisor".to_string())))
    }
}
