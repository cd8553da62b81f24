//! Files to ship that boot by themselves: image and application with the payload inside.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use vm_tests::program;

use super::{LIMIT, Machine, Qemu, Work, finish};

/// The payload is found in the file again.
fn is_found(file: &[u8], payload: &[u8]) -> Result<()> {
    let found = ::packed::find(file, file.len() as u64).context("no payload is found in the file")?;
    let place = usize::try_from(found.payload.start)?..usize::try_from(found.payload.end)?;
    ensure!(file[place] == *payload, "another payload is found");
    Ok(())
}

/// The payload's module runs, with the words of the command line; native code runs where it lies.
pub(super) fn image(machine: &Machine) -> Result<()> {
    let work = Work::new(machine, "packed-image")?;
    let payload = fs::read(machine.guest("args")?)?;
    let packed = ::packed::image(&fs::read(machine.image("hermit-wasm.img"))?, &payload)?;
    let path = work.path("args.img");
    fs::write(&path, &packed)?;
    is_found(&packed, &payload)?;
    let run = |initrd| {
        let qemu = Qemu {
            initrd,
            append: Some("-- --env A=1 -- one two"),
            ..machine.qemu(&path)
        };
        finish(&mut qemu.limited(LIMIT))
    };
    let expected = "0: \"boot-module.wasm\"\n1: \"one\"\n2: \"two\"\n";
    machine.check(&run(None)?, expected, machine.status_of(0))?;

    // There is one payload, and it is the one that was packed.
    let output = run(Some(&machine.guest("hello-wat")?))?;
    let text = machine.guests_output(&output)?;
    ensure!(
        text.starts_with("hermit-loader: cannot boot: a program is packed into this image"),
        "with a boot module it printed {text:?}"
    );
    Ok(())
}

/// A payload with a directory, larger than the application.
pub(super) fn archive(machine: &Machine) -> Result<()> {
    const LARGE: usize = 9 << 20;
    let work = Work::new(machine, "packed-archive")?;
    fs::create_dir(work.path("project"))?;
    fs::write(work.path("project/a.txt"), "text of a")?;
    fs::write(work.path("project/large"), vec![b'x'; LARGE])?;
    let module = format!("module.{}", program::extension(machine.engine));
    fs::copy(machine.guest("files")?, work.path(&module))?;
    work.tar(&["-C", "project", "-cf", "project.tar", "."])?;
    work.tar(&["-cf", "boot.tar", &module, "project.tar"])?;
    let payload = fs::read(work.path("boot.tar"))?;
    let path = work.path("files.img");
    let image = fs::read(machine.image("hermit-wasm.img"))?;
    fs::write(&path, ::packed::image(&image, &payload)?)?;
    let run = |memory| {
        let qemu = Qemu {
            memory,
            append: Some(
                "-- --copy-dir project.tar::/ --tmpfs /tmp -- cat /a.txt , put /tmp/b b , cat /tmp/b",
            ),
            ..machine.qemu(&path)
        };
        finish(&mut qemu.limited(LIMIT))
    };
    let expected = "cat /a.txt: \"text of a\"\nput /tmp/b b: done\ncat /tmp/b: \"b\"\n";
    machine.check(&run("64M")?, expected, machine.status_of(0))?;

    // What does not fit is refused, by QEMU or by the loader, and nothing runs.
    let output = run("11M")?;
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let refused = super::NO_PLACE.iter().any(|words| said.contains(words))
        || said.contains("hermit-loader: cannot use what is packed into this image");
    ensure!(
        refused && !said.contains("cat"),
        "with 11 MiB it printed {said:?}"
    );
    Ok(())
}

/// The application under a loader that knows nothing of payloads in it.
pub(super) fn application(machine: &Machine) -> Result<()> {
    let work = Work::new(machine, "packed-application")?;
    let payload = fs::read(machine.guest("args")?)?;
    let packed = ::packed::application(&fs::read(machine.image("hermit-wasm"))?, &payload)?;
    let path = work.path("args");
    fs::write(&path, &packed)?;
    is_found(&packed, &payload)?;
    let output = machine.run(&[], "hermit-loader", Some(&path), "-- --env A=1 -- one two")?;
    let expected = "0: \"boot-module.wasm\"\n1: \"one\"\n2: \"two\"\n";
    machine.check(&output, expected, machine.status_of(0))
}
