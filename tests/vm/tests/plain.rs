//! The way of `docs/boot.md` without the launcher: QEMU's own command line, its standard output, its exit status.
//!
//! Environment: `IMAGES`, `GUESTS`, `ARCH` and `VIRTIOFSD` of `environment.rs`. Images are `hermit-loader`,
//! `hermit-wasm` and `hermit-wasm.img`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use machine::{Daemon, Machine, Work, finish};
use test_qemu::{Arch, Engine, Qemu};
use vm_tests::{program, virtiofsd};

#[path = "plain/machine.rs"]
mod machine;
#[path = "plain/packed.rs"]
mod packed;

/// As in `boot.rs`: each run keeps a core busy.
const THREADS: usize = 2;
/// Seconds after which a machine is ended. Far more than any takes.
const LIMIT: u32 = 120;

/// A test: its name, what it does, and whether it needs virtiofsd.
type Test = (&'static str, fn(&Machine) -> Result<()>, bool);

const TESTS: &[Test] = &[
    ("image-and-module", image_and_module, false),
    ("loader-and-application", loader_and_application, false),
    ("status", status, false),
    ("limits", limits, false),
    ("archive", archive, false),
    ("module-on-a-share", module_on_a_share, true),
    ("least-memory", least_memory, false),
    ("packed-image", packed::image, false),
    ("packed-archive", packed::archive, false),
    ("packed-application", packed::application, false),
];

/// The same for what only this architecture's machines differ in.
const X86_64_TESTS: &[Test] = &[
    ("end-without-exit-device", end_without_exit_device, false),
    ("lost-exit-code", lost_exit_code, false),
    ("unable-processor", unable_processor, false),
];

const RISCV64_TESTS: &[Test] = &[("without-vectors", without_vectors, false)];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let machine = match Machine::from_environment() {
        Ok(machine) => machine,
        Err(error) => {
            eprintln!("error: the tests without the launcher cannot begin: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let reason = virtiofsd::missing();
    if let Some(reason) = &reason {
        eprintln!("SKIP plain/module-on-a-share: {reason}");
    }
    let own = match machine.arch {
        Arch::X86_64 => X86_64_TESTS,
        Arch::Aarch64 => &[],
        Arch::Riscv64 => RISCV64_TESTS,
    };
    let trials = TESTS
        .iter()
        .chain(own)
        .map(|(name, test, shares)| {
            let (machine, test) = (machine.clone(), *test);
            let run = move || test(&machine).map_err(|error| Failed::from(format!("{error:#}")));
            Trial::test(format!("plain/{name}"), run).with_ignored_flag(*shares && reason.is_some())
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A machine's image and module: module and arguments reach the guest; standard output is its.
fn image_and_module(machine: &Machine) -> Result<()> {
    let output = machine.run(
        &[],
        "hermit-wasm.img",
        Some(&machine.guest("args")?),
        "-- --env A=1 -- one two",
    )?;
    machine.check(
        &output,
        "0: \"boot-module.wasm\"\n1: \"one\"\n2: \"two\"\n",
        machine.status_of(0),
    )
}

/// Loader and application apart: the application's own module runs. The native one has none, and says so.
fn loader_and_application(machine: &Machine) -> Result<()> {
    let application = machine.image("hermit-wasm");
    let output = machine.run(&[], "hermit-loader", Some(&application), "-- -- hello")?;
    let text = machine.guests_output(&output)?;
    if machine.engine == Engine::Native {
        ensure!(
            text.contains("nothing to run: this image runs compiled programs"),
            "it printed {text:?}"
        );
        return Ok(());
    }
    ensure!(
        text.starts_with("Hello from WebAssembly on Hermit!\n") && text.contains("hello"),
        "it printed {text:?}"
    );
    ensure!(
        output.status.code() == Some(machine.status_of(0)),
        "{}",
        output.status
    );
    Ok(())
}

/// QEMU's status says what it can of the guest's exit code; on aarch64 all of it with semihosting.
fn status(machine: &Machine) -> Result<()> {
    let exit = machine.guest("exit")?;
    for code in [0, 1, 42, 255] {
        let run =
            |flags: &[&str]| machine.run(flags, "hermit-wasm.img", Some(&exit), &format!("-- -- {code}"));
        let said = format!("exiting with {code}\n");
        machine.check(&run(&[])?, &said, machine.status_of(code))?;
        if machine.arch == Arch::Aarch64 {
            machine.check(&run(&["-semihosting-config", "enable=on"])?, &said, code.into())?;
        }
    }
    let trap = machine.guest("trap-unreachable")?;
    let output = machine.run(&[], "hermit-wasm.img", Some(&trap), "")?;
    ensure!(
        output.status.code() == Some(machine.status_of(134)),
        "a trap: {}",
        output.status
    );
    Ok(())
}

/// Limits as words: the machine ends by itself, and says why behind what the guest has printed.
fn limits(machine: &Machine) -> Result<()> {
    for (guest, limit, printed, code, message) in [
        ("loop-forever", "timeout=300ms", "", 242, "time limit (300 ms)"),
        ("limit-sleep", "timeout=300ms", "", 242, "time limit (300 ms)"),
        (
            "limit-memory",
            "max-memory-size=1MiB",
            "",
            243,
            "memory limit (1048576 bytes)",
        ),
        (
            "limit-output",
            "max-output-bytes=5",
            "01234",
            248,
            "output limit (5 bytes)",
        ),
    ] {
        let module = machine.guest(guest)?;
        let words = format!("-- --limit {limit}");
        let output = machine.run(&[], "hermit-wasm.img", Some(&module), &words)?;
        let text = machine.guests_output(&output)?;
        ensure!(
            text.starts_with(&format!("{printed}hermit-wasm: ")) && text.contains(message),
            "{guest} printed {text:?}"
        );
        ensure!(
            output.status.code() == Some(machine.status_of(code)),
            "{guest}: {}",
            output.status
        );
    }
    Ok(())
}

/// A payload with a module and a directory: the guest lists and reads the copy.
fn archive(machine: &Machine) -> Result<()> {
    let work = Work::new(machine, "archive")?;
    fs::create_dir(work.path("project"))?;
    fs::write(work.path("project/a.txt"), "text of a")?;
    let module = format!("module.{}", program::extension(machine.engine));
    fs::copy(machine.guest("files")?, work.path(&module))?;
    work.tar(&["-C", "project", "-cf", "project.tar", "."])?;
    work.tar(&["-cf", "boot.tar", &module, "project.tar"])?;
    let output = machine.run(
        &[],
        "hermit-wasm.img",
        Some(&work.path("boot.tar")),
        "-- --copy-dir project.tar::/ --tmpfs /tmp -- cat /a.txt , put /tmp/b b , cat /tmp/b",
    )?;
    let expected = "cat /a.txt: \"text of a\"\nput /tmp/b b: done\ncat /tmp/b: \"b\"\n";
    machine.check(&output, expected, machine.status_of(0))
}

/// A directory that a virtiofsd of our own serves: the module is read from it, and the guest writes to it.
fn module_on_a_share(machine: &Machine) -> Result<()> {
    let work = Work::new(machine, "share")?;
    fs::create_dir(work.path("project"))?;
    fs::write(work.path("project/a.txt"), "text of a")?;
    let module = format!("module.{}", program::extension(machine.engine));
    fs::copy(machine.guest("files")?, work.path("project").join(&module))?;
    let socket = work.path("fs.sock");
    let _daemon = Daemon::start(&socket, &work.path("project"))?;
    let mut flags = vec![
        "-object".to_owned(),
        "memory-backend-memfd,id=ram,size=256M,share=on".into(),
        "-chardev".into(),
        format!("socket,id=fs,path={}", socket.display()),
    ];
    let device = if machine.arch == Arch::Aarch64 {
        "vhost-user-fs-pci"
    } else {
        flags.extend(["-global".into(), "virtio-mmio.force-legacy=off".into()]);
        "vhost-user-fs-device"
    };
    flags.extend(["-device".into(), format!("{device},chardev=fs,tag=root")]);
    let image = machine.image("hermit-wasm.img");
    let usual = machine.qemu(&image);
    let qemu = Qemu {
        machine: &format!("{},memory-backend=ram", usual.machine),
        memory: "256M",
        append: Some(&format!(
            "-- -f /root/{module} --share root::/ -- cat /a.txt , put /b text"
        )),
        ..usual
    };
    let output = finish(qemu.limited(LIMIT).args(&flags))?;
    let expected = "cat /a.txt: \"text of a\"\nput /b text: done\n";
    machine.check(&output, expected, machine.status_of(0))?;
    let written = fs::read_to_string(work.path("project/b"))?;
    ensure!(written == "text", "the host reads {written:?}");
    Ok(())
}

/// What QEMU says that finds no place in the machine's memory for the files that it is given.
const NO_PLACE: [&str; 8] = [
    // x86_64
    "initrd is too large, cannot support.",
    // aarch64
    "is too large to fit in RAM",
    "too big to fit into RAM after the kernel",
    "not enough space after kernel to load initrd",
    "Not enough space for DTB after kernel/initrd",
    // riscv64
    "could not load kernel '",
    "could not load ramdisk '",
    "Some ROM regions are overlapping",
];

/// A small module runs with the least memory that the launcher allows. With 1 MiB less the loader refuses on x86_64,
/// for the larger of the images, the interpreter's, and names what the launcher allows. Elsewhere, and with the other
/// image, less may do, until the loader or the application refuses, or QEMU has no place for its files.
fn least_memory(machine: &Machine) -> Result<()> {
    let allowed = boot_protocol::memory::least(machine.arch, machine.engine == Engine::Native) >> 20;
    let hello = machine.guest("hello-wat")?;
    let image = machine.image("hermit-wasm.img");
    let run = |mib: u64| {
        let qemu = Qemu {
            memory: &format!("{mib}M"),
            initrd: Some(&hello),
            append: Some(""),
            ..machine.qemu(&image)
        };
        finish(&mut qemu.limited(LIMIT))
    };
    let exact = machine.arch == Arch::X86_64 && machine.engine == Engine::Interp;
    let mut least = allowed;
    let text = loop {
        machine.check(&run(least)?, "Hello from WAT!\n", machine.status_of(0))?;
        let output = run(least - 1)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if NO_PLACE.iter().any(|words| said.contains(words)) {
            ensure!(
                !exact,
                "with {} MiB QEMU refuses, not the loader: {said}",
                least - 1
            );
            return Ok(());
        }
        let text = machine
            .guests_output(&output)
            .with_context(|| format!("with {} MiB QEMU said {said:?}", least - 1))?;
        if text.starts_with("hermit-loader: ") {
            break text;
        }
        if text.starts_with("hermit-wasm: cannot run ") {
            ensure!(
                !exact,
                "with {} MiB the application refuses, not the loader: {text}",
                least - 1
            );
            ensure!(
                text.contains("too little memory") && text.contains("--memory SIZE"),
                "with {} MiB it printed {text:?}",
                least - 1
            );
            return Ok(());
        }
        least -= 1;
        ensure!(
            !exact,
            "{least} MiB do, and boot_protocol::memory has {allowed}: the loader printed {text:?}"
        );
    };
    let advice =
        format!("give the VM {least} MiB at least (QEMU: -m {least}M, hermit-wasm: --memory {least}M)");
    ensure!(text.contains(&advice), "with 1 MiB less it printed {text:?}");
    Ok(())
}

/// Without isa-debug-exit: ACPI ends what has it, even where nobody said `-no-reboot`; then the keyboard controller
/// does; only a machine that has neither ends by a triple fault.
fn end_without_exit_device(machine: &Machine) -> Result<()> {
    let work = Work::new(machine, "end")?;
    let (image, exit) = (machine.image("hermit-wasm.img"), machine.guest("exit")?);
    let log = work.path("log");
    for (kind, no_reboot, triple_fault) in [
        ("microvm,acpi=on", false, false),
        ("q35", false, false),
        ("pc", false, false),
        ("pc,acpi=off", true, false),
        ("microvm,acpi=off", true, true),
    ] {
        let qemu = Qemu {
            machine: kind,
            no_reboot,
            exit_device: false,
            initrd: Some(&exit),
            append: Some("-- -- 0"),
            ..machine.qemu(&image)
        };
        let output = finish(qemu.limited(LIMIT).args(["-d", "cpu_reset", "-D"]).arg(&log))?;
        machine
            .check(&output, "exiting with 0\n", 0)
            .with_context(|| kind.to_owned())?;
        let faulted = fs::read_to_string(&log)?.contains("Triple fault");
        ensure!(faulted == triple_fault, "{kind}: a triple fault: {faulted}");
    }
    Ok(())
}

/// Without isa-debug-exit QEMU's status is 0 for any exit code: a line says so.
fn lost_exit_code(machine: &Machine) -> Result<()> {
    let (image, exit) = (machine.image("hermit-wasm.img"), machine.guest("exit")?);
    let qemu = Qemu {
        machine: "q35",
        no_reboot: false,
        exit_device: false,
        initrd: Some(&exit),
        append: Some("-- -- 42"),
        ..machine.qemu(&image)
    };
    let output = finish(&mut qemu.limited(LIMIT))?;
    // Word for word what a user is told to add.
    let expected = "exiting with 42\nhermit-wasm: exit code 42 is lost, for this machine has no isa-debug-exit; QEMU: \
                    add -device isa-debug-exit,iobase=0xf4,iosize=0x04\n";
    machine.check(&output, expected, 0)
}

/// QEMU's own default processor lacks what the kernel is built for.
fn unable_processor(machine: &Machine) -> Result<()> {
    let image = machine.image("hermit-wasm.img");
    let qemu = Qemu {
        machine: "q35",
        processor: "qemu64",
        no_reboot: false,
        ..machine.qemu(&image)
    };
    let output = finish(&mut qemu.limited(LIMIT))?;
    let expected = "hermit-loader: cannot boot: this processor lacks the instructions FSGSBASE; use another one \
                    (QEMU: -cpu max, or -cpu host with KVM)\n";
    machine.check(&output, expected, 1)
}

/// A processor without vectors interprets. Code that may have some is refused before it runs; other code runs.
fn without_vectors(machine: &Machine) -> Result<()> {
    let image = machine.image("hermit-wasm.img");
    let boot = |program: &Path| {
        let qemu = Qemu {
            processor: "rv64",
            initrd: Some(program),
            append: Some("-- -- 7"),
            ..machine.qemu(&image)
        };
        finish(&mut qemu.limited(LIMIT))
    };
    let runs = |program: &Path| machine.check(&boot(program)?, "exiting with 7\n", machine.status_of(7));
    if machine.engine == Engine::Interp {
        return runs(&machine.guest("exit")?);
    }
    runs(&machine.guest_for("exit", Some("rv64gc"))?)?;
    let refusal = "hermit-wasm: cannot load the native code of `boot-module.wasm`: it was compiled for rv64gcv, and \
                   this machine's processor lacks the feature v; compile the module again with this version of \
                   hermit-wasm, for this architecture and processor\n";
    machine.check(&boot(&machine.guest("exit")?)?, refusal, machine.status_of(126))
}
