//! A description as a ceiling: what else is said of the run may narrow it.
//!
//! Layer: pure. The rules, in prose: `docs/pack.md`.

use alloc::string::String;
use core::fmt;

use super::{Access, ModuleSource, Mount, MountSource, Record, RunSpec, unique_variables};

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
        self
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
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec;

    use super::*;
    use crate::run_spec::{Limit, Preload, Terminals, Tracing};

    fn mount(guest: &str, access: Access) -> Mount {
        Mount {
            source: MountSource::VirtioFs {
                tag: guest.to_string(),
            },
            guest: guest.to_string(),
            access,
        }
    }

    fn ceiling() -> RunSpec {
        RunSpec {
            argv: vec!["app".into(), "--fixed".into()],
            env: vec![("A".into(), "1".into())],
            open: vec!["O".into(), "P".into()],
            mounts: vec![mount("/rw", Access::ReadWrite), mount("/ro", Access::ReadOnly)],
            entry: Some("f".into()),
            preloads: vec![Preload {
                name: "l".into(),
                member: "preload-0.wasm".into(),
            }],
            limits: crate::run_spec::Limits::NONE.with(Limit::Fuel, 10),
            ..RunSpec::default()
        }
    }

    #[test]
    fn nothing_said_changes_nothing() {
        assert_eq!(ceiling().narrowed(&RunSpec::default()), Ok(ceiling()));
    }

    #[test]
    fn what_narrows_is_taken() {
        let by = RunSpec {
            argv: vec![ModuleSource::Payload.default_name().into(), "more".into()],
            env: vec![("A".into(), "1".into()), ("P".into(), "/home".into())],
            mounts: vec![mount("/rw", Access::ReadOnly), mount("/ro", Access::ReadOnly)],
            terminals: Terminals::ALL,
            log: Some(crate::run_spec::LogLevel::Info),
            entry: Some("f".into()),
            preloads: ceiling().preloads,
            limits: crate::run_spec::Limits::NONE
                .with(Limit::Fuel, 7)
                .with(Limit::Stack, 5),
            deterministic: Some(3),
            ..RunSpec::default()
        };
        let narrowed = ceiling().narrowed(&by).unwrap();
        assert_eq!(
            narrowed,
            RunSpec {
                argv: vec!["app".into(), "--fixed".into(), "more".into()],
                mounts: by.mounts.clone(),
                limits: by.limits,
                open: vec!["O".into()],
                ..by.clone()
            }
        );
        // Higher limits change nothing.
        let higher = RunSpec {
            limits: crate::run_spec::Limits::NONE.with(Limit::Fuel, 11),
            ..RunSpec::default()
        };
        assert_eq!(ceiling().narrowed(&higher), Ok(ceiling()));
    }

    #[test]
    fn a_name_that_is_equal_is_taken() {
        let named = |name: &str| RunSpec {
            argv: vec![name.into(), "more".into()],
            ..RunSpec::default()
        };
        let narrowed = ceiling().narrowed(&named("app")).unwrap();
        assert_eq!(narrowed.argv, ["app", "--fixed", "more"]);
        // One that has no name is called so.
        let narrowed = RunSpec::default().narrowed(&named("boot-module.wasm")).unwrap();
        assert_eq!(narrowed.argv, ["boot-module.wasm", "more"]);
        let error = RunSpec::default().narrowed(&named("app")).unwrap_err();
        assert_eq!(error.record, Record::Argument);
    }

    #[test]
    fn a_directory_in_memory_may_be_smaller() {
        let with = |size| RunSpec {
            mounts: vec![Mount {
                source: MountSource::Tmpfs { size },
                guest: "/tmp".into(),
                access: Access::ReadWrite,
            }],
            ..RunSpec::default()
        };
        for (own, by, holds) in [
            (Some(10), Some(9), Ok(Some(9))),
            (Some(10), Some(10), Ok(Some(10))),
            (Some(10), None, Ok(Some(10))),
            (None, Some(10), Ok(Some(10))),
            (None, None, Ok(None)),
            (Some(10), Some(11), Err(Record::Mount)),
        ] {
            let narrowed = with(own).narrowed(&with(by));
            let expected = holds.map(with);
            assert_eq!(
                narrowed.map_err(|error| error.record),
                expected,
                "{own:?} by {by:?}"
            );
        }
    }

    #[test]
    fn what_may_be_widened_is() {
        let ceiling = RunSpec {
            may_be_widened: true,
            ..ceiling()
        };
        assert_eq!(ceiling.clone().narrowed(&RunSpec::default()), Ok(ceiling.clone()));
        let by = RunSpec {
            argv: vec!["other".into(), "more".into()],
            env: vec![
                ("B".into(), "3".into()),
                ("A".into(), "2".into()),
                ("O".into(), "4".into()),
            ],
            mounts: vec![mount("/new", Access::ReadOnly), mount("/ro", Access::ReadWrite)],
            entry: Some("g".into()),
            invoked: true,
            preloads: vec![
                Preload {
                    name: "l".into(),
                    member: "other".into(),
                },
                Preload {
                    name: "m".into(),
                    member: "m".into(),
                },
            ],
            limits: crate::run_spec::Limits::NONE
                .with(Limit::Fuel, 11)
                .trapping_on_grow_failure(),
            deterministic: Some(3),
            tracing: Some(Tracing::Record),
            terminals: Terminals::ALL,
            ..RunSpec::default()
        };
        let expected = RunSpec {
            argv: vec!["other".into(), "--fixed".into(), "more".into()],
            env: vec![
                ("A".into(), "2".into()),
                ("B".into(), "3".into()),
                ("O".into(), "4".into()),
            ],
            open: vec!["P".into()],
            mounts: vec![
                mount("/rw", Access::ReadWrite),
                mount("/ro", Access::ReadWrite),
                mount("/new", Access::ReadOnly),
            ],
            may_be_widened: true,
            ..by.clone()
        };
        assert_eq!(ceiling.clone().narrowed(&by), Ok(expected));
        let other = RunSpec {
            module: ModuleSource::Embedded,
            ..RunSpec::default()
        };
        assert_eq!(ceiling.narrowed(&other).unwrap_err().record, Record::Module);
    }

    #[test]
    fn what_widens_is_refused() {
        let nothing = RunSpec::default;
        let wider = [
            (
                Record::Module,
                RunSpec {
                    module: ModuleSource::Path("share/x.wasm".into()),
                    ..nothing()
                },
            ),
            (
                Record::Module,
                RunSpec {
                    module: ModuleSource::Embedded,
                    ..nothing()
                },
            ),
            (
                Record::Argument,
                RunSpec {
                    argv: vec!["other".into()],
                    ..nothing()
                },
            ),
            (
                Record::Variable,
                RunSpec {
                    env: vec![("A".into(), "2".into())],
                    ..nothing()
                },
            ),
            (
                Record::Variable,
                RunSpec {
                    env: vec![("B".into(), "1".into())],
                    ..nothing()
                },
            ),
            (
                Record::Mount,
                RunSpec {
                    mounts: vec![mount("/ro", Access::ReadWrite)],
                    ..nothing()
                },
            ),
            (
                Record::Mount,
                RunSpec {
                    mounts: vec![mount("/new", Access::ReadOnly)],
                    ..nothing()
                },
            ),
            (
                Record::Mount,
                RunSpec {
                    mounts: vec![Mount {
                        source: MountSource::Tmpfs { size: None },
                        ..mount("/rw", Access::ReadWrite)
                    }],
                    ..nothing()
                },
            ),
            (
                Record::Entry,
                RunSpec {
                    entry: Some("g".into()),
                    ..nothing()
                },
            ),
            (
                Record::Preload,
                RunSpec {
                    preloads: vec![Preload {
                        name: "l".into(),
                        member: "other".into(),
                    }],
                    ..nothing()
                },
            ),
            (
                Record::Tracing,
                RunSpec {
                    tracing: Some(Tracing::Replay),
                    ..nothing()
                },
            ),
        ];
        for (record, by) in wider {
            let error = ceiling().narrowed(&by).unwrap_err();
            assert_eq!(error.record, record, "{error}");
        }
        let by = RunSpec {
            mounts: vec![mount("/ro", Access::ReadWrite)],
            ..nothing()
        };
        assert_eq!(
            ceiling().narrowed(&by).unwrap_err().to_string(),
            "mount \"/ro\" exceeds what was packed: the directory is read-only"
        );
        let seeded = RunSpec {
            deterministic: Some(1),
            ..nothing()
        };
        let other = RunSpec {
            deterministic: Some(2),
            ..nothing()
        };
        assert_eq!(seeded.narrowed(&other).unwrap_err().record, Record::Deterministic);
    }
}
