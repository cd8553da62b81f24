//! Images that try to reach what is outside of them, and such that are no modules.

use std::fs;

use anyhow::{Result, ensure};
use container_tests::archive::{Entry, Image, Kind as File};

use crate::bench::{Bench, Case};
use crate::cases::PODMAN;

pub(crate) const CASES: &[Case] = &[
    Case::new("hostile/entry-point-is-a-link", PODMAN, entry_is_link).short(),
    Case::new("hostile/entry-point-is-no-module", PODMAN, entry_is_no_module),
    Case::new("hostile/mount-point-is-a-link", PODMAN, mount_point_is_link).short(),
    Case::new("hostile/links-inside", PODMAN, links_inside),
    Case::new("native", PODMAN, native),
];

/// What the host has and no image may show.
const SECRET: &str = "the host's own";

/// A module that greets, in text.
const HELLO: &str = include_str!("../../../../guests/text/hello.wat");

/// The images of these tests.
pub(crate) fn images(module: &[u8]) -> Vec<Image> {
    let of = |name: &str, entries: Vec<Entry>, entrypoint: &str| Image {
        name: name.to_owned(),
        entries,
        entrypoint: vec![entrypoint.to_owned()],
        directory: "/".to_owned(),
    };
    let link = |path: &str, target: &str| Entry::new(path, File::Link(target.to_owned()));
    let half = module.get(..module.len() / 2).unwrap_or_default();
    // What an ELF file begins with.
    let elf = [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 57]].concat();
    vec![
        of("link-out", vec![link("app", "/etc/passwd")], "/app"),
        of(
            "link-up",
            vec![link("app", "../../../../../../../../etc/passwd")],
            "/app",
        ),
        of("link-proc", vec![link("app", "/proc/self/exe")], "/app"),
        of("link-loop", vec![link("app", "app")], "/app"),
        of("fifo", vec![Entry::new("app", File::Fifo)], "/app"),
        of("folder", vec![Entry::new("app", File::Directory)], "/app"),
        of("elf", vec![Entry::file("app", elf)], "/app"),
        of(
            "script",
            vec![Entry::file("app", "#!/bin/sh\ncat /etc/passwd\n")],
            "/app",
        ),
        of("half", vec![Entry::file("app", half)], "/app"),
        of("empty", vec![Entry::file("app", "")], "/app"),
        of("absent", vec![Entry::file("other", "")], "/app"),
        of("text", vec![Entry::file("app.wat", HELLO)], "/app.wat"),
        // Links where things are mounted, and beside a module that runs.
        of(
            "links",
            vec![
                Entry::file("app", module),
                link("out", "/tmp"),
                link("up", "../../../../../../../../tmp"),
                link("passwd", "/etc/passwd"),
                link("far", "../../../../../../../../etc/passwd"),
            ],
            "/app",
        ),
        of(
            "link-etc",
            vec![Entry::file("app", module), link("etc", "/srv/elsewhere")],
            "/app",
        ),
        // A link that stays inside leads to the module.
        of(
            "link-inside",
            vec![
                Entry::file("opt/real.wasm", module),
                link("app", "/opt/real.wasm"),
            ],
            "/app",
        ),
        Image {
            name: "in-a-directory".to_owned(),
            entries: vec![Entry::file("opt/app/tool.wasm", module)],
            entrypoint: vec!["./tool.wasm".to_owned()],
            directory: "/opt/app".to_owned(),
        },
    ]
}

/// A link as the entry point is resolved in the image, and nowhere else.
fn entry_is_link(bench: &Bench<'_>) -> Result<()> {
    for (image, codes) in [
        ("link-out", [127, 126]),
        ("link-up", [127, 126]),
        ("link-proc", [127, 126]),
        ("link-loop", [126, 126]),
        ("absent", [127, 127]),
    ] {
        let said = bench.run_image(&[], image, &[])?;
        let code = said.code.unwrap_or(-1);
        ensure!(codes.contains(&code), "{image}: {said:?}");
        ensure!(
            said.stdout.is_empty() && said.stderr.contains("/app"),
            "{image}: {said:?}"
        );
        ensure!(
            !said.stderr.contains("root:"),
            "{image} shows the host's file: {said:?}"
        );
    }
    bench
        .run_image(&[], "link-inside", &["say:inside"])?
        .is("inside\n")
}

/// What is no module is refused in a sentence, and nobody waits for a writer of a pipe.
fn entry_is_no_module(bench: &Bench<'_>) -> Result<()> {
    for (image, word) in [
        ("fifo", "regular file"),
        ("folder", "directory"),
        ("elf", "native"),
        ("script", "native"),
        ("half", "truncated"),
        ("empty", "empty"),
    ] {
        let said = bench.run_image(&[], image, &[])?;
        let refused = said.code.is_some_and(|code| [126, 127].contains(&code));
        ensure!(
            refused && said.stdout.is_empty() && said.stderr.contains(word),
            "{image}: {said:?}"
        );
    }
    bench.run_image(&[], "text", &[])?.is("Hello, text format\n")
}

/// Where a volume is mounted on a link, the link is the image's: the host gets neither mount nor directory by it.
fn mount_point_is_link(bench: &Bench<'_>) -> Result<()> {
    let directory = bench.directory("volume")?;
    fs::write(directory.join("file"), "from the volume\n")?;
    let marker = format!("hermit-wasm-escape-{}", std::process::id());
    let path = directory.display();
    for point in ["out", "up"] {
        let volume = format!("--volume={path}:/{point}/{marker}");
        let said = bench.run_image(&[&volume], "links", &[&format!("cat:/tmp/{marker}/file")])?;
        // Mounted in the image's own /tmp, or refused; never in the host's.
        let mounted = said.code == Some(0) && said.stdout == "from the volume\n";
        let refused = said.code.is_some_and(|code| code != 0) && said.stdout.is_empty();
        ensure!(mounted || refused, "{point}: {said:?}");
        ensure!(
            !std::path::Path::new("/tmp").join(&marker).exists(),
            "{point}: the host has got a directory"
        );
    }
    // What engines mount themselves: /etc/hosts, by a link of the image's.
    let before = std::path::Path::new("/srv/elsewhere").exists();
    let said = bench.run_image(&[], "link-etc", &["say:alive"])?;
    ensure!(said.code.is_some(), "{said:?}");
    ensure!(
        std::path::Path::new("/srv/elsewhere").exists() == before,
        "the host has got a directory"
    );
    Ok(())
}

/// Links that the guest follows end in the image's root.
fn links_inside(bench: &Bench<'_>) -> Result<()> {
    let directory = bench.directory("outside")?;
    fs::write(directory.join("secret"), SECRET)?;
    let said = bench.run_image(
        &[],
        "links",
        &["cat:/passwd", "cat:/far", "list:/out", "cat:/up/x"],
    )?;
    ensure!(said.code == Some(0), "{said:?}");
    ensure!(
        !said.stdout.contains("root:x:0") && !said.stdout.contains(SECRET),
        "{said:?}"
    );
    Ok(())
}

/// A program for the node's own processor runs if the container's annotation says so, and not otherwise.
fn native(bench: &Bench<'_>) -> Result<()> {
    let words = ["--entrypoint=/bin/sleep"];
    bench
        .run_image(&words, "pause", &["0"])?
        .fails(126, &["native"])?;
    let allowed = [words[0], "--annotation=org.hermit-wasm.native=allow"];
    bench.run_image(&allowed, "pause", &["0"])?.is("")
}
