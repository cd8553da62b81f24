//! What a run gives, and how differences are reported: with a shell as the runtime.

use super::*;

/// A runner whose "runtime" is a shell: `sh -c SCRIPT run [FLAGS] MODULE`.
fn run(script: &str, row: &str) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Rows {
        test: Vec<Test>,
    }
    let text = format!("[[test]]\nname = 'x'\nshows = 'something'\nguest = 'g'\n{row}");
    let rows: Rows = toml::from_str(&text)?;
    let scratch = std::env::temp_dir();
    let runner = Runner {
        command: vec!["sh".into(), "-c".into(), script.into()],
        reference: false,
        engine: Engine::Interp,
        flags: Vec::new(),
        built: "built".into(),
        downloads: "downloads".into(),
        source: scratch.clone(),
        scratch,
        fixtures: None,
        limit: Duration::from_secs(10),
    };
    runner.run(rows.test.first().context("no row")?)
}

fn report(script: &str, row: &str) -> String {
    run(script, row)
        .expect_err("the run differs from its row")
        .to_string()
}

#[test]
fn a_run_as_described_passes() {
    run(
        "echo out; echo err >&2; exit 3",
        "stdout = \"out\\n\"\nstderr = \"err\\n\"\nexit = 3",
    )
    .unwrap();
    run("cat", "stdin = { random = 300000 }\nstdout = { stdin = true }").unwrap();
    run("exit 0", "stdin = { random = 300000 }").unwrap();
}

#[test]
fn every_difference_is_reported() {
    assert!(report("exit 2", "").contains("instead of code 0"));
    assert!(report("echo out", "").contains("standard output differs"));
    assert!(report("echo err >&2", "").contains("standard error differs"));
    assert!(report("kill -9 $$", "").contains("signal"));
}

#[test]
fn the_launchers_message_is_one_line_that_names_the_module() {
    let row = "stderr = \"guest\\n\"\nmessage = ['zero']\nexit = 134";
    let script = |message: &str| format!("echo guest >&2; echo '{message}' >&2; exit 134");
    run(&script("hermit-wasm: g.wasm: divided by zero"), row).unwrap();
    assert!(report(&script("hermit-wasm: g.wasm: unreachable"), row).contains("does not contain [\"zero\"]"));
    assert!(report(&script("hermit-wasm: divided by zero"), row).contains("does not contain [\"g\"]"));
    assert!(report(&script("hermit-wasm: g\nzero"), row).contains("does not contain"));
    assert!(report("echo guest >&2; exit 134", row).contains("does not contain"));
    assert!(report("exit 134", row).contains("has no end of line"));
}

#[test]
fn rows_name_directories_of_the_source() {
    let here = std::env::temp_dir().canonicalize().unwrap();
    run("pwd -P", &format!("stdout = \"{}\\n\"", here.display())).unwrap();
}

#[test]
fn a_run_that_changes_a_directory_it_was_given_fails() {
    let folder = std::env::temp_dir().join(format!("given-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "x").unwrap();
    let row = format!(
        "flags = ['{{fixture}}']\nfixture = {{ from = '{}' }}\nstdout = 'x'",
        folder.display()
    );
    // `$1` is the fixture: `sh -c SCRIPT run FIXTURE MODULE`.
    run("cat $1/file", &row).unwrap();
    let report = report("cat $1/file; echo y >>$1/file", &row);
    assert!(report.contains("changed the host's files"), "{report}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn commands_are_found_from_anywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words = ["python", "src/run.rs", "no/such", "Cargo.toml"].map(String::from);
    let absolute = root.join("src/run.rs").to_string_lossy().into_owned();
    assert_eq!(
        anywhere(words.to_vec(), root),
        ["python", &absolute, "no/such", "Cargo.toml"]
    );
}

#[test]
fn a_report_says_how_to_repeat_the_run() {
    let report = report(
        "exit 2",
        "env = [\"A=b c\"]\nargs = [\"it's\"]\nflags = ['--memory', '1G']",
    );
    assert!(
        report.contains(r"run --memory 1G --env 'A=b c' built/g.wasm 'it'\''s' </dev/null"),
        "{report}"
    );
    assert!(report.contains("something"), "{report}");
}

#[test]
fn a_run_without_end_is_killed_with_its_children() {
    let start = Instant::now();
    let report = report("sleep 100 & wait", "limit = 1");
    assert!(report.contains("did not end by itself"), "{report}");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn an_open_input_has_no_end() {
    run("timeout 1 cat; [ $? = 124 ]", "stdin = { open = true }").unwrap();
    assert!(report("timeout 1 cat; [ $? = 124 ]", "").contains("instead of code 0"));
}

#[test]
fn a_dialogue_waits_for_its_turns() {
    let script = "printf '> '; read a; printf \"$a! \"; read b; echo \"$b\"";
    let row = "stdin = { dialogue = [{ after = '> ', send = \"x\\n\" }, { after = '! ', send = \"y\\n\" }] }\n\
               stdout = \"> x! y\\n\"";
    run(script, row).unwrap();
}
