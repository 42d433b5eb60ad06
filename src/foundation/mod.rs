//! What every layer uses: errors, counts, secrets, money, VAT, languages, time, hexadecimal, visible text.

pub mod clock;
pub mod count;
pub mod error;
#[cfg(test)]
pub(crate) mod fuzz;
pub(crate) mod hex;
pub mod language;
pub mod money;
pub(crate) mod secret;
pub(crate) mod texts;
pub mod vat;
pub(crate) mod visible;
pub(crate) mod whole_number;
