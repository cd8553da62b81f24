//! The choice of KVM or TCG. Only where /dev/kvm can be opened, whether or not it works: the fake QEMU does not use
//! it. What happens where it cannot is tested beside the code.

use std::fs::File;

use boot_protocol::exit_code;
use libtest_mimic::Trial;

use crate::harness::{Scratch, expect_no_qemu, finish, launcher, test};

pub(crate) fn tests() -> Vec<Trial> {
    let openable = File::options().read(true).write(true).open("/dev/kvm").is_ok();
    [
        test("accel::auto_takes_kvm_that_works", auto_takes_kvm_that_works),
        test("accel::auto_falls_back_in_silence", auto_falls_back_in_silence),
        test("accel::auto_says_why_if_asked", auto_says_why_if_asked),
        test("accel::kvm_that_fails_is_an_error", kvm_that_fails_is_an_error),
        test(
            "accel::a_trial_is_interrupted_by_the_timeout",
            a_trial_is_interrupted_by_the_timeout,
        ),
    ]
    .into_iter()
    .map(|trial| trial.with_ignored_flag(!openable))
    .collect()
}

fn auto_takes_kvm_that_works() {
    let scratch = Scratch::new();
    for starts in [2, 3] {
        finish(&mut launcher(&scratch, "kvm works"))
            .expect_code(0)
            .expect_output("kvm\n")
            .expect_silence();
        // The first run tries it and then runs; the second remembers.
        expect_no_qemu(&scratch, starts);
    }
}

fn auto_falls_back_in_silence() {
    for scenario in ["kvm stops", "kvm aborts"] {
        let scratch = Scratch::new();
        for starts in [2, 3] {
            finish(&mut launcher(&scratch, scenario))
                .expect_code(0)
                .expect_output("tcg\n")
                .expect_silence();
            expect_no_qemu(&scratch, starts);
        }
    }
}

fn auto_says_why_if_asked() {
    let scratch = Scratch::new();
    finish(launcher(&scratch, "kvm aborts").arg("-v"))
        .expect_code(0)
        .expect_output("tcg\n")
        .expect_message(&[
            "accelerator is tcg: a trial boot under KVM failed: ",
            "failed to set MSR 0x10a",
        ]);
    finish(launcher(&scratch, "kvm aborts").arg("-v"))
        .expect_code(0)
        .expect_message(&[
            "accelerator is tcg: KVM failed on this host before: ",
            "failed to set MSR 0x10a",
        ]);
}

fn kvm_that_fails_is_an_error() {
    for (scenario, words) in [
        ("kvm stops", "KVM internal error"),
        ("kvm aborts", "failed to set MSR 0x10a"),
    ] {
        let scratch = Scratch::new();
        finish(launcher(&scratch, scenario).args(["--accel", "kvm"]))
            .expect_code(exit_code::VM_FAILED)
            .expect_output("")
            .expect_message(&[words, "use --accel tcg"]);
        expect_no_qemu(&scratch, 1);
    }
}

fn a_trial_is_interrupted_by_the_timeout() {
    let scratch = Scratch::new();
    for _ in 0..2 {
        finish(launcher(&scratch, "hang").args(["--timeout", "300ms"])).expect_code(exit_code::TIMEOUT);
    }
    // Nothing was learnt about KVM, so it was tried twice.
    expect_no_qemu(&scratch, 2);
    assert!(scratch.journal().iter().all(|line| line.contains("-accel kvm")));
}
