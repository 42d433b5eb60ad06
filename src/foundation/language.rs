//! The languages of the shops, and how `X-Language` and `Accept-Language` select one.

macro_rules! languages {
    ($($(#[$doc:meta])* $language:ident = $tag:literal),+ $(,)?) => {
        /// A language that a visitor can select.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Language {
            $($(#[$doc])* $language),+
        }

        impl Language {
            pub const ALL: &[Language] = &[$(Language::$language),+];

            /// The BCP 47 tag, as in `Content-Language` and in the keys of `translations`.
            pub const fn tag(self) -> &'static str {
                match self {
                    $(Language::$language => $tag),+
                }
            }
        }
    };
}

languages! {
    /// The language that the catalogue is written in; the others are translations.
    Ru = "ru",
    En = "en",
    Hy = "hy",
}

impl Language {
    /// Used when a request selects no known language, which is never an error.
    pub const DEFAULT: Language = Language::Ru;

    /// Selects by the value of an `X-Language` header. Only the primary subtag counts: `en-US` is English.
    pub fn from_header(value: &[u8]) -> Language {
        let end = value.iter().position(|b| b"-_,; ".contains(b)).unwrap_or(value.len());
        Language::from_primary_subtag(&value[..end]).unwrap_or(Language::DEFAULT)
    }

    /// Selects the first known language of an `Accept-Language` header; browsers list the preferred one first.
    pub fn preferred(accept_language: &str) -> Language {
        let primary_subtag = |tag: &str| tag.split([';', '-', '_']).next().unwrap_or_default().trim().to_owned();
        accept_language
            .split(',')
            .find_map(|tag| Language::from_primary_subtag(primary_subtag(tag).as_bytes()))
            .unwrap_or(Language::DEFAULT)
    }

    fn from_primary_subtag(subtag: &[u8]) -> Option<Language> {
        Language::ALL.iter().copied().find(|language| language.tag().as_bytes().eq_ignore_ascii_case(subtag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_language_selects_by_primary_subtag_and_defaults_to_russian() {
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
    }

    #[test]
    fn accept_language_selects_the_first_known_language() {
        assert_eq!(Language::preferred("de-DE,de;q=0.9,en-US;q=0.8,ru;q=0.7"), Language::En);
        assert_eq!(Language::preferred("hy"), Language::Hy);
        assert_eq!(Language::preferred("fr, *;q=0.5"), Language::Ru);
    }
}
