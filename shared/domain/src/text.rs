//! Texts that a person types: trimmed, NFC, counted in characters, free of control characters.

use serde::Serialize;
use unicode_normalization::UnicodeNormalization;

use crate::adults;

/// Why a text was refused. The display is a sentence for the person who typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextError {
    /// Nothing left after trimming.
    #[error("must not be empty")]
    TooShort,
    /// More characters than allowed; carries the limit.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// Holds a line break, a tab or another control character.
    #[error("must not contain line breaks or other control characters")]
    ControlCharacters,
    /// Describes somebody under age. Characters are adults.
    #[error("must describe an adult")]
    DescribesMinor,
}

impl TextError {
    /// The stable code that clients may rely on.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong(_) => "too_long",
            Self::ControlCharacters => "control_characters",
            Self::DescribesMinor => "describes_minor",
        }
    }
}

fn of_adults(raw: &str, max: usize) -> Result<String, TextError> {
    let text = plain(raw, max)?;
    if adults::describes_minor(&text) { Err(TextError::DescribesMinor) } else { Ok(text) }
}

fn plain(raw: &str, max: usize) -> Result<String, TextError> {
    let text: String = raw.nfc().collect::<String>().trim().to_owned();
    if text.is_empty() {
        Err(TextError::TooShort)
    } else if text.chars().nth(max).is_some() {
        Err(TextError::TooLong(max))
    } else if text.chars().any(char::is_control) {
        Err(TextError::ControlCharacters)
    } else {
        Ok(text)
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $max:literal, $parse:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The most characters (Unicode scalar values after NFC) it may have.
            pub const MAX: usize = $max;

            /// Trims, normalises and checks.
            ///
            /// # Errors
            /// A [`TextError`] that says what is wrong with it.
            pub fn parse(raw: &str) -> Result<Self, TextError> {
                $parse(raw, Self::MAX).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

text! {
    /// What she is called.
    CharacterName, 40, of_adults
}
text! {
    /// Who she is.
    Bio, 1000, of_adults
}
text! {
    /// How she comes across.
    Vibe, 200, of_adults
}

text! {
    /// What a picture is to show.
    ImagePrompt, 1000, of_adults
}

text! {
    /// Why an admin keeps a picture out of the grid: she may say that it looks like a child.
    HidingReason, 200, plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_characters_not_bytes() {
        assert!(CharacterName::parse(&"é".repeat(40)).is_ok());
        assert_eq!(CharacterName::parse(&"é".repeat(41)), Err(TextError::TooLong(40)));
        assert!(Vibe::parse(&"😀".repeat(200)).is_ok());
        assert_eq!(Bio::parse(&"x".repeat(1001)), Err(TextError::TooLong(1000)));
    }

    #[test]
    fn texts_are_trimmed_and_composed() {
        assert_eq!(CharacterName::parse("  Zoe\u{308} ").unwrap().as_str(), "Zoë");
        // 41 scalars as typed, 40 composed
        assert!(CharacterName::parse(&format!("{}e\u{301}", "x".repeat(39))).is_ok());
        assert_eq!(CharacterName::parse(" \u{a0}\t"), Err(TextError::TooShort));
    }

    #[test]
    fn why_a_picture_is_hidden_may_speak_of_a_child() {
        assert_eq!(ImagePrompt::parse("looks like a child"), Err(TextError::DescribesMinor));
        assert_eq!(HidingReason::parse(" looks like a child ").unwrap().as_str(), "looks like a child");
    }

    #[test]
    fn control_characters_are_refused() {
        for bad in ["a\nb", "a\tb", "a\0b", "a\u{7f}b", "a\u{85}b"] {
            assert_eq!(Bio::parse(bad), Err(TextError::ControlCharacters), "{bad:?}");
        }
    }
}
