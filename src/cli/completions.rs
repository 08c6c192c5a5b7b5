use std::io::Write;

use anyhow::Result;

pub(super) fn main(shell: clap_complete::Shell, mut command: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "pythia-tui", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}
