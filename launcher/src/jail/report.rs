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
    /// How to get it.
    pub advice: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.layer, self.reason)
    }
}

/// What a process's jail is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The layers that hold, outermost first.
    pub holds: Vec<Layer>,
    /// Those that do not.
    pub missing: Vec<Missing>,
}

impl fmt::Display for Report {
    /// One line, for -v.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.holds.is_empty() {
            return f.write_str("off");
        }
        write_list(f, &self.holds)?;
        if !self.missing.is_empty() {
            f.write_str("; missing: ")?;
            write_list(f, &self.missing)?;
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
        let mut report = Report::default();
        assert_eq!(report.to_string(), "off");
        report.holds = vec![Layer::Environment, Layer::Calls];
        assert_eq!(report.to_string(), "empty environment, system call filter");
        report.missing.push(Missing {
            layer: Layer::Capabilities,
            reason: "for a test".to_string(),
            advice: "none",
        });
        assert_eq!(
            report.to_string(),
            "empty environment, system call filter; missing: no capabilities (for a test)"
        );
    }
}
