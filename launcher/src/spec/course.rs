//! The way of a run from its description to its result: hypervisor, engine, machine, session.

use std::sync::Arc;
use std::time::Instant;

use boot_protocol::console::Cause;

use super::choice::{self, Chosen};
use super::deadline::Deadline;
use super::request::Request;
use super::run::Run;
use super::tracing::end_recording;
use super::{linking, outline};
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

/// What a run has tried.
#[derive(Default)]
struct Tried {
    /// The interpreter.
    module: bool,
    /// Native code.
    code: bool,
    /// Other code, in place of what was damaged.
    anew: bool,
}

impl Run {
    /// This run with the modules that others import from in order.
    ///
    /// # Errors
    /// There is an import cycle, or they cannot be read; the run is over.
    pub(super) fn in_order(mut self, deadline: &Deadline) -> Result<Self, Error> {
        if !self.linked {
            return Ok(self);
        }
        let mut nodes = Vec::new();
        for (name, module) in &self.preloads {
            let imports = outline::imports(module, deadline);
            let imports = imports.map_err(|error| error.into_error("look at the module"))?;
            nodes.push((name.as_str(), imports));
        }
        let order = linking::order(&nodes).map_err(|cycle| Error::Invalid(cycle.to_string()))?;
        let ordered = order
            .iter()
            .filter_map(|index| self.preloads.get(*index).cloned());
        self.preloads = ordered.collect();
        Ok(self)
    }

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
        let this = self.in_order(&deadline)?.with_what_was_packed(&deadline)?;
        let vmm = this.choose(&capabilities::demands(&this))?;
        let captured = ends.captured;
        let mut tried = Tried::default();
        let mut chosen = choice::choose(&this, &deadline)?;
        loop {
            let keep = StartError::file("keep the guest's streams open");
            let copies = streams
                .try_clone()
                .and_then(|streams| Ok((streams, captured.try_clone()?)));
            let (streams, captured) = copies.map_err(keep)?;
            let came = this.attempt(&*vmm, &chosen, streams, captured, &deadline, figures);
            match this.instead(&chosen, &came, &mut tried, &deadline)? {
                Some(other) => chosen = other,
                None => return came.map(|(result, _)| result),
            }
        }
    }

    /// What to try after this, where nothing of the guest has run and something else may do.
    fn instead(
        &self,
        chosen: &Chosen,
        came: &Result<(RunResult, Option<Cause>), Error>,
        tried: &mut Tried,
        deadline: &Deadline,
    ) -> Result<Option<Chosen>, Error> {
        let module = &self.module;
        // Whether the engine is ours to choose.
        let free = self.engines.demanded.is_none() && !self.is_precompiled();
        match chosen {
            Chosen::Module => tried.module = true,
            Chosen::Code(_) => tried.code = true,
            Chosen::Packed(_) => return Ok(None),
        }
        match (chosen, came) {
            // A disk, or somebody else, has changed what was kept.
            (Chosen::Code(_), Err(Error::Foreign(error))) if !self.is_precompiled() && !tried.anew => {
                log::warn!("code that was compiled before is not used: {}", error.reason());
                tried.anew = true;
                choice::forget(self, deadline)?;
                choice::choose(self, deadline).map(Some)
            }
            // Code is several times as long as its module.
            (Chosen::Code(_), Err(error))
                if free
                    && !tried.module
                    && (error.is_lack_of_room() || matches!(error, Error::Foreign(_))) =>
            {
                log::info!("{module} is interpreted: {error}");
                Ok(Some(Chosen::Module))
            }
            (Chosen::Code(_), Ok((_, Some(cause @ (Cause::CodeRefused | Cause::CodeDoesNotFit)))))
                if free && !tried.module =>
            {
                log::warn!("{module} is interpreted instead");
                if *cause == Cause::CodeRefused {
                    choice::refused(self, deadline)?;
                }
                Ok(Some(Chosen::Module))
            }
            (Chosen::Module, Ok((_, Some(Cause::ProposalMissing)))) if free && !tried.code => {
                choice::instead_of_the_interpreter(self, deadline)
            }
            _ => Ok(None),
        }
    }

    /// One machine, from its preparation to its end. The cause is one of those that say that nothing of the guest has
    /// run, from a machine of which nothing else was seen either.
    fn attempt(
        &self,
        vmm: &dyn Vmm,
        chosen: &Chosen,
        streams: Streams,
        captured: Captured,
        deadline: &Deadline,
        figures: &mut Figures,
    ) -> Result<(RunResult, Option<Cause>), Error> {
        let programs = chosen.programs(self);
        let request = Request::new(self, programs, streams.terminals(), deadline.clone())?;
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
            recording: self.begin_recording(&request)?,
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
        let cause = match &report.reason {
            ExitReason::Exit(ending) if !report.exchanged => ending.cause(),
            _ => None,
        };
        let result = result::conclude(report, &request, machine, captured, figures);
        if let Some(tape) = &config.recording {
            end_recording(tape, &result, figures);
        }
        Ok((result?, cause))
    }

    /// The first hypervisor that meets the demands and is installed. Where none is, the first one's reason counts. One
    /// whose program was named is wanted: where that is not there, no other takes its place.
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
