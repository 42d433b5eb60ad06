//! Other ways in which a word may have been meant: keyboard layout, transliteration, sound and slips.

pub(crate) mod distance;
pub(crate) mod layout;
pub(crate) mod sound;
pub(crate) mod transliteration;
