//! What containerd does with containers, by its own client and as Kubernetes has it done.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use container_tests::engine::{Container, Volume};
use container_tests::{Kind, engine};

use crate::bench::{Bench, Case, GUEST, Said};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) const CASES: &[Case] = &[
    Case::new("task", &[Kind::Ctr], task).short(),
    Case::new("refused", &[Kind::Ctr], refused),
    Case::new("stop", &[Kind::Cri], stop),
    Case::new("exec", &[Kind::Cri], exec),
    Case::new("pod", &[Kind::Cri], pod),
    Case::new("memory", &[Kind::Cri], memory),
    Case::new("not-found", &[Kind::Cri], not_found),
];

/// The guest of these tests.
fn guest(args: &[&str]) -> Container {
    Container {
        image: GUEST.to_owned(),
        program: "container.wasm".to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..Container::default()
    }
}

/// A container that is started, listed, asked for a second process, frozen, and killed.
fn task(bench: &Bench<'_>) -> Result<()> {
    let name = bench.engine.name();
    let mut words = bench
        .engine
        .ctr_run_as(&guest(&["say:ready", "sleep:600"]), &name)?;
    // Not to its end.
    words.retain(|word| word != "--rm");
    let at = words.iter().position(|word| word == "run").map_or(0, |at| at + 1);
    words.insert(at, "--detach".to_owned());
    let log = bench.scratch.join("log");
    words.insert(at, format!("--log-uri=file://{}", log.display()));
    let said: Said = engine::output(&words)?.into();
    ensure!(said.code == Some(0), "{said:?}");
    let result = steps(bench, &name, &log);
    // Whatever became of it.
    let _ = bench
        .engine
        .call(&["tasks", "kill", "--signal", "SIGKILL", &name]);
    let _ = bench.engine.call(&["tasks", "delete", "--force", &name]);
    let _ = bench.engine.call(&["containers", "delete", &name]);
    result
}

/// What becomes no container: ctr says what the runtime does, and has one code for all of it.
fn refused(bench: &Bench<'_>) -> Result<()> {
    for (image, words) in [
        ("absent", "no such file"),
        ("empty", "the file is empty"),
        ("elf", "native"),
        ("link-up", "/app"),
    ] {
        let container = Container {
            image: image.to_owned(),
            ..Container::default()
        };
        let said: Said = engine::output(&bench.engine.run(&container)?)?.into();
        said.fails(1, &["OCI runtime create failed", words])?;
        ensure!(said.stdout.is_empty(), "{image}: {said:?}");
    }
    Ok(())
}

fn steps(bench: &Bench<'_>, name: &str, log: &Path) -> Result<()> {
    until("it is ready", || {
        Ok(fs::read_to_string(log).is_ok_and(|text| text.contains("ready")))
    })?;
    let state = || -> Result<String> {
        let listed = bench.engine.succeed(&["tasks", "list"])?;
        let line = listed.lines().find(|line| line.starts_with(&format!("{name} ")));
        Ok(line
            .and_then(|line| line.split_whitespace().nth(2))
            .unwrap_or("absent")
            .to_owned())
    };
    ensure!(state()? == "RUNNING");
    let said: Said = bench
        .engine
        .call(&["tasks", "exec", "--exec-id", "second", name, "ls"])?
        .into();
    ensure!(
        said.code != Some(0) && said.stderr.contains("WebAssembly"),
        "{said:?}"
    );
    bench.engine.succeed(&["tasks", "pause", name])?;
    ensure!(state()? == "PAUSED");
    bench.engine.succeed(&["tasks", "resume", name])?;
    bench
        .engine
        .succeed(&["tasks", "kill", "--signal", "SIGTERM", name])?;
    until("it has stopped", || Ok(state()? == "STOPPED"))?;
    let said: Said = bench.engine.call(&["tasks", "delete", name])?.into();
    ensure!(said.stderr.contains("exit code 143"), "{said:?}");
    Ok(())
}

fn until(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !is_so()? {
        if Instant::now() > deadline {
            bail!("waited in vain until {what}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Has a container run in a pod, with something done meanwhile.
fn run(bench: &Bench<'_>, container: &Container, meanwhile: &[&str]) -> Result<Said> {
    Ok(engine::output(&bench.engine.cri_run(container, meanwhile)?)?.into())
}

/// The kubelet's way to end a container.
fn stop(bench: &Bench<'_>) -> Result<()> {
    let said = run(
        bench,
        &guest(&["say:ready", "sleep:600"]),
        &["wait-for:ready", "stop:60"],
    )?;
    ensure!(said.code == Some(143), "{said:?}");
    Ok(())
}

/// `kubectl exec`, and probes that are commands.
fn exec(bench: &Bench<'_>) -> Result<()> {
    let steps = ["wait-for:ready", "exec", "stop:60"];
    let said = run(bench, &guest(&["say:ready", "sleep:600"]), &steps)?;
    said.fails(143, &["cri: exec refused: ", "WebAssembly"])
}

/// A pod has an address, a name, and volumes: what Kubernetes makes of a ConfigMap and of an emptyDir.
fn pod(bench: &Bench<'_>) -> Result<()> {
    let config = bench.directory("config")?;
    fs::write(config.join("greeting"), "hello from a ConfigMap\n")?;
    let volume = |host: &Path, guest: &str, read_only| Volume {
        host: host.to_path_buf(),
        guest: guest.to_owned(),
        read_only,
    };
    let container = Container {
        env: vec!["NODE=one".to_owned()],
        volumes: vec![
            volume(&config, "/config", true),
            volume(&bench.directory("empty")?, "/data", false),
        ],
        ..guest(&[
            "cat:/config/greeting",
            "write:/config/greeting=x",
            "write:/data/out=kept",
            "cat:/data/out",
            "env:NODE",
            "complain:as well",
            "exit:42",
        ])
    };
    let said = run(bench, &container, &[])?;
    said.fails(42, &["as well\n"])?;
    let expected = "hello from a ConfigMap\nwrite:/config/greeting=x: ReadOnlyFilesystem\nwritten\nkept\nNODE is \
                    Some(\"one\")\n";
    ensure!(said.stdout == expected, "{said:?}");
    ensure!(fs::read_to_string(bench.scratch.join("empty/out"))? == "kept\n");
    let said = run(
        bench,
        &guest(&["say:ready", "sleep:600"]),
        &["wait-for:ready", "pause", "stop:60"],
    )?;
    said.fails(143, &["cri: pod state 0 handler hermit-wasm address 10.87.3."])
}

/// The limit of a container in a pod.
fn memory(bench: &Bench<'_>) -> Result<()> {
    let container = Container {
        memory: Some(128 << 20),
        ..guest(&["hold:64", "say:held"])
    };
    run(bench, &container, &[])?.is("held\n")?;
    let container = Container {
        memory: Some(128 << 20),
        ..guest(&["hold:256", "say:held"])
    };
    let said = run(bench, &container, &[])?;
    ensure!(said.code.is_some_and(|code| code != 0 && code != 137), "{said:?}");
    ensure!(said.stdout.is_empty(), "{said:?}");
    Ok(())
}

/// A container that cannot be made says why, where the kubelet looks.
fn not_found(bench: &Bench<'_>) -> Result<()> {
    let container = Container {
        image: "absent".to_owned(),
        ..guest(&[])
    };
    let said = run(bench, &container, &[])?;
    ensure!(
        said.code != Some(0) && said.stderr.contains("/app") && said.stderr.contains("no such file"),
        "{said:?}"
    );
    Ok(())
}
