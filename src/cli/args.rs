//! Checks and errors of the arguments, for all subcommands.

use std::collections::BTreeSet;
use std::fmt;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// An error in the arguments themselves: the program exits with 2.
#[derive(Debug)]
pub(crate) struct WrongArgument(String);

impl fmt::Display for WrongArgument {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongArgument {}

/// Marks an error as one in the arguments.
pub(crate) fn wrong(message: impl fmt::Display) -> anyhow::Error {
    anyhow::Error::new(WrongArgument(message.to_string()))
}

/// The ids of the arguments that the user wrote. They win over those of a file or a preset.
pub(crate) fn given_on_command_line(command: &Command, matches: &ArgMatches) -> BTreeSet<String> {
    command
        .get_arguments()
        .map(|argument| argument.get_id().as_str())
        .filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine))
        .map(ToString::to_string)
        .collect()
}
