//! Characters are adults: finds texts that describe somebody who is not.
//!
//! Deliberately plain words and ages. It is the first gate, in front of the workflow's own prompt ("an adult, 25 or older")
//! and the model's safety filter, so it prefers a wrong refusal that can be reworded to a miss.

/// Words that say "under age" by themselves.
const WORDS: &[&str] = &[
    "adolescent",
    "babygirl",
    "barely-legal",
    "child",
    "children",
    "highschooler",
    "jailbait",
    "juvenile",
    "kid",
    "kids",
    "lil-girl",
    "little-boy",
    "little-girl",
    "loli",
    "lolicon",
    "lolita",
    "minor",
    "minors",
    "pedo",
    "preschooler",
    "preteen",
    "pre-teen",
    "prepubescent",
    "pubescent",
    "schoolboy",
    "schoolgirl",
    "school-boy",
    "school-girl",
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
    "under-age",
    "underaged",
    "young-girl",
    "young-boy",
    "middle-schooler",
    "high-schooler",
];

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

/// True when the text names an age below eighteen or uses a word for somebody under age.
pub(crate) fn describes_minor(text: &str) -> bool {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();

    let named = |i: usize| {
        let pair = words.get(i + 1).map(|next| format!("{}-{next}", words[i]));
        WORDS.contains(&words[i]) || pair.is_some_and(|pair| WORDS.contains(&pair.as_str()))
    };
    // "16yo", "16 yo", "16 y o", "16 years old", "sixteen year old", "aged 16", "age 16", "turned 16", "is 16"
    let aged = |i: usize| {
        let word = words[i];
        let digits = word.trim_end_matches(|c: char| c.is_alphabetic());
        let suffix = &word[digits.len()..];
        let age = digits.parse::<u32>().ok().or_else(|| NUMBERS.iter().position(|n| *n == word).map(|n| n as u32));
        let suffix = if NUMBERS.contains(&word) { "" } else { suffix };
        let after = |n: usize| words.get(i + n).copied().unwrap_or("");
        let before = if i > 0 { words[i - 1] } else { "" };
        let unit = |w: &str| matches!(w, "year" | "years" | "yr" | "yrs" | "yo" | "y" | "yos");
        age.is_some_and(|age| age < 18)
            && (unit(suffix) && (suffix == "yo" || after(1) == "old" || after(1) == "o")
                || suffix.is_empty() && after(1) == "yo"
                || suffix.is_empty() && unit(after(1)) && (after(2) == "old" || after(2) == "o")
                || suffix.is_empty() && matches!(before, "age" | "aged" | "turned"))
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
        ] {
            assert!(!describes_minor(text), "{text}");
        }
    }
}
