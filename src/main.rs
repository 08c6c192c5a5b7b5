use std::process::ExitCode;

/// Activations are large and short-lived: this allocator keeps their pages, which the system allocator would return
/// each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pythia_tui::cli::main(std::env::args_os())
}
