//! `hermit-wasm hypervisors`: what each hypervisor can do, and whether it is installed.

use hermit_wasm_vm::host::shown;
use hermit_wasm_vm::vmm::capabilities::ConsoleKind;
use hermit_wasm_vm::vmm::{self, Vmm};

/// A paragraph for each hypervisor.
pub(super) fn table() -> String {
    vmm::all().iter().map(|vmm| paragraph(&**vmm)).collect()
}

fn paragraph(vmm: &dyn Vmm) -> String {
    let can = vmm.capabilities();
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let architectures: Vec<String> = can
        .architectures
        .iter()
        .map(|arch| match vmm.program(*arch) {
            Ok(program) => format!("{} ({})", arch.name(), shown::path(program)),
            Err(_) => format!("{} (not usable here)", arch.name()),
        })
        .collect();
    let accelerators: Vec<&str> = can.accelerators.iter().map(|one| one.name()).collect();
    let console = match can.console {
        ConsoleKind::Framed => "serial line",
        ConsoleKind::SharedMemory => "serial line, bulk data in shared memory",
    };
    format!(
        "{}\n  architectures  {}\n  accelerators   {}\n  --dir          {}\n  --copy-dir     {}\n  \
         network        {}\n  console        {console}\n  exit code      {}\n  --print-command {}\n",
        vmm.name(),
        architectures.join(", "),
        accelerators.join(", "),
        yes(can.directories),
        yes(can.copies),
        yes(can.network),
        if can.exit_code {
            "by the console; without this program too"
        } else {
            "by the console"
        },
        yes(can.commands),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hermit_wasm_vm::Arch;

    #[test]
    fn every_hypervisor_is_shown() {
        let table = table();
        for vmm in vmm::all() {
            assert!(table.contains(&format!("{}\n", vmm.name())), "{table}");
        }
        assert!(table.contains(Arch::Riscv64.name()));
    }
}
