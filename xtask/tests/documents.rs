//! The documents hold together: every relative link names a file that exists, every anchor a heading, the README leads
//! to every page of `docs/`, and prose is wrapped at 120 columns.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The widest line of prose. Tables and code may be wider.
const WIDTH: usize = 120;

/// Every document of the repository, by its path, and the repository's root.
fn documents() -> (PathBuf, HashMap<PathBuf, Document>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository");
    let mut files = Vec::new();
    find_documents(root, &mut files);
    let documents = files.into_iter().map(|file| {
        let text = fs::read_to_string(&file).expect("a document can be read");
        (file, Document::parse(&text))
    });
    (root.to_path_buf(), documents.collect())
}

#[test]
fn the_readme_leads_to_every_page_in_two_steps() {
    let (root, documents) = documents();
    let steps = |file: &Path| -> Vec<PathBuf> {
        let links = documents.get(file).map(|document| document.links.as_slice());
        let links = links.unwrap_or_default().iter();
        links
            .filter_map(|(_, link)| target(file, link))
            .map(|(target, _)| target)
            .collect()
    };
    let first = steps(&root.join("README.md"));
    let second: Vec<PathBuf> = first.iter().flat_map(|file| steps(file)).collect();
    let pages: Vec<&PathBuf> = documents
        .keys()
        .filter(|file| file.starts_with(root.join("docs")))
        .collect();
    assert!(pages.len() > 5, "found no pages in {}", root.display());
    for page in pages {
        assert!(
            first.contains(page) || second.contains(page),
            "{} is more than two links away from the README",
            page.display()
        );
    }
}

#[test]
fn links_lead_somewhere_and_lines_are_short() {
    let (root, documents) = documents();
    let mut faults: Vec<String> = documents
        .iter()
        .flat_map(|(file, document)| {
            let shown = file.strip_prefix(&root).unwrap_or(file).display().to_string();
            let wide = document
                .wide
                .iter()
                .map(|line| format!("wider than {WIDTH} columns: line {line}"));
            let links = document
                .links
                .iter()
                .filter_map(|(line, link)| Some(format!("line {line}: {}", fault(file, link, &documents)?)));
            wide.chain(links)
                .map(move |text| format!("{shown}: {text}"))
                .collect::<Vec<_>>()
        })
        .collect();
    faults.sort();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The tests that the threat model names exist where it says.
#[test]
fn the_threat_models_tests_exist() {
    let (root, _) = documents();
    let text = fs::read_to_string(root.join("docs/threat-model.md")).expect("it can be read");
    let mut named = 0;
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let shown_by = row
            .trim_end_matches(" |")
            .rsplit(" | ")
            .next()
            .unwrap_or_default();
        // `[`NAME`](../FILE) `TEST` `TEST`; [`NAME`](../FILE) …`
        for part in shown_by.split("](../").skip(1) {
            let (file, tests) = part.split_once(')').expect("a link ends");
            let code = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            // Behind the next link's `[` stands its name, no test.
            let tests = tests.split('[').next().unwrap_or_default();
            for test in tests.split('`').skip(1).step_by(2) {
                let function = format!("fn {test}(");
                let named_so = format!("\"{test}\"");
                assert!(
                    code.contains(&function) || code.contains(&named_so),
                    "docs/threat-model.md: {file} has no test {test}"
                );
                named += 1;
            }
        }
    }
    assert!(named > 40, "only {named} tests are named");
}

/// The file that `link` in the document `file` names, and the anchor; `None` if it leads out of the repository.
fn target<'a>(file: &Path, link: &'a str) -> Option<(PathBuf, &'a str)> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    if path.is_empty() {
        return Some((file.to_path_buf(), anchor));
    }
    Some((flatten(&file.parent()?.join(path)), anchor))
}

/// What is wrong with `link` in the document `file`; `None` if it leads somewhere or out of the repository.
fn fault(file: &Path, link: &str, documents: &HashMap<PathBuf, Document>) -> Option<String> {
    let (target, anchor) = target(file, link)?;
    if !target.exists() {
        return Some(format!("'{link}' names a file that does not exist"));
    }
    if anchor.is_empty() {
        return None;
    }
    match documents.get(&target) {
        Some(document) if document.anchors.iter().any(|known| known == anchor) => None,
        Some(_) => Some(format!("'{link}' names a heading that does not exist")),
        None => Some(format!("'{link}' has an anchor, and its file is no document")),
    }
}

/// A path without `.` and `..`.
fn flatten(path: &Path) -> PathBuf {
    let mut flat = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                flat.pop();
            }
            Component::CurDir => {}
            other => flat.push(other),
        }
    }
    flat
}

/// Every `*.md` below `folder`, without what is built or hidden.
fn find_documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("a folder can be read").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let built = matches!(name, "target" | "node_modules" | "corpus" | "artifacts");
        if path.is_dir() && !path.is_symlink() {
            if !built && (!name.starts_with('.') || name == ".github") {
                find_documents(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// What a document links to, and what can be linked to in it.
#[derive(Debug, Default)]
struct Document {
    /// Line and target of each link.
    links: Vec<(usize, String)>,
    /// The headings, as links name them.
    anchors: Vec<String>,
    /// The same before equal ones were told apart.
    slugs: Vec<String>,
    /// The lines of prose that are too wide.
    wide: Vec<usize>,
}

impl Document {
    fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let mut fenced = false;
        let mut after_prose = false;
        for (line, number) in text.lines().zip(1..) {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
                continue;
            }
            // Behind a line of prose, an indented line goes on with it.
            let code = fenced || (line.starts_with("    ") && !after_prose);
            after_prose = !code && !line.trim().is_empty();
            if code {
                continue;
            }
            let line_without_code = without_code(line);
            let links = links(&line_without_code);
            // A link cannot be broken; a line that is little else may be wide.
            let long_link = links.iter().any(|link| link.len() > WIDTH / 2);
            if line.chars().count() > WIDTH && !line.starts_with('|') && !long_link {
                document.wide.push(number);
            }
            document
                .links
                .extend(links.into_iter().map(|link| (number, link)));
            if let Some(heading) = line.strip_prefix('#') {
                document.add_anchor(heading.trim_start_matches('#'));
            }
        }
        document
    }

    /// Notes a heading by the name that the usual forges give it.
    fn add_anchor(&mut self, heading: &str) {
        let slug: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(|character| match character {
                ' ' => Some('-'),
                '-' | '_' => Some(character),
                other => other.is_alphanumeric().then_some(other),
            })
            .collect();
        // The second heading of a name is `name-1`, the third `name-2`.
        let before = self.slugs.iter().filter(|known| **known == slug).count();
        self.anchors.push(match before {
            0 => slug.clone(),
            again => format!("{slug}-{again}"),
        });
        self.slugs.push(slug);
    }
}

/// The line with what stands between backticks left out.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The targets of the inline links of a line: `[text](target)`.
fn links(line: &str) -> Vec<String> {
    line.match_indices("](")
        .filter_map(|(start, mark)| {
            let rest = line.get(start.saturating_add(mark.len())..)?;
            let target = rest.get(..rest.find(')')?)?;
            Some(target.split_whitespace().next().unwrap_or_default().to_string())
        })
        .collect()
}

#[test]
fn a_document_is_read_as_a_forge_reads_it() {
    let text = "# One, two: `three`\n\nSee [a](b.md#c) and `[no](link)`.\n\n    [code](x)\n\n```\n[code](y)\n```\n\
                ## Same\n## Same\n";
    let document = Document::parse(text);
    assert_eq!(document.links, [(3, "b.md#c".to_string())]);
    assert_eq!(document.anchors, ["one-two-three", "same", "same-1"]);
    assert!(document.wide.is_empty());
    assert_eq!(Document::parse(&"word ".repeat(25)).wide, [1]);
    assert!(
        Document::parse(&format!("| {} |", "cell ".repeat(30)))
            .wide
            .is_empty()
    );
}

#[test]
fn a_link_that_leads_nowhere_is_a_fault() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let here = Document::parse("# Heading\n");
    let documents = HashMap::from([(file.clone(), here)]);
    assert_eq!(fault(&file, "#heading", &documents), None);
    assert_eq!(fault(&file, "src/main.rs", &documents), None);
    assert_eq!(fault(&file, "https://example.org/x", &documents), None);
    assert!(fault(&file, "#other", &documents).is_some());
    assert!(fault(&file, "src/no-such-file", &documents).is_some());
    assert!(fault(&file, "src/main.rs#L1", &documents).is_some());
}
