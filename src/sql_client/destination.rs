//! Where an answer goes: standard output, or a file that appears only when it is complete.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{Error, Result};

/// Standard output, or the file of `-o`.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    Stdout,
    File(PathBuf),
}

impl Destination {
    /// `-` is standard output, as everywhere.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        match path {
            Some(path) if path != Path::new("-") => Self::File(path),
            _ => Self::Stdout,
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::Stdout) && io::stdout().is_terminal()
    }

    pub(crate) fn open(self) -> Result<OpenDestination> {
        let kind = match &self {
            Self::Stdout => Kind::Stream(Box::new(io::stdout())),
            Self::File(path) => open_file(path).map_err(|source| self.failure(source))?,
        };
        Ok(OpenDestination { kind, destination: self })
    }

    fn failure(&self, source: io::Error) -> Error {
        match self {
            Self::Stdout => Error::Write { target: "standard output".to_owned(), source },
            Self::File(path) => Error::Write { target: path.display().to_string(), source },
        }
    }
}

/// Devices and pipes are written as they are. A regular file is written aside first, so that a query that fails
/// half-way neither leaves half an answer nor destroys the file that was there.
fn open_file(path: &Path) -> io::Result<Kind> {
    if path.exists() && !path.is_file() {
        return Ok(Kind::Stream(Box::new(OpenOptions::new().write(true).open(path)?)));
    }
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let aside = tempfile::Builder::new()
        .prefix(".alula-")
        // Reduced by the umask, as for any new file.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)?;
    Ok(Kind::Aside { aside, path: path.to_owned() })
}

enum Kind {
    Stream(Box<dyn Write + Send>),
    Aside { aside: NamedTempFile, path: PathBuf },
}

/// A destination that can be written.
pub(crate) struct OpenDestination {
    kind: Kind,
    destination: Destination,
}

impl OpenDestination {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match &mut self.kind {
            Kind::Stream(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Kind::Aside { aside, .. } => aside.write_all(bytes),
        };
        written.map_err(|source| self.destination.failure(source))
    }

    /// Puts a file in its place. Without this call nothing appears.
    pub(crate) fn commit(self) -> Result<()> {
        match self.kind {
            Kind::Stream(_) => Ok(()),
            Kind::Aside { aside, path } => {
                let _: File = aside.persist(path).map_err(|error| self.destination.failure(error.error))?;
                Ok(())
            }
        }
    }
}
