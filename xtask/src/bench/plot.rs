//! Draws what was measured as one SVG: speed beside other runtimes, and start-up by phase.
//!
//! No colour alone carries a meaning: every bar has its name and its figure as text.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};
use test_qemu::Engine;

use super::boot::Boot;
use super::compute;
use super::counter::{Counter, machines};
use super::{grouped, precise};
use crate::toolchain::root;

/// Where the picture goes.
const FILE: &str = "docs/performance.svg";

/// A bar: its name, its parts from left to right, and its figure in words.
#[derive(Clone, Debug, PartialEq)]
struct Bar {
    name: String,
    parts: Vec<f64>,
    label: String,
}

/// A chart of bars.
struct Chart {
    title: String,
    /// What each part is, if there are several.
    legend: Vec<&'static str>,
    bars: Vec<Bar>,
}

/// Measures, and writes the picture.
pub(super) fn run_all() -> Result<()> {
    let counter = Counter::new()?;
    let charts = [
        speed(&compute::relative(&compute::measure(&counter)?)),
        start(&counter)?,
    ];
    let path = root().join(FILE);
    fs::write(&path, draw(&charts)).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{} is drawn", path.display());
    Ok(())
}

/// Instructions relative to wasmtime's, as the geometric mean over the programs.
fn speed(relative: &[(String, Vec<f64>, f64)]) -> Chart {
    Chart {
        title: format!(
            "Instructions that computing takes, relative to {} (x86_64)",
            compute::WASMTIME
        ),
        legend: Vec::new(),
        bars: relative
            .iter()
            .map(|(name, _, mean)| Bar {
                name: name.clone(),
                parts: vec![*mean],
                label: format!("{mean:.2}"),
            })
            .collect(),
    }
}

/// Instructions from the loader to hello's first byte.
fn start(counter: &Counter) -> Result<Chart> {
    let mut bars = Vec::new();
    for machine in machines() {
        for engine in Engine::ALL {
            let boot = Boot::measure(counter, machine, engine)?;
            let name = format!("{}, {}", machine.column(), engine.name());
            bars.push(phases(name, boot.loader, boot.kernel, boot.first_byte));
        }
    }
    Ok(Chart {
        title: "Instructions from the loader to the first byte of hello".to_owned(),
        legend: vec!["loader", "kernel", "application and module"],
        bars,
    })
}

/// A start in its phases, which add up to `first_byte`.
fn phases(name: String, loader: u64, kernel: u64, first_byte: u64) -> Bar {
    let rest = first_byte.saturating_sub(loader).saturating_sub(kernel);
    Bar {
        name,
        parts: [loader, kernel, rest].map(precise).to_vec(),
        label: grouped(first_byte),
    }
}

/// Sizes of the picture, in pixels.
const WIDTH: f64 = 840.0;
const NAMES: f64 = 200.0;
const LABELS: f64 = 110.0;
const LINE: f64 = 26.0;
const BAR: f64 = 16.0;
/// Shades that are told apart in grey and by those who see no red or no green.
const SHADES: [&str; 3] = ["#1b4965", "#5fa8d3", "#cae9ff"];

/// The picture.
fn draw(charts: &[Chart]) -> String {
    let mut body = String::new();
    let mut y = LINE;
    for chart in charts {
        y = draw_chart(&mut body, chart, y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {y:.0}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// One chart from `y` on; where the next may begin.
fn draw_chart(body: &mut String, chart: &Chart, mut y: f64) -> f64 {
    text(body, 8.0, y, "start", &chart.title, " font-weight=\"bold\"");
    y += LINE;
    if !chart.legend.is_empty() {
        let mut x = NAMES;
        for (what, shade) in chart.legend.iter().zip(SHADES) {
            rect(body, x, y - 11.0, 12.0, shade);
            text(body, x + 18.0, y, "start", what, "");
            x += 200.0;
        }
        y += LINE;
    }
    let sum = |bar: &Bar| bar.parts.iter().sum::<f64>();
    let most = chart.bars.iter().map(sum).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - NAMES - LABELS) / most;
    for bar in &chart.bars {
        text(body, NAMES - 8.0, y, "end", &bar.name, "");
        let mut x = NAMES;
        for (part, shade) in bar.parts.iter().zip(SHADES) {
            rect(body, x, y - 12.0, part * scale, shade);
            x += part * scale;
        }
        text(body, x + 6.0, y, "start", &bar.label, "");
        y += LINE;
    }
    y + LINE
}

fn rect(body: &mut String, x: f64, y: f64, width: f64, shade: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        body,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR:.0}\" fill=\"{shade}\"/>"
    );
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, words: &str, more: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{more}>{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(svg: &str) -> Vec<f64> {
        let bars = svg.lines().filter(|line| line.starts_with("<rect x"));
        let width = |line: &str| {
            let (_, rest) = line.split_once("width=\"")?;
            rest.split('"').next()?.parse().ok()
        };
        bars.filter_map(width).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_figures() {
        let series = [("a & b".to_owned(), vec![], 1.0), ("c".to_owned(), vec![], 4.0)];
        let svg = draw(&[speed(&series)]);
        let full = WIDTH - NAMES - LABELS;
        assert_eq!(widths(&svg), [full / 4.0, full]);
        assert!(
            svg.contains(">a &amp; b</text>") && svg.contains(">4.00</text>"),
            "{svg}"
        );
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn phases_add_up() {
        let bar = phases("x".to_owned(), 100, 200, 1000);
        assert_eq!(bar.parts, [100.0, 200.0, 700.0]);
        assert_eq!(bar.label, "1,000");
        let chart = Chart {
            title: "t".to_owned(),
            legend: vec!["one", "two", "three"],
            bars: vec![bar],
        };
        let full = WIDTH - NAMES - LABELS;
        // The legend's marks come first.
        let lengths = &widths(&draw(&[chart]))[3..];
        assert!((lengths.iter().sum::<f64>() - full).abs() < 1.0, "{lengths:?}");
    }

    #[test]
    fn nothing_measured_is_no_bar() {
        assert!(widths(&draw(&[speed(&[])])).is_empty());
    }
}
