//! The log on standard error: text or JSON, with syslog priorities when systemd's journal reads it.
//!
//! # Invariants
//! - Parameters of SQL statements (texts, addresses) are never logged.
//! - A log that cannot be written fails no request.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Installs the subscriber; RUST_LOG filters its events.
pub(crate) fn init(format: LogFormat) {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV)
        .map(|text| EnvFilter::try_new(without_tokio_postgres(&text)))
    {
        // At debug level it logs the parameters of statements.
        Ok(Ok(filter)) => filter.add_directive(Directive::from_str("tokio_postgres=warn").expect("a valid directive")),
        // Silenced: notices of migrations (`migrate` reports their outcome), IP addresses in SNI, and each of many connections
        // that broke for one reason.
        _ => EnvFilter::new("info,tokio_postgres=warn,deadpool=error,refinery_core=off,rustls=error"),
    };
    let is_journal = is_connected_to_journal(std::env::var("JOURNAL_STREAM").ok().as_deref());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(Output { is_journal });
    // The journal adds the time itself.
    match (format, is_journal) {
        (LogFormat::Text, false) => log.init(),
        (LogFormat::Text, true) => log.without_time().with_level(false).init(),
        (LogFormat::Json, false) => log.json().init(),
        (LogFormat::Json, true) => log.json().without_time().init(),
    }
}

/// The filter without directives about tokio_postgres or its modules, which would take precedence over ours.
fn without_tokio_postgres(filter: &str) -> String {
    let others = filter.split(',').filter(|directive| !directive.trim_start().starts_with("tokio_postgres"));
    others.collect::<Vec<_>>().join(",")
}

/// Whether standard error is the stream that systemd connected to the journal (`$JOURNAL_STREAM`, systemd.exec(5)); it may have been
/// redirected since.
fn is_connected_to_journal(stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else { return false };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stderr| device.parse() == Ok(stderr.dev()) && inode.parse() == Ok(stderr.ino()))
}

struct Output {
    is_journal: bool,
}

/// Writes one event after its priority prefix.
struct EventWriter {
    prefix: &'static str,
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = EventWriter;

    fn make_writer(&'a self) -> EventWriter {
        EventWriter { prefix: "" }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> EventWriter {
        EventWriter { prefix: if self.is_journal { priority(*metadata.level()) } else { "" } }
    }
}

impl Write for EventWriter {
    /// Receives a whole event and writes it with one system call, so that lines of threads do not mix.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut output = std::io::stderr().lock();
        // A full disk or a closed pipe cannot be reported anywhere else.
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

/// The prefix of a syslog priority (sd-daemon(3)).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}
