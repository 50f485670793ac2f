//! What a command that did not succeed says and returns: one line with its causes, a hint, and an exit code.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::server::{StartError, StopError};
use crate::sql_client;

type BoxError = Box<dyn Error + Send + Sync>;

/// The exit codes that scripts rely on. Success is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A query failed, or the server did.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was tried.
    Usage = 2,
    CannotConnect = 3,
    NotAuthorised = 4,
    /// The disk failed under the server; the data that it acknowledged is in its log.
    StorageFailed = 70,
    Interrupted = 130,
}

/// Ends a command. `Display` is the one line with the whole chain of causes.
#[derive(Debug)]
pub(crate) struct CliError {
    failure: Failure,
    error: BoxError,
    hint: Option<String>,
}

impl CliError {
    pub(crate) fn new(failure: Failure, error: impl Into<BoxError>) -> Self {
        Self { failure, error: error.into(), hint: None }
    }

    pub(crate) fn failed(error: impl Into<BoxError>) -> Self {
        Self::new(Failure::Failed, error)
    }

    pub(crate) fn usage(error: impl Into<BoxError>) -> Self {
        Self::new(Failure::Usage, error)
    }

    /// Adds a line that says what to do about it.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[cfg(test)]
    pub(crate) fn failure(&self) -> Failure {
        self.failure
    }

    /// Writes `error: ...` (and `hint: ...`) and gives the exit code.
    ///
    /// A reader that closed the pipe had enough: no error.
    pub(crate) fn report(&self, mut stderr: impl io::Write) -> ExitCode {
        let closed_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        if self.error.downcast_ref::<io::Error>().is_some_and(closed_pipe) {
            return ExitCode::SUCCESS;
        }
        let mut text = format!("error: {self}\n");
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        // Nothing is left to tell it to when stderr is gone.
        let _ = stderr.write_all(text.as_bytes());
        ExitCode::from(self.failure as u8)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.error.to_string();
        f.write_str(&said)?;
        let mut cause = self.error.source();
        while let Some(error) = cause {
            // Some libraries repeat their cause in their own text.
            let text = error.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            cause = error.source();
        }
        Ok(())
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match (error.hint(), error) {
            (_, StartError::Config(error)) => Self::from(error),
            (Some(hint), error) => Self::failed(error).with_hint(hint),
            (None, error) => Self::failed(error),
        }
    }
}

impl From<StopError> for CliError {
    fn from(error: StopError) -> Self {
        match error {
            StopError::StorageFailed { .. } => Self::new(Failure::StorageFailed, error)
                .with_hint("what was acknowledged is in the write-ahead log; the next start recovers it"),
            StopError::Storage(_)
            | StopError::Transport(_)
            | StopError::PortEnded
            | StopError::Interrupted(_) => Self::failed(error),
        }
    }
}

impl From<sql_client::Error> for CliError {
    fn from(error: sql_client::Error) -> Self {
        use sql_client::Error;
        if let Error::Write { source, .. } = &error
            && source.kind() == io::ErrorKind::BrokenPipe
        {
            // As the plain I/O error, by which a closed pipe is told from a full disk.
            return Self::from(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        let (failure, hint) = match &error {
            Error::Usage { .. } | Error::ReadFile { .. } => (Failure::Usage, None),
            Error::MalformedToken => {
                (Failure::Usage, Some("a token is the one line that `alula token create` prints"))
            }
            Error::Connect { .. } | Error::ConnectTimeout { .. } => (
                Failure::CannotConnect,
                Some("is the server running, and is this its gRPC address? --url or ALULA_URL names another"),
            ),
            Error::NotAuthorised { .. } => (
                Failure::NotAuthorised,
                Some("give a token by --token, --token-file or ALULA_TOKEN; `alula token create` makes one"),
            ),
            Error::Interrupted => (Failure::Interrupted, None),
            Error::Server { .. }
            | Error::Timeout { .. }
            | Error::Lost { .. }
            | Error::Protocol { .. }
            | Error::Encode { .. }
            | Error::Write { .. } => (Failure::Failed, None),
        };
        let error = Self::new(failure, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
