//! What strangers write: the texts that people type, and places in lists.
//!
//! - A text that is taken is short enough, of one line, and taken again as it is.
//! - A place in the grid can be written in one way only.

#![no_main]

use domain::{
    grid::{Cursor, Order},
    text::{Bio, CharacterName, HidingReason, ImagePrompt, TextError, Vibe},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    taken(text, CharacterName::MAX, |text| CharacterName::parse(text).map(|text| text.as_str().to_owned()));
    taken(text, Bio::MAX, |text| Bio::parse(text).map(|text| text.as_str().to_owned()));
    taken(text, Vibe::MAX, |text| Vibe::parse(text).map(|text| text.as_str().to_owned()));
    taken(text, ImagePrompt::MAX, |text| ImagePrompt::parse(text).map(|text| text.as_str().to_owned()));
    taken(text, HidingReason::MAX, |text| HidingReason::parse(text).map(|text| text.as_str().to_owned()));

    for order in [Order::New, Order::Top] {
        if let Some(cursor) = Cursor::parse(order, text) {
            assert_eq!(cursor.to_string(), text);
            assert_eq!(cursor.likes_count.is_some(), order == Order::Top);
        }
    }
});

fn taken(text: &str, most: usize, parse: impl Fn(&str) -> Result<String, TextError>) {
    match parse(text) {
        Ok(taken) => {
            assert!((1..=most).contains(&taken.chars().count()), "{taken:?}");
            assert!(!taken.chars().any(char::is_control), "{taken:?}");
            assert_eq!(taken.trim(), taken);
            assert_eq!(parse(&taken).as_ref(), Ok(&taken));
        }
        // Said in any case of letters, and whatever is not seen between them.
        Err(TextError::DescribesMinor) => {
            let loud = text.to_uppercase();
            if loud.to_lowercase() == text.to_lowercase() {
                assert!(parse(&loud).is_err(), "{loud:?} passes, {text:?} does not");
            }
        }
        Err(_) => {}
    }
}
