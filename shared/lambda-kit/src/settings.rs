//! Settings come from the environment, once, when a function starts.

use std::str::FromStr;

use secrecy::SecretString;
use url::Url;

/// A setting that is missing or cannot be read. The display says which and what to do, never its value.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// Not set, or set to nothing.
    #[error("the setting {0} is missing: set it in the environment (template.yaml, or local/stack for one machine)")]
    Missing(&'static str),
    /// Set to something that is no value of its kind.
    #[error("the setting {0} is not {1}")]
    Malformed(&'static str, &'static str),
}

type Read = dyn Fn(&str) -> Option<String>;

/// Reads settings by name. A blank one counts as not set.
pub struct Settings {
    read: Box<Read>,
}

impl Settings {
    /// The process's environment.
    pub fn from_env() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        Self::from_fn(|name| std::env::var(name).ok())
    }

    /// Any other source; tests hand over a map.
    pub fn from_fn(read: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self { read: Box::new(read) }
    }

    /// A text, if set.
    pub fn optional(&self, name: &'static str) -> Option<String> {
        (self.read)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// A text.
    ///
    /// # Errors
    /// When it is not set.
    pub fn text(&self, name: &'static str) -> Result<String, SettingError> {
        self.optional(name).ok_or(SettingError::Missing(name))
    }

    /// A secret, which shows itself in no log line.
    ///
    /// # Errors
    /// When it is not set.
    pub fn secret(&self, name: &'static str) -> Result<SecretString, SettingError> {
        self.text(name).map(Into::into)
    }

    /// An http or https URL.
    ///
    /// # Errors
    /// When it is not set, or no such URL.
    pub fn url(&self, name: &'static str) -> Result<Url, SettingError> {
        Self::parse_url(name, &self.text(name)?)
    }

    /// The same, with a URL for when it is not set.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn url_or(&self, name: &'static str, default: &str) -> Result<Url, SettingError> {
        Self::parse_url(name, self.optional(name).as_deref().unwrap_or(default))
    }

    fn parse_url(name: &'static str, text: &str) -> Result<Url, SettingError> {
        let url: Url = text.parse().map_err(|_| SettingError::Malformed(name, "a URL"))?;
        if matches!(url.scheme(), "http" | "https") {
            Ok(url)
        } else {
            Err(SettingError::Malformed(name, "an http(s) URL"))
        }
    }

    /// A number.
    ///
    /// # Errors
    /// When it is not set, or no number of that kind.
    pub fn number<T: FromStr>(&self, name: &'static str) -> Result<T, SettingError> {
        self.text(name)?.parse().map_err(|_| SettingError::Malformed(name, "a number in its range"))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// When it is not set, or neither.
    pub fn flag(&self, name: &'static str) -> Result<bool, SettingError> {
        self.text(name)?.parse().map_err(|_| SettingError::Malformed(name, "true or false"))
    }

    /// A comma-separated list without blanks; empty when not set.
    pub fn list(&self, name: &'static str) -> Vec<String> {
        let text = self.optional(name).unwrap_or_default();
        text.split(',').map(|item| item.trim().to_lowercase()).filter(|item| !item.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_setting_and_never_its_value() {
        let settings = Settings::from_fn(|name| match name {
            "A_URL" => Some("s3cret".to_owned()),
            "A_NUMBER" => Some("s3cret".to_owned()),
            "A_FLAG" => Some("s3cret".to_owned()),
            "BLANK" => Some("  ".to_owned()),
            _ => None,
        });
        for (error, name) in [
            (settings.url("A_URL").unwrap_err(), "A_URL"),
            (settings.number::<u64>("A_NUMBER").unwrap_err(), "A_NUMBER"),
            (settings.flag("A_FLAG").unwrap_err(), "A_FLAG"),
            (settings.text("BLANK").unwrap_err(), "BLANK"),
            (settings.secret("ABSENT").unwrap_err(), "ABSENT"),
        ] {
            let text = error.to_string();
            assert!(text.contains(name) && !text.contains("s3cret"), "{text}");
        }
    }
}
