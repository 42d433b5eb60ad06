//! Types that every layer uses: errors, secrets, money, languages, time, hexadecimal.

pub mod clock;
pub mod error;
pub mod hex;
pub mod language;
pub mod money;
pub mod secret;
pub mod texts;
