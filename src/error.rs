//! What can go wrong in the library. Knows none of its other modules.
//!
//! A message names a setting by its field, in backquotes (`` `seq_len` ``), so that a program can put its
//! own name for the setting there. An error that has a cause does not repeat it: follow
//! [`source`](std::error::Error::source), or print with a crate that does.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error as ThisError;

/// A result of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an error, of any type.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Any error of this library.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// A setting outside its range, or settings that contradict each other.
    #[error("{message}")]
    Setting {
        /// The field of the settings.
        name: &'static str,
        /// The value, the range and often the usual value.
        message: String,
    },

    /// A text that cannot be decoded, that is too short for the settings, or that has nothing to learn.
    #[error("{0}")]
    Text(String),

    /// Characters that a vocabulary has no id for.
    #[error(transparent)]
    UnknownCharacters(#[from] UnknownCharacters),

    /// A vocabulary that cannot do what is asked of it, or a tokenizer file that is not of this library.
    #[error("{message}")]
    Vocabulary {
        /// What is wrong, and what to do about it.
        message: String,
        /// What the parser of the file said.
        source: Option<Cause>,
    },

    /// A training state that does not fit the text, the model or the settings it is to go on with.
    #[error("{0}")]
    TrainingState(String),

    /// There is no checkpoint in this folder.
    #[error("there is no checkpoint {}", .0.display())]
    NoCheckpoint(PathBuf),

    /// A checkpoint that is broken, that does not fit the run, or that could not be written.
    #[error("{message}")]
    Checkpoint {
        /// The file or the folder that the error is about.
        path: PathBuf,
        /// What is wrong with it; names the path.
        message: String,
        /// Why.
        source: Option<Cause>,
    },

    /// A run's folder that cannot be used for what is asked.
    #[error("{} {problem}", path.display())]
    Run {
        /// The folder.
        path: PathBuf,
        /// Why not.
        problem: RunProblem,
    },

    /// A figure of the training became infinite or NaN. The checkpoints hold what was before.
    #[error(
        "the {what} became {value} at step {step}: train with a lower `lr` (it was {lr}) or a lower \
         `clip` (it was {clip}); the checkpoints from before are untouched"
    )]
    Diverged {
        /// Which figure: the loss, the norm of the gradient, or the validation loss.
        what: &'static str,
        /// What it became.
        value: f64,
        /// The step, counted from 1.
        step: u64,
        /// The peak of the learning rate.
        lr: f64,
        /// The largest norm of the gradient that is not clipped.
        clip: f64,
    },

    /// The operating system refused to read or to write.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// A verb: read, write, create the folder.
        doing: &'static str,
        /// The file or the folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// Logits from which no id can be picked: the weights that gave them are unusable.
    #[error("{0}")]
    Logits(String),

    /// A tensor of the wrong shape or type, no memory on the device, or another failure of candle.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Why a run's folder cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum RunProblem {
    /// A new run was to begin there.
    #[error("holds a run already: resume it, choose another folder, or overwrite it")]
    Exists,
    /// A run was to be resumed there.
    #[error("holds no run to resume: a run's folder holds last/")]
    Missing,
    /// Another process has the folder's lock.
    #[error(
        "is in use by another process that trains there: wait for it, or choose another folder"
    )]
    Locked,
    /// The folder is a checkpoint within a run, not a run's folder.
    #[error("is a checkpoint within a run: give the run's own folder, or choose another one")]
    Checkpoint,
    /// In its folder, at the place of a checkpoint or of metrics, stands something else. It is left alone.
    #[error(
        "is in the way of the run and is not chargru's ({why}): move it, or choose another folder"
    )]
    Foreign {
        /// What it is or holds.
        why: String,
    },
    /// The disk has less space than the run's checkpoints take.
    #[error(
        "has {free_mb} MB free but the checkpoints of this run need {needed_mb} MB: free some, or choose \
         another folder"
    )]
    DiskFull {
        /// Free megabytes.
        free_mb: u64,
        /// Megabytes that the checkpoints need.
        needed_mb: u64,
    },
    /// A run was to be resumed on a text that it was not trained on.
    #[error(
        "was trained on another text ({characters} characters, sha256 {sha256}): give that one, or \
         train a copy on the new one"
    )]
    OtherText {
        /// Characters of the text it was trained on.
        characters: usize,
        /// Of that text, normalised.
        sha256: String,
    },
    /// A run whose documents are files was to be resumed on the same text, divided into other files.
    #[error(
        "was trained on the same text divided into other files, each of which is a document: give the \
         files as they were, or train a copy on the new ones"
    )]
    OtherFiles,
}

/// Characters of a text that a vocabulary has no id for. The message lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCharacters {
    /// The distinct ones, by code point.
    pub characters: Vec<char>,
}

impl UnknownCharacters {
    const SHOWN: usize = 20;
}

impl fmt::Display for UnknownCharacters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> =
            self.characters.iter().take(Self::SHOWN).map(|&c| readable(c)).collect();
        let (count, shown) = (self.characters.len(), shown.join(", "));
        let (plural, verb) = if count == 1 { ("", "is") } else { ("s", "are") };
        write!(f, "{count} distinct character{plural} {verb} not in the vocabulary: {shown}")?;
        match count.saturating_sub(Self::SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl std::error::Error for UnknownCharacters {}

/// A character as an error shows it: `'é' U+00E9`, `'\u{200d}' U+200D`.
pub(crate) fn readable(character: char) -> String {
    format!("'{}' U+{:04X}", character.escape_debug(), character as u32)
}

/// A character that changes the order or the lines of the text around it, and so could make a message
/// look like another.
pub(crate) fn reorders(character: char) -> bool {
    matches!(
        character,
        '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{206f}'
    )
}

impl Error {
    /// A setting outside its range.
    pub(crate) fn setting(name: &'static str, message: impl Into<String>) -> Self {
        Self::Setting { name, message: message.into() }
    }

    /// `` `name` is value: remedy``
    pub(crate) fn out_of_range(
        name: &'static str,
        value: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> Self {
        Self::setting(name, format!("`{name}` is {value}: {remedy}"))
    }

    /// A vocabulary's error without a cause.
    pub(crate) fn vocabulary(message: impl Into<String>) -> Self {
        Self::Vocabulary { message: message.into(), source: None }
    }

    /// A checkpoint's error without a cause.
    pub(crate) fn checkpoint(path: &Path, message: impl Into<String>) -> Self {
        Self::Checkpoint { path: path.to_path_buf(), message: message.into(), source: None }
    }

    /// A file of a checkpoint that cannot be used, and why.
    pub(crate) fn broken(path: &Path, cause: impl Into<Cause>) -> Self {
        Self::Checkpoint {
            path: path.to_path_buf(),
            message: format!(
                "{} cannot be used: restore it from a copy, or train again",
                path.display()
            ),
            source: Some(cause.into()),
        }
    }

    /// For `map_err`: what was being done with `path` when the system refused.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_path_buf(), source }
    }
}

/// Returns `error` where `condition` does not hold.
macro_rules! ensure {
    ($condition:expr, $error:expr $(,)?) => {
        if !$condition {
            return Err($error);
        }
    };
}
pub(crate) use ensure;

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn unknown_characters_are_listed_readably_and_cut_short() {
        let listed = UnknownCharacters { characters: vec!['\u{301}', 'é', '\u{200D}'] };
        assert_eq!(
            listed.to_string(),
            "3 distinct characters are not in the vocabulary: '\\u{301}' U+0301, 'é' U+00E9, \
             '\\u{200d}' U+200D"
        );
        let many = UnknownCharacters { characters: ('a'..='z').collect() };
        assert!(many.to_string().ends_with("'t' U+0074 and 6 more"), "{many}");
    }

    #[test]
    fn each_kind_says_what_is_wrong() {
        let run = |problem| Error::Run { path: "runs/a".into(), problem };
        for (error, says) in [
            (Error::out_of_range("lr", 0.0, "give more"), "`lr` is 0: give more"),
            (Error::Text("the corpus is empty".into()), "the corpus is empty"),
            (
                UnknownCharacters { characters: vec!['é'] }.into(),
                "1 distinct character is not in the vocabulary: 'é' U+00E9",
            ),
            (Error::vocabulary("id 5 is outside"), "id 5 is outside"),
            (Error::TrainingState("3 rows".into()), "3 rows"),
            (Error::NoCheckpoint("runs/a".into()), "there is no checkpoint runs/a"),
            (Error::checkpoint("a".as_ref(), "a is short"), "a is short"),
            (
                run(RunProblem::Exists),
                "runs/a holds a run already: resume it, choose another folder, or overwrite it",
            ),
            (run(RunProblem::Missing), "runs/a holds no run to resume: a run's folder holds last/"),
            (
                Error::Diverged { what: "loss", value: f64::NAN, step: 7, lr: 0.5, clip: 1.0 },
                "the loss became NaN at step 7: train with a lower `lr` (it was 0.5) or a lower `clip` \
                 (it was 1); the checkpoints from before are untouched",
            ),
        ] {
            assert_eq!(error.to_string(), says);
            assert!(error.source().is_none(), "{error:?}");
        }
    }

    #[test]
    fn an_error_of_candle_speaks_for_itself() {
        let error = Error::from(candle_core::Error::msg("shapes differ"));
        // With RUST_BACKTRACE candle adds a backtrace.
        assert!(error.to_string().starts_with("shapes differ"));
        assert!(matches!(error, Error::Tensor(_)));
    }

    #[test]
    fn a_cause_is_kept_and_not_repeated() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let read = Error::io("read", "a.txt".as_ref())(denied());
        assert_eq!(read.to_string(), "cannot read a.txt");
        let source = read.source().and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::PermissionDenied));

        let broken = Error::broken("run/config.json".as_ref(), read);
        assert!(broken.to_string().starts_with("run/config.json cannot be used: restore it"));
        let cause = broken.source().expect("a cause");
        assert_eq!(cause.to_string(), "cannot read a.txt");
        assert_eq!(cause.source().expect("its cause").to_string(), denied().to_string());
    }

    #[test]
    fn errors_go_between_threads_and_into_a_box() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
        let boxed: Cause = Error::Text("x".into()).into();
        assert!(boxed.downcast_ref::<Error>().is_some());
    }
}
