//! Which layers of the jail hold for a process, and why each other one does not.
//!
//! Layer: pure.

use std::fmt;

/// A layer of the jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layer {
    /// No environment variables.
    Environment,
    /// Only the descriptors that the process was given.
    Descriptors,
    /// Limits of resources, and no core dumps.
    Limits,
    /// No capabilities, or only those that it was described with.
    Capabilities,
    /// No way to new privileges.
    NoNewPrivileges,
    /// A filter of system calls.
    Calls,
    /// Namespaces: no other process, no network, no other user.
    Namespaces,
    /// The same with the host's network.
    OtherNamespaces,
    /// A root with nothing in it but what the process needs.
    Root,
    /// Landlock's rules.
    Landlock,
}

impl Layer {
    /// How to get it.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::Namespaces | Self::OtherNamespaces | Self::Root => {
                "allow user namespaces (the sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone and \
                 kernel.apparmor_restrict_unprivileged_userns, and in a container its seccomp profile), or run as root \
                 with CAP_SYS_ADMIN, on Linux 5.12 or newer"
            }
            Self::Landlock => "boot Linux 5.13 or newer, with 'landlock' in its parameter lsm=",
            Self::Capabilities => "run as an ordinary user",
            _ => "every Linux has it",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "empty environment",
            Self::Descriptors => "own descriptors only",
            Self::Limits => "resource limits",
            Self::Capabilities => "no capabilities",
            Self::NoNewPrivileges => "no_new_privs",
            Self::Calls => "system call filter",
            Self::Namespaces => "namespaces",
            Self::OtherNamespaces => "namespaces but the network's",
            Self::Root => "empty root",
            Self::Landlock => "Landlock",
        })
    }
}

/// A layer that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The layer.
    pub layer: Layer,
    /// Why it does not hold.
    pub reason: String,
}

/// Missing layers with their reasons; those with the same reason together.
fn together(missing: &[Missing]) -> Vec<String> {
    let same = missing.chunk_by(|one, other| one.reason == other.reason);
    same.filter_map(|same| Some(format!("{} ({})", names(same), same.first()?.reason)))
        .collect()
}

/// The names of layers that are missing for the same reason.
fn names(same: &[Missing]) -> String {
    let names: Vec<String> = same.iter().map(|missing| missing.layer.to_string()).collect();
    names.join(" and ")
}

/// What a process's jail is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// The layers that hold, outermost first.
    pub holds: Vec<Layer>,
    /// Those that the process is left to make itself, as its description says.
    pub itself: Vec<Layer>,
    /// Those that do not hold.
    pub missing: Vec<Missing>,
}

impl Layers {
    /// The layers without which no process is started, all of which hold.
    pub(super) fn demanded(without_capabilities: bool) -> Self {
        let mut layers = Self {
            holds: vec![Layer::Environment, Layer::Descriptors, Layer::Limits],
            ..Self::default()
        };
        match without_capabilities {
            true => layers.holds.push(Layer::Capabilities),
            false => layers.itself.push(Layer::Capabilities),
        }
        layers.holds.extend([Layer::NoNewPrivileges, Layer::Calls]);
        layers
    }

    /// Whether nothing stands between the process and the host's files but the user's rights.
    pub(crate) fn is_without_wall(&self) -> bool {
        let misses = |layer| self.missing.iter().any(|missing| missing.layer == layer);
        misses(Layer::Root) && misses(Layer::Landlock)
    }

    /// Adds a layer that holds, or does not for that reason.
    pub(super) fn add(&mut self, layer: Layer, holds: bool, reason: impl Into<String>) {
        if holds {
            return self.holds.push(layer);
        }
        self.missing.push(Missing {
            layer,
            reason: reason.into(),
        });
    }
}

/// Layers that [`Jail::Strict`](super::Jail::Strict) demands and that cannot be had here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--jail strict: {}. --jail auto does without", describe(.0))]
pub struct NotStrict(pub Vec<Missing>);

/// Each missing layer with its reason and what to do; layers with the same reason together.
fn describe(missing: &[Missing]) -> String {
    let mut sentences = Vec::new();
    for same in missing.chunk_by(|one, other| one.reason == other.reason) {
        let Some(first) = same.first() else { continue };
        sentences.push(format!(
            "this host lacks {} ({}); to get that: {}",
            names(same),
            first.reason,
            first.layer.advice()
        ));
    }
    sentences.join(". --jail strict: ")
}

impl From<NotStrict> for std::io::Error {
    fn from(missing: NotStrict) -> Self {
        Self::new(std::io::ErrorKind::PermissionDenied, missing)
    }
}

impl fmt::Display for Layers {
    /// One line, for -v.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.holds.is_empty() {
            return f.write_str("off");
        }
        write_list(f, &self.holds)?;
        if !self.itself.is_empty() {
            f.write_str("; left to itself: ")?;
            write_list(f, &self.itself)?;
        }
        if !self.missing.is_empty() {
            f.write_str("; missing: ")?;
            write_list(f, &together(&self.missing))?;
        }
        Ok(())
    }
}

fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, list: &[T]) -> fmt::Result {
    for (index, entry) in list.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{entry}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_holds_and_why_the_rest_does_not() {
        let mut layers = Layers::default();
        assert_eq!(layers.to_string(), "off");
        layers.holds = vec![Layer::Environment, Layer::Calls];
        assert_eq!(layers.to_string(), "empty environment, system call filter");
        layers.missing.push(Missing {
            layer: Layer::Capabilities,
            reason: "for a test".to_string(),
        });
        assert_eq!(
            layers.to_string(),
            "empty environment, system call filter; missing: no capabilities (for a test)"
        );
    }

    #[test]
    fn one_wall_around_files_is_one() {
        let mut layers = Layers::demanded(true);
        assert!(!layers.is_without_wall());
        layers.add(Layer::Root, false, "forbidden");
        assert!(!layers.is_without_wall());
        layers.add(Layer::Landlock, false, "too old");
        assert!(layers.is_without_wall());
    }

    #[test]
    fn layers_with_one_reason_are_named_together() {
        let mut layers = Layers::demanded(true);
        for layer in [Layer::Namespaces, Layer::Root] {
            layers.add(layer, false, "forbidden");
        }
        layers.add(Layer::Landlock, false, "too old");
        let line = layers.to_string();
        assert!(
            line.ends_with("; missing: namespaces and empty root (forbidden), Landlock (too old)"),
            "{line}"
        );
        let strict = NotStrict(layers.missing).to_string();
        for words in [
            "--jail strict: this host lacks namespaces and empty root (forbidden); to get that: allow user",
            "lacks Landlock (too old); to get that: boot Linux 5.13",
            "--jail auto does without",
        ] {
            assert!(strict.contains(words), "{strict}");
        }
    }
}
