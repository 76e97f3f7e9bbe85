//! The operator's tool: looks after what the functions do, from outside, by the same crates and the same RPCs.
//!
//! It reads the functions' settings from the environment, writes to the database only through the RPCs that the webhook uses,
//! moves dead letters, and prints sentences. It prints no secret and no personal data but ids.

mod arguments;
mod doctor;
mod invariants;
mod jobs;
mod money;
mod queues;
mod reports;

use std::collections::BTreeMap;

use lambda_kit::Settings;

pub use arguments::{Command, USAGE, parse};

/// The environment, by name.
pub type Environment = BTreeMap<String, String>;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All is well, or was mended.
    Well,
    /// Something remains to be done.
    Wanting,
}

impl End {
    fn well_if(well: bool) -> Self {
        if well { Self::Well } else { Self::Wanting }
    }
}

/// Does what is asked for, and says so line by line.
///
/// # Errors
/// When it could not be done, with the reason as a sentence without its full stop.
pub async fn run(
    command: Command,
    environment: &Environment,
    say: &mut (dyn FnMut(&str) + Send),
) -> anyhow::Result<End> {
    match command {
        Command::Doctor => Ok(doctor::examine(environment, say).await),
        Command::Reconcile { since, user, apply } => {
            money::Money::connect(&settings(environment))?.reconcile(since, user, apply, say).await
        }
        Command::Replay { event } => money::Money::connect(&settings(environment))?.replay(&event, say).await,
        Command::Jobs => jobs::show(&settings(environment), say).await,
        Command::Invariants => invariants::show(&settings(environment), say).await,
        Command::Reports => reports::show(&settings(environment), say).await,
        Command::Redrive { queue, dry_run } => queues::redrive(&settings(environment), queue, dry_run, say).await,
        Command::ReplayUnapplied => money::Money::connect(&settings(environment))?.replay_unapplied(say).await,
    }
}

/// The environment as a function reads it.
fn settings(environment: &Environment) -> Settings {
    let environment = environment.clone();
    Settings::from_fn(move |name| environment.get(name).cloned())
}
