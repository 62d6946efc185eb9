//! Checks and errors of the arguments, for all subcommands.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use crate::error::Error;

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

/// The result of checking settings that came from the arguments. An error of the library says itself
/// whether it is about a setting.
pub(crate) fn checked<T, E: Into<anyhow::Error>>(result: Result<T, E>) -> Result<T> {
    result.map_err(|error| {
        let error = error.into();
        if error.is::<Error>() { error } else { wrong(format!("{error:#}")) }
    })
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
