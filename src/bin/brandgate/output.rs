//! What the commands print: results on standard output by [`say!`], complaints on standard error by [`complain!`].
//!
//! Used by every subcommand instead of `println!`, which panics when nobody reads any more. What must never happen: a
//! command that has done its work ends as if it had not, because `| head` had seen enough.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

/// Why standard output could not be written, when that is worth a word (a full disk, not a reader that has gone).
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Like `println!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::result(format_args!("{}\n", format_args!($($text)*))) };
}

/// Like `eprintln!`.
macro_rules! complain {
    ($($text:tt)*) => { $crate::output::complaint(format_args!($($text)*)) };
}

pub(crate) use {complain, say};

pub fn result(text: Arguments<'_>) {
    if let Err(error) = std::io::stdout().write_fmt(text)
        && error.kind() != ErrorKind::BrokenPipe
    {
        // The first one tells enough.
        let _ = LOST.set(error);
    }
}

pub fn complaint(text: Arguments<'_>) {
    // There is nowhere left to say that standard error is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether everything that was said has been written, a reader that left aside. Errors are a sentence.
pub fn whole() -> Result<(), String> {
    let flushed = std::io::stdout().flush().err().filter(|error| error.kind() != ErrorKind::BrokenPipe);
    match LOST.get().map(ToString::to_string).or(flushed.map(|error| error.to_string())) {
        None => Ok(()),
        Some(error) => Err(format!("not all of the output could be written: {error}")),
    }
}
