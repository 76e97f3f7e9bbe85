//! Characters are adults: finds texts that describe somebody who is not.
//!
//! Deliberately plain words and ages. It is the first gate, in front of the workflow's own prompt ("an adult, 25 or older")
//! and the model's safety filter, so it prefers a wrong refusal that can be reworded to a miss.

use unicode_normalization::UnicodeNormalization;

/// Words, and up to three words in a row, that say "under age" by themselves.
const WORDS: &[&str] = &[
    "adolescent",
    "a child",
    "a kid",
    "a minor",
    "babygirl",
    "barely legal",
    "child bride",
    "highschooler",
    "high schooler",
    "is child",
    "jailbait",
    "juvenile",
    "lil girl",
    "little boy",
    "little girl",
    "loli",
    "lolicon",
    "lolita",
    "middle schooler",
    "minors",
    "pedo",
    "prepubescent",
    "preschooler",
    "preteen",
    "pre teen",
    "pubescent",
    "school boy",
    "school girl",
    "school pupil",
    "school student",
    "schoolboy",
    "schoolgirl",
    "shota",
    "teen",
    "teenage",
    "teenaged",
    "teenager",
    "teenagers",
    "teens",
    "toddler",
    "tween",
    "underage",
    "under age",
    "underaged",
    "young boy",
    "young girl",
];

/// What somebody may have, or have been, without being one herself.
const BEFORE_A_CHILD: &[&str] =
    &["as", "have", "having", "has", "had", "adopted", "raised", "raising", "raises", "of", "with", "for"];

/// Numbers below eighteen, as words.
const NUMBERS: &[&str] = &[
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
];

/// Characters that are not seen: soft hyphen, zero-width spaces and joiners, direction marks, byte-order mark.
const INVISIBLE: &[char] = &[
    '\u{ad}', '\u{34f}', '\u{61c}', '\u{180e}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2060}',
    '\u{2061}', '\u{2062}', '\u{2063}', '\u{2064}', '\u{feff}',
];

/// True when the text names an age below eighteen or uses a word for somebody under age.
pub(crate) fn describes_minor(text: &str) -> bool {
    // Compatibility forms: digits of full width are digits. And what is not seen does not part a word.
    let lower = text.nfkc().filter(|c| !INVISIBLE.contains(c)).collect::<String>().to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let word = |i: Option<usize>| i.and_then(|i| words.get(i)).copied().unwrap_or("");

    let named = |i: usize| {
        let has_one = words[i] == "a" && BEFORE_A_CHILD.contains(&word(i.checked_sub(1)));
        let run = |length: usize| words.get(i..i + length).map(|run| run.join(" "));
        !has_one && (1..=3).filter_map(run).any(|run| WORDS.contains(&run.as_str()))
    };
    // "16yo", "16 yo", "16 y o", "16 years old", "sixteen year old", "aged 16", "turned 16", "she is 16", "I'm 15"
    let aged = |i: usize| {
        let (before, after, second) = (word(i.checked_sub(1)), word(Some(i + 1)), word(Some(i + 2)));
        let digits = words[i].trim_end_matches(char::is_alphabetic);
        let (age, suffix) = match NUMBERS.iter().position(|number| *number == words[i]) {
            Some(age) => (age, ""),
            None => match digits.parse() {
                Ok(age) => (age, &words[i][digits.len()..]),
                Err(_) => return false,
            },
        };
        let unit = |w: &str| matches!(w, "year" | "years" | "yr" | "yrs" | "y");
        let old = |w: &str| matches!(w, "old" | "o");
        let said = suffix == "yo"
            || unit(suffix) && old(after)
            || suffix.is_empty()
                && (after == "yo"
                    || unit(after) && old(second)
                    || matches!(before, "age" | "aged" | "turned" | "turning")
                    || matches!(before, "is" | "m" | "im" | "only" | "just" | "barely") && (10..18).contains(&age));
        age < 18 && said
    };
    (0..words.len()).any(|i| named(i) || aged(i))
}

#[cfg(test)]
mod tests {
    use super::describes_minor;

    #[test]
    fn texts_about_minors_are_found() {
        for text in [
            "a 16 year old girl",
            "she is 17 years old",
            "17yo",
            "15 y/o",
            "12-year-old",
            "aged 14",
            "Age: 13",
            "sixteen years old",
            "a TEEN idol",
            "cute schoolgirl",
            "school girl",
            "underage",
            "pre-teen",
            "just turned 17",
            "loli",
            "a little girl",
            "5yrs old",
            "She is 16.",
            "I'm 15",
            "im 14",
            "only seventeen",
            "a high school student",
            "１６ years old",
            "still a child",
            "She is a kid",
            "a minor",
            "school\u{ad}girl",
            "fif\u{2060}teen years old",
        ] {
            assert!(describes_minor(text), "{text}");
        }
    }

    #[test]
    fn texts_about_adults_pass() {
        for text in [
            "a 27 year old painter",
            "25yo",
            "aged 30",
            "worked 10 years as a nurse",
            "childhood friends",
            "kindergarten teacher",
            "she has 3 cats",
            "18 years old",
            "nineteen years old",
            "loves the number 16",
            "lives at 12 Old Street",
            "teenybopper music from 1999 is not her thing",
            "canteen chef",
            "seven oceans sailed",
            "mother of two children",
            "she has a child",
            "as a child she lived in Porto",
            "She is 26.",
            "a high school teacher",
            "played in B flat minor",
            "10 out of 10",
            "adopted a kid goat",
        ] {
            assert!(!describes_minor(text), "{text}");
        }
    }
}
