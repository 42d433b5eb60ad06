//! `brandgate docs`: generates manual pages, shell completions and the configuration reference.
//!
//! Exists only with the feature `docs`; the packaged binary is built without it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brandgate::config;
use clap::CommandFactory;
use clap_complete::Shell;

use super::output::complain;

/// Appended to the manual page: what the command definitions do not say, in roff (man(7)).
const EXTRA_SECTIONS: &str = r#".SH "EXIT STATUS"
.TP
.B 0
Success; for \fBcheck\fR: no errors (warnings do not count).
.TP
.B 1
Failure, or \fBcheck\fR found an error; the reason is on standard error.
.TP
.B 2
Invalid arguments or brand files; every problem is on standard error, with file and line.
.SH FILES
.TP
.I /etc/brandgate/brands/NAME.toml
A brand; /usr/share/doc/brandgate/configuration.md describes every key.
.TP
.I /etc/brandgate/credentials/NAME.*
Its secrets, one per file, mode 0600.
.TP
.I /etc/brandgate/certs/NAME/
Its certificate and key, installed by the certbot hook.
.TP
.I /etc/default/brandgate
Log format and filter of the services.
.SH EXAMPLES
.nf
brandgate check \-\-offline && systemctl reload brandgate brandgate\-work
brandgate catalog import \-\-brand novo moscow=moscow.xml spb=spb.xml
brandgate payments list \-\-brand dexar \-\-to\-settle
.fi
.SH "SEE ALSO"
.IR /usr/share/doc/brandgate/configuration.md ,
.IR /usr/share/doc/brandgate/operations.md ,
.IR /usr/share/doc/brandgate/monitoring/README.md ,
.BR systemctl (1)
"#;

#[derive(clap::Args)]
pub(crate) struct DocsArguments {
    /// Write to this directory; it is created if missing
    directory: PathBuf,
}

pub(crate) fn run(arguments: &DocsArguments) -> ExitCode {
    match write(&arguments.directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain!("brandgate: failed to write to {}: {error}", arguments.directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    // The packaged binary has no command `docs`.
    let all = super::CliArguments::command();
    let mut command = clap::Command::new("brandgate")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .args(all.get_arguments().cloned())
        .subcommands(all.get_subcommands().filter(|subcommand| subcommand.get_name() != "docs").cloned())
        .subcommand_required(true);
    clap_mangen::generate_to(command.clone(), directory)?;
    File::options().append(true).open(directory.join("brandgate.1"))?.write_all(EXTRA_SECTIONS.as_bytes())?;
    std::fs::write(directory.join("configuration.md"), config::reference())?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "brandgate", directory)?;
    }
    Ok(())
}
