//! `brandgate docs`: manual pages and completions for the package, written from the command line's own definition.
//!
//! Called by `make deb`. It exists only with the feature `docs`, which the package's own binary is built without.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::output::complain;

#[derive(clap::Args)]
pub struct Arguments {
    /// Where to; made if it is missing
    directory: PathBuf,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    match write(&arguments.directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain!("brandgate: {}: {error}", arguments.directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    // The package's binary has no `docs`, so neither do its pages.
    let all = super::Arguments::command();
    let mut command = clap::Command::new("brandgate")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .args(all.get_arguments().cloned())
        .subcommands(all.get_subcommands().filter(|subcommand| subcommand.get_name() != "docs").cloned())
        .subcommand_required(true);
    clap_mangen::generate_to(command.clone(), directory)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "brandgate", directory)?;
    }
    Ok(())
}
