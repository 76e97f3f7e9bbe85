//! The settings of get-credit-history.

use lambda_kit::{SettingError, Settings};

/// What get-credit-history reads from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call.
    pub auth: auth::Config,
}

impl Config {
    /// Reads them.
    ///
    /// # Errors
    /// For the first one that is missing or malformed.
    pub fn read(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self { auth: auth::Config::read(settings)? })
    }
}
