//! The operator's tool; what it can do is in arguments.rs, and how to run it in docs/OPERATIONS.md.

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use operate::{End, Environment, USAGE, parse, run};

#[tokio::main]
async fn main() -> ExitCode {
    let end = match parse(env::args().skip(1)) {
        Ok(Some(command)) => {
            let environment: Environment = env::vars_os()
                .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()))
                .collect();
            run(command, &environment, &mut say).await
        }
        Ok(None) => {
            say(USAGE);
            Ok(End::Well)
        }
        Err(error) => Err(error),
    };
    match end {
        Ok(End::Well) => ExitCode::SUCCESS,
        Ok(End::Wanting) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(io::stderr(), "It could not be done: {error:#}.");
            ExitCode::from(2)
        }
    }
}

/// Prints a line; who has stopped reading misses nothing.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{}", line.trim_end());
}
