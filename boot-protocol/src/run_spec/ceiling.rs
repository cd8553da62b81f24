//! A description as a ceiling: what else is said of the run may narrow it.
//!
//! Layer: pure. The rules, in prose: `docs/pack.md`.

use alloc::string::{String, ToString as _};
use core::fmt;

use super::{Access, ModuleSource, Mount, MountSource, Network, Record, RunSpec, unique_variables};
use crate::network::Grant;

/// Something is said of a run that is more than its description allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeds {
    /// What kind of thing.
    pub record: Record,
    /// Which: a path, a variable's name, not its value.
    pub what: String,
    /// What the description says of that.
    pub ceiling: &'static str,
}

impl fmt::Display for Exceeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} exceeds what was packed: {}",
            self.record, self.what, self.ceiling
        )
    }
}

impl core::error::Error for Exceeds {}

impl RunSpec {
    /// This run as `by` narrows it: with its arguments behind its own, its values of [open](Self::open) variables, its
    /// terminals and its log level, less access to directories, and lower limits. One that may be widened is given all
    /// that `by` says besides: of two values that of `by` counts.
    ///
    /// # Errors
    /// [`Exceeds`] names the first thing of `by` that this does not have.
    #[inline(never)]
    pub fn narrowed(mut self, by: &Self) -> Result<Self, Exceeds> {
        // Each by its name, so that the compiler misses a field about which nothing is decided.
        let Self {
            module,
            argv,
            env,
            open: _,
            mounts,
            terminals,
            log,
            entry,
            invoked: _,
            preloads,
            limits,
            deterministic,
            tracing,
            may_be_widened: _,
            network,
        } = by;
        let exceeds = |record, what: &str, ceiling| Exceeds {
            record,
            what: what.into(),
            ceiling,
        };
        // What may be widened is the run, and not what runs.
        if *module != ModuleSource::Payload {
            return Err(exceeds(Record::Module, module.default_name(), "it has a module"));
        }
        if self.may_be_widened {
            return Ok(self.widened(by));
        }
        if let Some((name, arguments)) = argv.split_first() {
            let own = self.argv.first().map_or(module.default_name(), String::as_str);
            // The default is what is said if no name is.
            if name != module.default_name() && name != own {
                return Err(exceeds(Record::Argument, name, "the program has another name"));
            }
            if self.argv.is_empty() {
                self.argv.push(name.clone());
            }
            self.argv.extend_from_slice(arguments);
        }
        for variable @ (name, _) in env {
            if self.env.contains(variable) {
                continue;
            }
            match self.open.iter().position(|open| open == name) {
                Some(place) => drop(self.open.remove(place)),
                None if self.env.iter().any(|(own, _)| own == name) => {
                    return Err(exceeds(Record::Variable, name, "it has another value"));
                }
                None => return Err(exceeds(Record::Variable, name, "it has no such variable")),
            }
            self.env.push(variable.clone());
        }
        for mount in mounts {
            let own = self.mounts.iter_mut().find(|own| own.guest == mount.guest);
            let own = own.ok_or_else(|| exceeds(Record::Mount, &mount.guest, "it has no such directory"))?;
            *own = narrowed_mount(own, mount).map_err(|why| exceeds(Record::Mount, &mount.guest, why))?;
        }
        if let Some(entry) = entry.as_ref().filter(|entry| self.entry.as_ref() != Some(*entry)) {
            return Err(exceeds(Record::Entry, entry, "it calls another function"));
        }
        if let Some(preload) = preloads.iter().find(|preload| !self.preloads.contains(preload)) {
            return Err(exceeds(Record::Preload, &preload.name, "it has no such preload"));
        }
        if deterministic.is_some() && self.deterministic.is_some() && *deterministic != self.deterministic {
            return Err(exceeds(Record::Deterministic, "another seed", "it has a seed"));
        }
        if tracing.is_some() && *tracing != self.tracing {
            return Err(exceeds(Record::Tracing, "another trace", "it is not traced so"));
        }
        if let Some(network) = network {
            let own = self.network.as_mut();
            let own = own.ok_or_else(|| exceeds(Record::Network, "of this run", "it has no network"))?;
            own.narrow(network)
                .map_err(|(record, what, why)| exceeds(record, &what, why))?;
        }
        self.terminals = *terminals;
        self.log = log.or(self.log);
        self.limits = self.limits.narrowed(limits);
        self.deterministic = self.deterministic.or(*deterministic);
        Ok(self)
    }

    /// This run with all that `by` says.
    fn widened(mut self, by: &Self) -> Self {
        if let Some((name, arguments)) = by.argv.split_first() {
            if self.argv.is_empty() {
                self.argv.push(name.clone());
            }
            if let Some(own) = self.argv.first_mut()
                && name != ModuleSource::Payload.default_name()
            {
                own.clone_from(name);
            }
            self.argv.extend_from_slice(arguments);
        }
        let variables = self.env.iter().chain(&by.env);
        self.env = unique_variables(variables.map(|(name, value)| (name.as_str(), value.as_str())));
        self.open
            .retain(|open| by.env.iter().all(|(name, _)| name != open));
        for mount in &by.mounts {
            match self.mounts.iter_mut().find(|own| own.guest == mount.guest) {
                Some(own) => own.clone_from(mount),
                None => self.mounts.push(mount.clone()),
            }
        }
        for preload in &by.preloads {
            match self.preloads.iter_mut().find(|own| own.name == preload.name) {
                Some(own) => own.clone_from(preload),
                None => self.preloads.push(preload.clone()),
            }
        }
        if by.entry.is_some() {
            self.entry.clone_from(&by.entry);
            self.invoked = by.invoked;
        }
        for (limit, value) in by.limits.iter() {
            self.limits.set(limit, Some(value));
        }
        self.limits.trap_on_grow_failure |= by.limits.trap_on_grow_failure;
        self.terminals = by.terminals;
        self.log = by.log.or(self.log);
        self.deterministic = by.deterministic.or(self.deterministic);
        self.tracing = by.tracing.or(self.tracing);
        match (&mut self.network, &by.network) {
            (Some(own), Some(network)) => own.widen(network),
            (own, Some(network)) => *own = Some(network.clone()),
            (_, None) => {}
        }
        self
    }
}

impl Network {
    /// This network as `by` narrows it: with its targets for what is granted, and reached by its wire. An error names
    /// what of `by` is more, and says what the network is instead.
    fn narrow(&mut self, by: &Self) -> Result<(), (Record, String, &'static str)> {
        for grant in &by.grants {
            let own = self.grants.iter_mut().find(|own| own.is_named_as(grant));
            let own = own.ok_or_else(|| (Record::Grant, grant.to_string(), "it has no such grant"))?;
            // One that names no target has that of its name, which says nothing.
            if (&grant.target, grant.target_port) != (&grant.host, grant.port) {
                own.clone_from(grant);
            }
        }
        for listener in &by.listeners {
            if !self.listeners.iter().any(|own| own.port() == listener.port()) {
                let port = listener.port().to_string();
                return Err((Record::Listener, port, "it has no listener of this port"));
            }
        }
        for (port, protocol) in &by.published {
            if !self.may_listen(*port, *protocol) {
                return Err((
                    Record::Published,
                    port.to_string(),
                    "it does not expose this port",
                ));
            }
        }
        if by.inherit && !self.inherit {
            return Err((
                Record::Network,
                "inherit-network".into(),
                "it reaches what is granted only",
            ));
        }
        if by.look_up && !self.look_up {
            return Err((
                Record::Network,
                "allow-ip-name-lookup".into(),
                "it knows the granted names only",
            ));
        }
        (self.wire, self.address) = (by.wire, by.address);
        Ok(())
    }

    /// This network with all that `by` says.
    fn widen(&mut self, by: &Self) {
        for grant in &by.grants {
            match self.grants.iter_mut().find(|own| own.is_named_as(grant)) {
                Some(own) => own.clone_from(grant),
                None => self.grants.push(grant.clone()),
            }
        }
        for listener in &by.listeners {
            if !self.listeners.iter().any(|own| own.port() == listener.port()) {
                self.listeners.push(*listener);
            }
        }
        for published in &by.published {
            if !self.published.contains(published) {
                self.published.push(*published);
            }
        }
        self.inherit |= by.inherit;
        self.look_up |= by.look_up;
        (self.wire, self.address) = (by.wire, by.address);
    }
}

impl Grant {
    /// Whether the guest means both by one name, port and protocol.
    fn is_named_as(&self, other: &Self) -> bool {
        (&self.host, self.port, self.protocol) == (&other.host, other.port, other.protocol)
    }
}

/// The directory `own` as `by` narrows it: less access, or less room. An error says what it is, where `by` is more.
fn narrowed_mount(own: &Mount, by: &Mount) -> Result<Mount, &'static str> {
    let source = match (&own.source, &by.source) {
        // Nothing is said of its size.
        (MountSource::Tmpfs { size }, MountSource::Tmpfs { size: None }) => {
            MountSource::Tmpfs { size: *size }
        }
        (MountSource::Tmpfs { size }, MountSource::Tmpfs { size: Some(less) })
            if size.is_none_or(|size| *less <= size) =>
        {
            MountSource::Tmpfs { size: Some(*less) }
        }
        (MountSource::Tmpfs { .. }, MountSource::Tmpfs { .. }) => return Err("the directory is smaller"),
        (own, by) if own == by => own.clone(),
        _ => return Err("the directory is of another kind"),
    };
    if (own.access, by.access) == (Access::ReadOnly, Access::ReadWrite) {
        return Err("the directory is read-only");
    }
    Ok(Mount {
        source,
        guest: own.guest.clone(),
        access: by.access,
    })
}

#[cfg(test)]
#[path = "ceiling_tests.rs"]
mod tests;
