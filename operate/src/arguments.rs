//! What can be asked for on the command line.

use anyhow::{Context, bail};
use domain::id::UserId;
use jiff::SignedDuration;

use crate::queues::QUEUES;

/// The help.
pub const USAGE: &str = "\
The operator's tool. It reads the settings of the functions from the environment (docs/OPERATIONS.md).

  operate doctor
      checks every setting and reaches every system, and says what is wrong

  operate reconcile [--since=90d] [--user=<id>] [--apply]
      compares Stripe with the database, and prints a line for each difference
      --since   what was made or paid since then: hours (12h), days (90d) or weeks (8w); 90d when not given
      --user    for one user only, by her id
      --apply   mends what can be mended

  operate replay <event-id>
      applies an event of Stripe's again, a stored one or one that never came; the latter up to 30 days back

  operate replay --unapplied
      applies all stored events that have not taken effect

  operate jobs
      says how generation jobs stand, what was bought today, and which jobs of the last week failed

  operate invariants
      asks the database which invariants its rows contradict

  operate reports
      lists the pictures that were reported and that no admin has hidden

  operate redrive [--queue=images|uploads|generation-jobs|erasures] [--dry-run]
      puts the dead letters of one queue, or of all four, back into it
      --dry-run  only counts them

It ends with 0 when all is well or was mended, with 1 when something remains, and with 2 when it could not be done.
";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Check settings and systems.
    Doctor,
    /// Compare Stripe with the database.
    Reconcile {
        /// How far back.
        since: SignedDuration,
        /// Of whom; `None` for everybody.
        user: Option<UserId>,
        /// Whether to mend.
        apply: bool,
    },
    /// Apply one event again.
    Replay {
        /// `evt_…`.
        event: String,
    },
    /// Apply again all that did not take effect.
    ReplayUnapplied,
    /// Show how generation jobs stand.
    Jobs,
    /// Show which invariants are broken.
    Invariants,
    /// Show the pictures that were reported.
    Reports,
    /// Put dead letters back.
    Redrive {
        /// Of which queue; `None` for all.
        queue: Option<&'static str>,
        /// Whether only to count them.
        dry_run: bool,
    },
}

/// Reads the arguments; `None` for who wants help.
///
/// # Errors
/// For what is no command, in a sentence.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<Option<Command>> {
    let arguments: Vec<String> = arguments.into_iter().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments.is_empty() || arguments.iter().any(|argument| ["help", "--help", "-h"].contains(argument)) {
        return Ok(None);
    }
    match arguments[..] {
        ["doctor"] => Ok(Some(Command::Doctor)),
        ["reconcile", ref options @ ..] => reconcile(options).map(Some),
        ["replay", "--unapplied"] => Ok(Some(Command::ReplayUnapplied)),
        ["replay", event] if !event.starts_with('-') => Ok(Some(Command::Replay { event: event.to_owned() })),
        ["jobs"] => Ok(Some(Command::Jobs)),
        ["invariants"] => Ok(Some(Command::Invariants)),
        ["reports"] => Ok(Some(Command::Reports)),
        ["redrive", ref options @ ..] => redrive(options).map(Some),
        ["replay", ..] => bail!("replay takes one event's id (evt_…), or --unapplied"),
        _ => bail!("there is no command \"{}\"; --help lists them", arguments.join(" ")),
    }
}

fn reconcile(options: &[&str]) -> anyhow::Result<Command> {
    let (mut since, mut user, mut apply) = (SignedDuration::from_hours(90 * 24), None, false);
    for option in options {
        match option.split_once('=') {
            None if *option == "--apply" => apply = true,
            Some(("--since", text)) => since = duration(text).context("--since takes a time such as 90d, 12h or 8w")?,
            Some(("--user", id)) => {
                user = Some(UserId(id.parse().context("--user takes a user's id, which is a UUID")?))
            }
            _ => bail!("reconcile does not know {option}; --help lists what it knows"),
        }
    }
    Ok(Command::Reconcile { since, user, apply })
}

fn redrive(options: &[&str]) -> anyhow::Result<Command> {
    let (mut queue, mut dry_run) = (None, false);
    for option in options {
        match option.split_once('=') {
            None if *option == "--dry-run" => dry_run = true,
            Some(("--queue", name)) => {
                let known = QUEUES.into_iter().map(|(queue, _)| queue).find(|queue| *queue == name);
                queue = Some(known.with_context(|| format!("there is no queue {name}; --help lists them"))?);
            }
            _ => bail!("redrive does not know {option}; --help lists what it knows"),
        }
    }
    Ok(Command::Redrive { queue, dry_run })
}

fn duration(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().last()?;
    let number: i64 = text.strip_suffix(unit)?.parse().ok().filter(|number| (1..=100_000).contains(number))?;
    let hours = match unit {
        'h' => 1,
        'd' => 24,
        'w' => 7 * 24,
        _ => return None,
    };
    Some(SignedDuration::from_hours(number * hours))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> anyhow::Result<Option<Command>> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn days(days: i64) -> SignedDuration {
        SignedDuration::from_hours(24 * days)
    }

    #[test]
    fn commands_are_read() {
        let id = "11111111-1111-4111-8111-111111111111";
        let user = Some(UserId(id.parse().unwrap()));
        for (line, command) in [
            ("doctor", Command::Doctor),
            ("reconcile", Command::Reconcile { since: days(90), user: None, apply: false }),
            ("reconcile --apply --since=2w", Command::Reconcile { since: days(14), user: None, apply: true }),
            (&format!("reconcile --since=48h --user={id}"), Command::Reconcile { since: days(2), user, apply: false }),
            ("replay evt_1", Command::Replay { event: "evt_1".to_owned() }),
            ("replay --unapplied", Command::ReplayUnapplied),
            ("jobs", Command::Jobs),
            ("invariants", Command::Invariants),
            ("reports", Command::Reports),
            ("redrive", Command::Redrive { queue: None, dry_run: false }),
            ("redrive --dry-run --queue=uploads", Command::Redrive { queue: Some("uploads"), dry_run: true }),
        ] {
            assert_eq!(parsed(line).unwrap(), Some(command), "{line}");
        }
        for line in ["", "--help", "reconcile --help", "help"] {
            assert_eq!(parsed(line).unwrap(), None, "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused_in_a_sentence() {
        for (line, word) in [
            ("doctor now", "no command"),
            ("reconcle", "no command"),
            ("reconcile --aply", "--aply"),
            ("reconcile --apply=false", "--apply=false"),
            ("reconcile evt_1", "evt_1"),
            ("reconcile --since=90", "90d"),
            ("reconcile --since=-1d", "90d"),
            ("reconcile --since=é", "90d"),
            ("reconcile --since=99999999999999999999d", "90d"),
            ("reconcile --user=clara@example.com", "UUID"),
            ("jobs failed", "no command"),
            ("redrive --queue=stripe", "no queue stripe"),
            ("redrive images", "images"),
            ("redrive --dry-run=no", "--dry-run=no"),
            ("replay", "evt_"),
            ("replay --all", "evt_"),
            ("replay evt_1 evt_2", "evt_"),
        ] {
            let error = format!("{:#}", parsed(line).unwrap_err());
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
