//! `brandgate docs`: manual pages and completions for the package, written from the command line's own definition.
//!
//! Called by `make deb`. It exists only with the feature `docs`, which the package's own binary is built without.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::output::complain;

/// What the command line's definition does not say, in roff (man(7)).
const MORE: &str = r#".SH "EXIT STATUS"
.TP
.B 0
Done; of \fBcheck\fR: no fault, a warning is none.
.TP
.B 1
Not done, or \fBcheck\fR found a fault; the reason is on standard error.
.TP
.B 2
An argument, or a brand's file, cannot be used; every fault is on standard error, with file and line.
.SH FILES
.TP
.I /etc/brandgate/brands/NAME.toml
A brand; the shipped dexar.toml explains every key.
.TP
.I /etc/brandgate/credentials/NAME.*
Its secrets, one a file, mode 0600.
.TP
.I /etc/brandgate/certs/NAME/
Its certificate and key, as the certbot hook puts them there.
.TP
.I /etc/default/brandgate
Form and amount of the services' log.
.SH EXAMPLES
.nf
brandgate check \-\-offline && systemctl reload brandgate brandgate\-work
brandgate catalog import \-\-brand novo moscow=moscow.xml spb=spb.xml
brandgate payments list \-\-brand dexar \-\-to\-settle
.fi
.SH "SEE ALSO"
.IR /usr/share/doc/brandgate/operations.md ,
.IR /usr/share/doc/brandgate/README.md ,
.BR systemctl (1)
"#;

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
    File::options().append(true).open(directory.join("brandgate.1"))?.write_all(MORE.as_bytes())?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "brandgate", directory)?;
    }
    Ok(())
}
