//! Types that every other layer uses: errors, time, money, languages and their texts, secrets.

pub mod clock;
pub mod error;
pub mod hex;
pub mod language;
pub mod money;
pub mod secret;
pub mod texts;
