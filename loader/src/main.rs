//! The loader's program: what Rust demands of a program without an operating system. See the library.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod bare_metal {
    //! Panics end the machine; there is no heap.

    use core::alloc::{GlobalAlloc, Layout};
    use core::fmt::Write;
    use core::panic::PanicInfo;

    use hermit_wasm_loader::arch::current::console::Console;
    use hermit_wasm_loader::arch::current::exit;

    /// One line, as for any failure.
    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        // The console takes everything.
        let _ = write!(Console, "hermit-loader: internal error: {}", info.message());
        if let Some(location) = info.location() {
            let _ = write!(Console, " at {}:{}", location.file(), location.line());
        }
        let _ = writeln!(Console, "; please report it");
        exit::fail()
    }

    /// hermit-entry links `alloc`, so there must be an allocator; what we use of it never allocates.
    struct NoHeap;

    #[expect(unsafe_code, reason = "the trait is unsafe")]
    // SAFETY: failing is always allowed.
    unsafe impl GlobalAlloc for NoHeap {
        unsafe fn alloc(&self, _: Layout) -> *mut u8 {
            core::ptr::null_mut()
        }

        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    }

    #[global_allocator]
    static NO_HEAP: NoHeap = NoHeap;
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "hermit-loader runs on bare metal: build it for a target without an operating system, as Cargo.toml says"
    );
    std::process::exit(2);
}
