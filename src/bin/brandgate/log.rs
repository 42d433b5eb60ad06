//! The log on standard error: text or JSON, and with priorities when it goes to systemd's journal.
//!
//! Begun once by `main`. What must never happen: the parameters of statements (letters, people's addresses) are written, or a
//! request fails because nobody takes the log any more.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Lines go to standard error from here on; RUST_LOG chooses which.
pub fn begin(format: LogFormat) {
    let filter = match EnvFilter::try_from_default_env() {
        // At debug it writes the parameters of statements.
        Ok(chosen) => chosen.add_directive(Directive::from_str("tokio_postgres=warn").expect("it is one")),
        // Notices of a migration, clients that name an address in SNI, and each of many connections that broke alike are nobody's
        // concern; what came of a migration is said by `migrate`.
        Err(_) => EnvFilter::new("info,tokio_postgres=warn,deadpool=error,refinery_core=off,rustls=error"),
    };
    let is_journal = goes_to_journal(std::env::var("JOURNAL_STREAM").ok().as_deref());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(Output { is_journal });
    // The journal has the time of every line itself.
    match (format, is_journal) {
        (LogFormat::Text, false) => log.init(),
        (LogFormat::Text, true) => log.without_time().with_level(false).init(),
        (LogFormat::Json, false) => log.json().init(),
        (LogFormat::Json, true) => log.json().without_time().init(),
    }
}

/// Whether standard error is what systemd says it connected to the journal (systemd.exec(5), `$JOURNAL_STREAM`): a child
/// may have been given another one.
fn goes_to_journal(stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else { return false };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|error| device.parse() == Ok(error.dev()) && inode.parse() == Ok(error.ino()))
}

struct Output {
    is_journal: bool,
}

/// One line on its way, with what stands before it.
struct Line {
    prefix: &'static str,
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { prefix: "" }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line {
        Line { prefix: if self.is_journal { priority(*about.level()) } else { "" } }
    }
}

impl Write for Line {
    /// A whole event comes in one piece, and leaves in one.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut output = std::io::stderr().lock();
        // A full disk, or a reader that has gone, is told to nobody: there is no other place to tell it.
        let _ = match self.prefix {
            "" => output.write_all(bytes),
            prefix => output.write_all(&[prefix.as_bytes(), bytes].concat()),
        };
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// As sd-daemon(3) writes the priorities of syslog(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}
