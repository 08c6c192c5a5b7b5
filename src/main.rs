use std::process::ExitCode;

fn main() -> ExitCode {
    pythia_tui::cli::main(std::env::args_os())
}
