//! The three languages of the shops.
//!
//! What `X-Language` means is decided here and nowhere else (contract section 3): anything unknown is Russian, never an error.

/// A language that a visitor can ask for. Russian is what the data is written in; the others are translations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    Ru,
    En,
    Hy,
}

impl Language {
    /// The value of an `X-Language` header: its primary subtag counts (`en-US` is English).
    pub fn from_header(value: &[u8]) -> Language {
        let end = value.iter().position(|b| b"-_,; ".contains(b)).unwrap_or(value.len());
        match value[..end].to_ascii_lowercase().as_slice() {
            b"en" => Language::En,
            b"hy" => Language::Hy,
            _ => Language::Ru,
        }
    }

    /// The first of ours that an `Accept-Language` header names; browsers list the best one first. Russian when there is none.
    pub fn preferred(accepted: &str) -> Language {
        let primary = |tag: &str| tag.split([';', '-', '_']).next().unwrap_or_default().trim().to_ascii_lowercase();
        let known = accepted.split(',').find_map(|tag| match primary(tag).as_str() {
            "ru" => Some(Language::Ru),
            "en" => Some(Language::En),
            "hy" => Some(Language::Hy),
            _ => None,
        });
        known.unwrap_or(Language::Ru)
    }

    /// The BCP 47 tag, as in `Content-Language` and in the keys of `translations`.
    pub fn tag(self) -> &'static str {
        match self {
            Language::Ru => "ru",
            Language::En => "en",
            Language::Hy => "hy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_subtag_counts_and_the_unknown_is_russian() {
        for (header, language) in [
            ("en", Language::En),
            ("EN-us", Language::En),
            ("hy_AM", Language::Hy),
            ("en,ru;q=0.5", Language::En),
            ("ru", Language::Ru),
            ("", Language::Ru),
            ("english", Language::Ru),
            ("de", Language::Ru),
        ] {
            assert_eq!(Language::from_header(header.as_bytes()), language, "{header}");
        }
        assert_eq!(Language::from_header(b"\xff\xfe"), Language::Ru);
        assert_eq!(Language::preferred("de-DE,de;q=0.9,en-US;q=0.8,ru;q=0.7"), Language::En);
        assert_eq!(Language::preferred("hy"), Language::Hy);
        assert_eq!(Language::preferred("fr, *;q=0.5"), Language::Ru);
    }
}
