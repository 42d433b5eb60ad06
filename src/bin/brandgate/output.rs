//! Standard output ([`say!`]) and standard error ([`complain!`]) of the commands.
//!
//! `println!` panics when the reader of a pipe is gone; a command whose reader has seen enough (`| head`) succeeds.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

/// The first error of writing to standard output, except a closed pipe.
static WRITE_ERROR: OnceLock<std::io::Error> = OnceLock::new();

/// Like `println!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::result(format_args!("{}\n", format_args!($($text)*))) };
}

/// Like `eprintln!`.
macro_rules! complain {
    ($($text:tt)*) => { $crate::output::complaint(format_args!($($text)*)) };
}

pub(crate) use {complain, say};

pub(crate) fn result(text: Arguments<'_>) {
    if let Err(error) = std::io::stdout().write_fmt(text)
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = WRITE_ERROR.set(error);
    }
}

pub(crate) fn complaint(text: Arguments<'_>) {
    // A closed standard error cannot be reported anywhere.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Flushes standard output.
///
/// # Errors
/// An output that was not written completely (a full disk); a reader that closed the pipe is not an error.
pub(crate) fn flush() -> Result<(), String> {
    let flush_error = std::io::stdout().flush().err().filter(|error| error.kind() != ErrorKind::BrokenPipe);
    match WRITE_ERROR.get().map(ToString::to_string).or(flush_error.map(|error| error.to_string())) {
        None => Ok(()),
        Some(error) => Err(format!("failed to write the whole output: {error}")),
    }
}
