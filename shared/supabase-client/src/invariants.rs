//! What the database says about itself (`infra/supabase/migrations/*_broken_invariants.sql`, `*_last_hour.sql`).

use serde::Deserialize;
use serde_json::json;

use crate::{influencers::Service, rest::SupabaseError};

/// An invariant of docs/ARCHITECTURE.md that rows can contradict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Invariant {
    /// One character for a user.
    I1,
    /// Locked is complete, and stays so.
    I2,
    /// A balance is what its ledger adds up to.
    I5,
    /// What Stripe tells takes effect once.
    I6,
    /// Credits of a job are settled or come back.
    I7,
    /// Clients write and read what is theirs.
    I8,
}

impl Invariant {
    /// Its number.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::I1 => "I1",
            Self::I2 => "I2",
            Self::I5 => "I5",
            Self::I6 => "I6",
            Self::I7 => "I7",
            Self::I8 => "I8",
        }
    }
}

/// A way in which an invariant is broken.
#[derive(Clone, Debug, Deserialize)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// How, in words.
    pub what: String,
    /// How often, of what was looked at.
    pub count: u64,
    /// Some of where, by ids or names of the schema.
    pub sample: Vec<String>,
}

/// What happened in the clock hour before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct LastHour {
    /// Credits that were paid for.
    pub bought: u64,
    /// Credits for no money.
    pub given: u64,
    /// Credits that went into work.
    pub spent: u64,
    /// Credits of work that came to nothing.
    pub refunded: u64,
    /// Credits whose payment was returned.
    pub clawed_back: u64,
    /// Credits that were corrected, either way.
    pub adjusted: u64,
    /// Set-ups that nobody finished in time.
    pub timed_out: u64,
}

impl LastHour {
    /// The credits, by the names that their metric has.
    #[must_use]
    pub fn credits(&self) -> [(&'static str, u64); 6] {
        let Self { bought, given, spent, refunded, clawed_back, adjusted, .. } = *self;
        [
            ("bought", bought),
            ("given", given),
            ("spent", spent),
            ("refunded", refunded),
            ("clawed_back", clawed_back),
            ("adjusted", adjusted),
        ]
    }
}

impl Service {
    /// Which invariants are broken; empty when all is well. It looks at what moved last and at a sample of the rest.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn broken_invariants(&self) -> Result<Vec<Broken>, SupabaseError> {
        self.rpc("broken_invariants", &json!({})).await
    }

    /// What happened in the clock hour before this one.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn last_hour(&self) -> Result<LastHour, SupabaseError> {
        self.rpc("last_hour", &json!({})).await
    }
}
