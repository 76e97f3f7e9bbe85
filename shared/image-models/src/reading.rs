//! What can be told from what models write: free text, and outputs of any shape.

use serde_json::Value;
use url::Url;

use crate::Standing;

/// As providers and models word it that their filter found something, in lower case. "Safety" alone would not do: a
/// parameter is called `safety_tolerance`.
const REFUSALS: [&str; 12] = [
    "nsfw",
    "(e005)",
    "flagged",
    "moderated",
    "moderation",
    "content policy",
    "content_policy",
    "safety checker",
    "safety filter",
    "safety system",
    "sensitive content",
    "explicit content",
];

/// As they word it that the input is at fault: another try ends the same.
const BAD_INPUTS: [&str; 5] = ["(e006)", "invalid", "validation", "unsupported", "must be"];

/// Most characters that are kept of a message.
const LONGEST_MESSAGE: usize = 300;

/// What became of a prediction whose provider says this about its failure.
pub(crate) fn failure(message: &str, retryable: bool) -> Standing {
    let said = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let message = message.trim().chars().take(LONGEST_MESSAGE).collect();
    if says(&REFUSALS) {
        Standing::Refused { message }
    } else {
        Standing::Failed { message, retryable: retryable && !says(&BAD_INPUTS) }
    }
}

/// The links in an output of any shape: a text, a list, an object, or nothing.
pub(crate) fn links(output: &Value) -> Vec<String> {
    match output {
        Value::String(text) => match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "https" | "http") => vec![text.clone()],
            _ => Vec::new(),
        },
        Value::Array(items) => items.iter().flat_map(links).collect(),
        Value::Object(members) => members.values().flat_map(links).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// `Using seed: 16010`, on whatever line and also when the number is on the next one.
pub(crate) fn seed(logs: &str) -> Option<i64> {
    number_after(logs, "using seed:", &[]).and_then(|seed| i64::try_from(seed).ok())
}

/// The last `45%|` of a progress bar.
pub(crate) fn progress(logs: &str) -> Option<u8> {
    let percent = |before: &str| {
        let digits = before.len() - before.bytes().rev().take_while(u8::is_ascii_digit).count();
        before[digits..].parse().ok().filter(|percent| *percent <= 100)
    };
    let mut bars = logs.rmatch_indices("%|");
    bars.find_map(|(at, _)| percent(&logs[..at]))
}

/// The number after the first `words` (in lower case) that one follows, with nothing but white space or `fillers` between.
pub(crate) fn number_after(text: &str, words: &str, fillers: &[char]) -> Option<u64> {
    // Keeps the length of every character, as to_lowercase does not.
    let lower = text.to_ascii_lowercase();
    let mut places = lower.match_indices(words);
    places.find_map(|(at, _)| {
        let rest = lower[at + words.len()..].trim_start_matches(|c: char| c.is_whitespace() || fillers.contains(&c));
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_seed_is_found_wherever_it_stands() {
        assert_eq!(seed("Using seed: 16010\nLoading\n"), Some(16010));
        assert_eq!(seed("Loading weights\nusing SEED:\n  10184\n 0%|"), Some(10184));
        assert_eq!(seed("Using seed: random\nUsing seed: 7"), Some(7));
        assert_eq!(seed("Größe İ…\nUsing seed:9"), Some(9));
        for none in ["", "seed: 1", "Using seed: ", "Using seed: -", "Using seed: 99999999999999999999999"] {
            assert_eq!(seed(none), None, "{none}");
        }
    }

    #[test]
    fn progress_is_the_last_bar() {
        assert_eq!(progress("  0%|          | 0/16\n 45%|████▌     | 7/16 [00:00<00:01,  7.82it/s]\n"), Some(45));
        assert_eq!(progress("100%|██████████| 16/16\n  5%|"), Some(5));
        assert_eq!(progress("100%|█| 1/1\n 200%|\n%|\nü%|"), Some(100));
        for none in ["", "45%", "%|", "no bar", "999%|"] {
            assert_eq!(progress(none), None, "{none}");
        }
    }

    #[test]
    fn links_are_found_in_outputs_of_any_shape() {
        let a = "https://replicate.delivery/a.webp";
        assert_eq!(links(&json!(a)), [a]);
        assert_eq!(links(&json!([a, "https://replicate.delivery/b.webp"])).len(), 2);
        assert_eq!(links(&json!({ "image": a, "caption": "a woman", "score": 3 })), [a]);
        assert_eq!(links(&json!({ "images": [{ "url": a, "width": 832 }] })), [a]);
        for none in [json!(null), json!([]), json!(""), json!("a woman"), json!(3), json!("data:image/png;base64,AA==")]
        {
            assert_eq!(links(&none), Vec::<String>::new(), "{none}");
        }
    }

    #[test]
    fn refusals_are_told_from_failures() {
        for refused in [
            "NSFW content detected. Try running it again, or try a different prompt.",
            "All generated images contained NSFW content. Try running it again with a different prompt.",
            "Potential NSFW content was detected in one or more images.",
            "The input or output was flagged as sensitive. Please try again with different inputs. (E005) (uIJ6l3ruRD)",
            "Content Moderated",
            "Request Moderated",
            "The request was rejected by the safety system.",
        ] {
            assert!(matches!(failure(refused, true), Standing::Refused { message } if message == refused), "{refused}");
        }
        let failed = |message: &str| failure(message, true);
        for (message, retryable) in [
            ("CUDA out of memory. Tried to allocate 2.00 GiB", true),
            ("Prediction interrupted; please retry (code: PA)", true),
            ("Director: unexpected error handling prediction (E6716)", true),
            ("", true),
            ("safety_tolerance must be less than or equal to 2", false),
            ("The input was invalid (E006)", false),
        ] {
            assert_eq!(failed(message), Standing::Failed { message: message.to_owned(), retryable }, "{message}");
        }
        let Standing::Failed { message, .. } = failed(&"ü".repeat(1000)) else { panic!("failed") };
        assert_eq!(message.chars().count(), LONGEST_MESSAGE);
    }
}
