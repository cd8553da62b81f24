//! What podman does with containers, beyond running them: by root and by an ordinary user. The guest is "container".

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use anyhow::{Context as _, Result, ensure};
use container_tests::{Kind, host};

use crate::bench::{Bench, Case};

/// The guest that sends back what it gets, and listens where its container says.
pub(crate) const ECHO: &str = "tokio-echo";

/// Both podmans.
pub(crate) const PODMAN: &[Kind] = &[Kind::Podman, Kind::Rootless];

/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// What launcher, QEMU and virtiofsd may use beside the machine's memory.
const OVERHEAD: u64 = 96 * MIB;

/// The first of the subordinate ids that a world's user has: its script says so.
const FIRST_SUBORDINATE: u32 = 1_878_000_000;

pub(crate) const CASES: &[Case] = &[
    Case::new("stop", PODMAN, stop).short(),
    Case::new("exec", PODMAN, exec).short(),
    Case::new("processes", PODMAN, processes).unless(limits).short(),
    Case::new("memory", PODMAN, memory).unless(limits).short(),
    Case::new("update", PODMAN, update).unless(limits),
    Case::new("too-little-memory", PODMAN, too_little_memory).unless(limits),
    Case::new("volumes", PODMAN, volumes).short(),
    Case::new("read-only", PODMAN, read_only),
    Case::new("environment", PODMAN, environment),
    Case::new("terminal", PODMAN, terminal),
    Case::new("directory", PODMAN, directory),
    Case::new("user", PODMAN, user).unless(|kind| {
        let machine = kind == Kind::Rootless && !host::is_root().unwrap_or(false);
        machine.then(|| "subordinate ids are known of the tests' own user alone".to_owned())
    }),
    Case::new("logs", PODMAN, logs),
    Case::new("hosts", PODMAN, hosts),
    Case::new("pause", PODMAN, pause).unless(limits),
    Case::new("kill", PODMAN, kill),
    Case::new("remove", PODMAN, remove),
    Case::new("create-and-start", PODMAN, create_and_start),
    Case::new("build", PODMAN, build),
    Case::new("published", PODMAN, published).short().unless(|kind| {
        (kind == Kind::Rootless)
            .then(|| host::closed_to_users("/dev/net/tun"))
            .flatten()
    }),
];

/// Without root's rights podman limits and freezes with unified control groups alone.
fn limits(kind: Kind) -> Option<String> {
    (kind == Kind::Rootless && !host::unified())
        .then(|| "a user has no control groups where they are not unified".to_owned())
}

/// SIGTERM ends a container with 143. If it did nothing, podman would end it by SIGKILL: 137.
fn stop(bench: &Bench<'_>) -> Result<()> {
    let running = bench.start(&[], &[])?;
    running.succeed(&["stop", "--time", "60"])?;
    let code = running.inspect(".State.ExitCode")?;
    ensure!(code == "143", "it ended with {code}");
    Ok(())
}

/// There is nothing in a machine that could run a second program, and whoever tries is told so in one sentence.
fn exec(bench: &Bench<'_>) -> Result<()> {
    let running = bench.start(&[], &[])?;
    let said: crate::bench::Said = bench.engine.call(&["exec", &running.name, "ls", "/"])?.into();
    ensure!(said.code != Some(0) && said.stdout.is_empty(), "{said:?}");
    ensure!(
        said.stderr.contains("exec") && said.stderr.contains("WebAssembly"),
        "{said:?}"
    );
    ensure!(running.inspect(".State.Running")? == "true", "it runs on");
    Ok(())
}

/// Launcher, QEMU and virtiofsd are all in the container's control group.
fn processes(bench: &Bench<'_>) -> Result<()> {
    let running = bench.start(&[], &[])?;
    let members = host::members(&host::memory_group(running.process()?)?)?;
    let lines: Vec<String> = members
        .iter()
        .map(|member| host::command_line(*member).join(" "))
        .collect();
    for program in ["hermit-wasm", "qemu-system-", "virtiofsd"] {
        let there = lines.iter().any(|line| {
            line.split(' ')
                .next()
                .is_some_and(|first| first.contains(program))
        });
        ensure!(
            there,
            "{program} is not in the container's control group: {lines:?}"
        );
    }
    Ok(())
}

/// The limit is the machine's memory; the control group has room for what runs the machine besides.
fn memory(bench: &Bench<'_>) -> Result<()> {
    let limit = 200 * MIB;
    let running = bench.start(&["--memory=200m"], &["hold:100"])?;
    let group = host::memory_group(running.process()?)?;
    let of_group = host::memory_limit(&group)?;
    ensure!(
        of_group == limit + OVERHEAD,
        "the control group's limit is {of_group}"
    );
    let members = host::members(&group)?;
    let lines: Vec<String> = members
        .iter()
        .map(|member| host::command_line(*member).join(" "))
        .collect();
    let qemu = lines.iter().find(|line| line.contains("qemu-system-"));
    let qemu = qemu.with_context(|| format!("QEMU is not in the control group: {lines:?}"))?;
    // As QEMU is told it: in bytes, KiB or MiB.
    let sizes = [
        limit.to_string(),
        format!("{}K", limit >> 10),
        format!("{}M", limit >> 20),
    ];
    ensure!(
        sizes.iter().any(|size| qemu.contains(size)),
        "QEMU has other memory: {qemu}"
    );
    Ok(())
}

/// A new limit is the guest's too, with the same room besides; the machine's memory cannot follow it down.
fn update(bench: &Bench<'_>) -> Result<()> {
    let running = bench.start(&["--memory=100m"], &[])?;
    let group = host::memory_group(running.process()?)?;
    running.succeed(&["update", "--memory=200m", "--memory-swap=-1"])?;
    let limit = host::memory_limit(&group)?;
    ensure!(
        limit == 200 * MIB + OVERHEAD,
        "the control group's limit is {limit}"
    );
    running
        .call(&["update", "--memory=50m", "--memory-swap=-1"])?
        .fails(125, &["fixed at its start"])?;
    let limit = host::memory_limit(&group)?;
    ensure!(limit == 200 * MIB + OVERHEAD, "a refused limit was set: {limit}");
    Ok(())
}

/// A limit in which no machine runs is refused in a sentence, not with how to use a command line.
fn too_little_memory(bench: &Bench<'_>) -> Result<()> {
    let said = bench.run(&["--memory=6m"], &["say:hello"])?;
    said.fails(126, &["does not fit", "memory of 6 MiB", "at least 7"])?;
    ensure!(
        said.stdout.is_empty() && !said.stderr.contains("Usage"),
        "{said:?}"
    );
    Ok(())
}

/// Directories of the host, to write in and not; a directory in memory; a single file.
fn volumes(bench: &Bench<'_>) -> Result<()> {
    let directory = bench.directory("shared")?;
    let given = directory.join("given");
    fs::write(&given, "from the host\n")?;
    // So that nothing but the mount forbids to change it.
    fs::set_permissions(&given, fs::Permissions::from_mode(0o666))?;
    let path = directory.display();
    let said = bench.run(
        &[
            &format!("--volume={path}:/shared"),
            &format!("--volume={path}:/look/at/it:ro"),
            &format!("--volume={path}/given:/one/file:ro"),
            "--tmpfs=/scratch",
        ],
        &[
            "cat:/shared/given",
            "write:/shared/made=by the guest",
            "cat:/look/at/it/made",
            "write:/look/at/it/more=x",
            "cat:/one/file",
            "write:/one/file=x",
            "write:/scratch/file=in memory",
            "cat:/scratch/file",
        ],
    )?;
    said.is(
        "from the host\nwritten\nby the guest\nwrite:/look/at/it/more=x: ReadOnlyFilesystem\nfrom the \
         host\nwrite:/one/file=x: ReadOnlyFilesystem\nwritten\nin memory\n",
    )?;
    ensure!(fs::read_to_string(directory.join("made"))? == "by the guest\n");
    ensure!(!directory.join("more").exists());
    Ok(())
}

/// A root that cannot be changed, with a directory in memory that can.
fn read_only(bench: &Bench<'_>) -> Result<()> {
    let said = bench.run(
        &["--read-only", "--read-only-tmpfs=false", "--tmpfs=/scratch"],
        &["write:/file=x", "write:/scratch/file=y", "cat:/scratch/file"],
    )?;
    said.is("write:/file=x: ReadOnlyFilesystem\nwritten\ny\n")?;
    // And one that can: what is written is the container's own.
    bench
        .run(&[], &["write:/file=x", "cat:/file"])?
        .is("written\nx\n")?;
    bench.run(&[], &["cat:/file"])?.is("cat:/file: NotFound\n")
}

/// Variables: those that are given, and the engine's own.
fn environment(bench: &Bench<'_>) -> Result<()> {
    let said = bench.run(
        &[
            "--env=A=1",
            "--env=EMPTY=",
            "--env=ODD=a=b 'c' \"d\"",
            "--hostname=named",
        ],
        &[
            "env:A",
            "env:EMPTY",
            "env:ODD",
            "env:ABSENT",
            "env:HOSTNAME",
            "env:container",
        ],
    )?;
    said.is(
        "A is Some(\"1\")\nEMPTY is Some(\"\")\nODD is Some(\"a=b 'c' \\\"d\\\"\")\nABSENT is None\nHOSTNAME is \
         Some(\"named\")\ncontainer is Some(\"podman\")\n",
    )
}

/// With `-t` the guest has a terminal, which ends lines its own way; without, it has none.
fn terminal(bench: &Bench<'_>) -> Result<()> {
    bench
        .run(&["--tty"], &["tty"])?
        .is("terminals: true true true\r\n")?;
    bench.run(&[], &["tty"])?.is("terminals: false false false\n")
}

/// A relative entry point starts from the container's working directory, which the engine can change.
fn directory(bench: &Bench<'_>) -> Result<()> {
    bench
        .run_image(&[], "in-a-directory", &["say:found"])?
        .is("found\n")?;
    bench
        .run_image(&["--workdir=/"], "in-a-directory", &["say:found"])?
        .fails(127, &["tool.wasm"])?;
    bench
        .run(&["--entrypoint=/container.wasm"], &["say:absolute"])?
        .is("absolute\n")
}

/// What the guest makes is the container's user's.
fn user(bench: &Bench<'_>) -> Result<()> {
    let directory = bench.directory("owned")?;
    let volume = format!("--volume={}:/owned", directory.display());
    bench
        .run(
            &["--user=1000:1000", &volume],
            &["write:/owned/file=x", "write:/container.wasm=x"],
        )?
        .is("written\nwrite:/container.wasm=x: PermissionDenied\n")?;
    let owner = fs::metadata(directory.join("file"))?.uid();
    let expected = match bench.engine.kind {
        // The user itself is the container's root.
        Kind::Rootless => FIRST_SUBORDINATE + 1000 - 1,
        _ => 1000,
    };
    ensure!(owner == expected, "the file is {owner}'s and not {expected}'s");
    Ok(())
}

/// Both outputs are in podman's log, each as what it is.
fn logs(bench: &Bench<'_>) -> Result<()> {
    let running = bench.start(&[], &["say:to standard output", "complain:to standard error"])?;
    let said = running.call(&["logs"])?;
    ensure!(
        said.stdout == "to standard output\nready\n" && said.stderr == "to standard error\n",
        "{said:?}"
    );
    Ok(())
}

/// The files that an engine makes for a container are there.
fn hosts(bench: &Bench<'_>) -> Result<()> {
    let said = bench.run(
        &["--hostname=named", "--add-host=other:192.0.2.7"],
        &["cat:/etc/hostname", "cat:/etc/hosts"],
    )?;
    ensure!(
        said.stdout.starts_with("named") && said.stdout.contains("192.0.2.7"),
        "{said:?}"
    );
    Ok(())
}

/// A container that is frozen does nothing, and goes on afterwards.
fn pause(bench: &Bench<'_>) -> Result<()> {
    let running = bench.start(&[], &[])?;
    running.succeed(&["pause"])?;
    ensure!(running.inspect(".State.Status")? == "paused");
    running.succeed(&["unpause"])?;
    ensure!(running.inspect(".State.Status")? == "running");
    running.succeed(&["stop", "--time", "60"])?;
    ensure!(running.inspect(".State.ExitCode")? == "143");
    Ok(())
}

/// Signals by name.
fn kill(bench: &Bench<'_>) -> Result<()> {
    for (signal, code) in [("KILL", "137"), ("TERM", "143"), ("INT", "130")] {
        let running = bench.start(&[], &[])?;
        running.succeed(&["kill", "--signal", signal])?;
        running.succeed(&["wait"])?;
        let found = running.inspect(".State.ExitCode")?;
        ensure!(found == code, "SIG{signal} ended it with {found}");
    }
    Ok(())
}

/// A container that runs is listed, and nothing of it is left once it is removed.
fn remove(bench: &Bench<'_>) -> Result<()> {
    let running = bench.start(&[], &[])?;
    let listed = bench
        .engine
        .succeed(&["ps", "--format", "{{.Names}} {{.Status}}"])?;
    ensure!(listed.contains(&format!("{} Up ", running.name)), "{listed}");
    let first = running.process()?;
    let name = running.name.clone();
    running.succeed(&["rm", "--force", "--time", "0"])?;
    ensure!(
        host::command_line(first).is_empty(),
        "process {first} is still there"
    );
    let listed = bench.engine.succeed(&["ps", "--all", "--format", "{{.Names}}"])?;
    ensure!(!listed.lines().any(|line| line == name), "{listed}");
    Ok(())
}

/// In two steps, and a second time: the exit code is told each time.
fn create_and_start(bench: &Bench<'_>) -> Result<()> {
    let name = bench.engine.name();
    let mut words = vec!["create", "--network=none", "--name", &name];
    let grouped = bench.engine.grouped();
    words.extend(grouped.iter().map(String::as_str));
    let image = container_tests::archive::reference(crate::bench::GUEST);
    words.extend([&image, "say:hello", "exit:42"]);
    bench.engine.succeed(&words)?;
    for _ in 0..2 {
        let said: crate::bench::Said = bench.engine.call(&["start", "--attach", &name])?.into();
        ensure!(said.code == Some(42) && said.stdout == "hello\n", "{said:?}");
    }
    bench.engine.succeed(&["rm", &name])?;
    Ok(())
}

/// An image as people write one: from nothing, with a module.
fn build(bench: &Bench<'_>) -> Result<()> {
    let directory = bench.directory("context")?;
    let guests = vm_tests::environment::needed(vm_tests::environment::GUESTS)?;
    fs::copy(guests.join("container.wasm"), directory.join("app.wasm"))?;
    fs::write(
        directory.join("Containerfile"),
        "FROM scratch\nCOPY app.wasm /app.wasm\nENV A=1\nENTRYPOINT [\"/app.wasm\"]\nCMD [\"env:A\"]\n",
    )?;
    let context = directory.to_str().context("the path is not UTF-8")?;
    let image = container_tests::archive::reference("built");
    bench
        .engine
        .succeed(&["build", "--network=none", "--tag", &image, context])?;
    bench.run_image(&[], "built", &[])?.is("A is Some(\"1\")\n")
}

/// A guest that listens is reached by the port that podman publishes, and at the container's own address.
fn published(bench: &Bench<'_>) -> Result<()> {
    let port = vm_tests::server::free_port()?;
    let publish = format!("--publish=127.0.0.1:{port}:8080");
    let annotation = "--annotation=org.hermit-wasm.tcplisten=8080";
    let running = bench.start_image(&[&publish, annotation], ECHO, &[])?;
    echoed(&format!("127.0.0.1:{port}"))?;
    // That of a user's container is in a network of its own.
    if bench.engine.kind == Kind::Podman {
        echoed(&format!(
            "{}:8080",
            running.inspect(".NetworkSettings.IPAddress")?
        ))?;
    }
    running.succeed(&["stop", "--time", "60"])?;
    ensure!(running.inspect(".State.ExitCode")? == "143");
    Ok(())
}

/// Sends something to the guest that sends back what it gets.
fn echoed(address: &str) -> Result<()> {
    let sent = b"to the guest and back\n".repeat(10_000);
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    let mut writer = stream.try_clone()?;
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes)?;
        writer.shutdown(Shutdown::Write)
    });
    let mut came = Vec::new();
    stream
        .read_to_end(&mut came)
        .with_context(|| format!("reading from {address}"))?;
    writing.join().ok().context("the writer panicked")??;
    ensure!(
        came == sent,
        "{} bytes came back for {}, or others",
        came.len(),
        sent.len()
    );
    Ok(())
}
