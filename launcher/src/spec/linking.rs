//! The order in which modules that import from each other begin: each after those that it imports from.
//!
//! Layer: pure. What a module imports from: `outline`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use boot_protocol::shown::piece;

/// A module by its name, and the names of the modules that it imports from, of which some may be unknown here.
pub(super) type Node<'a> = (&'a str, BTreeSet<String>);

/// Modules that import from each other in a cycle: none of them can begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cycle(Vec<String>);

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("import cycle: ")?;
        let names = self.0.iter().chain(self.0.first()).map(piece);
        for (number, name) in names.enumerate() {
            match number {
                0 => write!(f, "'{name}'")?,
                1 => write!(f, " imports from '{name}'")?,
                _ => write!(f, ", which imports from '{name}'")?,
            }
        }
        Ok(())
    }
}

/// How far a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    /// Some of what it imports from is being looked at.
    Begun,
    Placed,
}

/// The order in which `nodes` begin, by their indices. It is the given one where that is possible.
///
/// # Errors
/// [`Cycle`] names the modules of one.
pub(super) fn order(nodes: &[Node<'_>]) -> Result<Vec<usize>, Cycle> {
    let places: BTreeMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .map(|(index, (name, _))| (*name, index))
        .collect();
    // What each imports from, in the order in which they were given.
    let needs = |index: usize| {
        let imports = nodes.get(index).map(|(_, imports)| imports);
        let needs = imports
            .into_iter()
            .flatten()
            .filter_map(|name| places.get(name.as_str()).copied());
        needs.collect::<BTreeSet<usize>>().into_iter()
    };
    let mut states = vec![State::New; nodes.len()];
    let mut placed = Vec::with_capacity(nodes.len());
    for first in 0..nodes.len() {
        // Not by recursion: a chain may be long.
        let mut path = vec![(first, needs(first))];
        if std::mem::replace(&mut states[first], State::Begun) == State::Placed {
            states[first] = State::Placed;
            continue;
        }
        while let Some((index, rest)) = path.last_mut() {
            let index = *index;
            let Some(next) = rest.next() else {
                states[index] = State::Placed;
                placed.push(index);
                path.pop();
                continue;
            };
            match states[next] {
                State::Placed => {}
                State::New => {
                    states[next] = State::Begun;
                    path.push((next, needs(next)));
                }
                State::Begun => {
                    let cycle = path
                        .iter()
                        .map(|(index, _)| *index)
                        .skip_while(|index| *index != next);
                    let names = cycle.filter_map(|index| nodes.get(index));
                    return Err(Cycle(names.map(|(name, _)| (*name).to_string()).collect()));
                }
            }
        }
    }
    Ok(placed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes from lines such as `a: b c`.
    fn nodes<'a>(lines: &[&'a str]) -> Vec<Node<'a>> {
        lines
            .iter()
            .map(|line| {
                let (name, imports) = line.split_once(':').unwrap();
                (name, imports.split_whitespace().map(String::from).collect())
            })
            .collect()
    }

    #[test]
    fn an_order_that_works_stays() {
        for lines in [
            &[][..],
            &["a:"],
            &["c:", "b:", "a:"],
            &["b:", "a: b", "c: a b"],
            &["z: wasi_snapshot_preview1", "a: z env"],
        ] {
            let expected: Vec<usize> = (0..lines.len()).collect();
            assert_eq!(order(&nodes(lines)), Ok(expected), "{lines:?}");
        }
    }

    #[test]
    fn each_module_comes_behind_those_it_imports_from() {
        for (lines, expected) in [
            (&["a: b", "b:"][..], &[1, 0][..]),
            (&["a: b c", "b: c", "c: d", "d:"], &[3, 2, 1, 0]),
            (&["app: log math", "math: log", "log:", "other:"], &[2, 1, 0, 3]),
            (&["a: d", "b: d", "c:", "d: c"], &[2, 3, 0, 1]),
        ] {
            assert_eq!(order(&nodes(lines)), Ok(expected.to_vec()), "{lines:?}");
        }
    }

    #[test]
    fn a_cycle_is_named() {
        for (lines, words) in [
            (&["a: a"][..], "'a' imports from 'a'"),
            (&["a: b", "b: a"], "'a' imports from 'b', which imports from 'a'"),
            (
                &["x: y", "y: a", "c: a", "a: b", "b: c", "z:"],
                "'a' imports from 'b', which imports from 'c', which imports from 'a'",
            ),
            (&["a\u{1b}: a\u{1b}"], r"'a\u{1b}' imports from 'a\u{1b}'"),
        ] {
            let message = order(&nodes(lines)).unwrap_err().to_string();
            assert_eq!(message.split_once(": ").unwrap().1, words);
        }
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        const LENGTH: usize = 100_000;
        let names: Vec<String> = (0..LENGTH).map(|number| format!("m{number}")).collect();
        let nodes: Vec<Node<'_>> = names
            .iter()
            .enumerate()
            .map(|(number, name)| (name.as_str(), [format!("m{}", number + 1)].into()))
            .collect();
        assert_eq!(order(&nodes), Ok((0..LENGTH).rev().collect()));
    }
}
