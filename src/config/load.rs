//! The layers: flags, environment, file, defaults; and which of them each value came from.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use confique::meta::{Expr, FieldKind, LeafKind, Meta};
use confique::{Config as _, Layer};
use serde::Deserialize;

use super::{Config, Flags, SYSTEM_FILE};

/// Why there is no configuration. The person who set it can mend every variant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("configuration file {} cannot be read", path.display())]
    File { path: PathBuf, source: io::Error },
    /// `line` and `column` count from one.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax { path: PathBuf, line: usize, column: usize, message: String },
    #[error("environment variable {name}: {message}")]
    Environment { name: &'static str, message: String },
    #[error("{message}")]
    Conflict { message: String },
}

/// A checked configuration together with where it came from.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    layers: [(Layered, Flags); 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layered {
    Flag,
    Environment,
    File,
    Default,
}

/// One key as it is in effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub section: &'static str,
    pub key: &'static str,
    /// None for a key without a default that nobody set.
    pub value: Option<toml::Value>,
    pub source: Source,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Flag,
    Environment(&'static str),
    File(PathBuf),
    Default,
}

/// The environment of this process, for [`Config::load`]; tests hand in their own.
pub fn process_environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the one place where the server reads its environment")]
    std::env::var(name).ok()
}

impl Config {
    /// Merges the layers and checks the result.
    ///
    /// `file` is the file that was asked for by name; without one the system's file is read if it exists.
    ///
    /// # Errors
    /// [`ConfigError`]: each variant says which source is wrong, where in it, and what it may say.
    pub fn load(
        flags: Flags,
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigError> {
        let (file, from_file) = match file {
            Some(path) => (Some(path.to_owned()), read_file(path)?),
            None if Path::new(SYSTEM_FILE).exists() => {
                (Some(SYSTEM_FILE.into()), read_file(Path::new(SYSTEM_FILE))?)
            }
            None => (None, Flags::empty()),
        };
        let layers = [
            (Layered::Flag, flags),
            (Layered::Environment, read_environment(environment)?),
            (Layered::File, from_file),
            (Layered::Default, Flags::default_values()),
        ];
        let merged = layers.iter().map(|(_, layer)| layer.clone()).reduce(Layer::with_fallback);
        let merged = merged.expect("the list of layers is not empty");
        let config =
            Self::from_layer(merged).map_err(|error| ConfigError::Conflict { message: error.to_string() })?;
        config.validate()?;
        Ok(Loaded { config, file, layers })
    }
}

impl Loaded {
    /// Every key in the order of the template.
    pub fn settings(&self) -> Vec<Setting> {
        let tables: Vec<_> = self
            .layers
            .iter()
            .map(|(kind, layer)| {
                (*kind, toml::Value::try_from(layer).expect("a layer holds tables of plain values"))
            })
            .collect();
        leaves()
            .map(|leaf| {
                let found = tables
                    .iter()
                    .find_map(|(kind, table)| Some((*kind, table.get(leaf.section)?.get(leaf.key)?.clone())));
                let source = match found.as_ref().map(|(kind, _)| *kind) {
                    Some(Layered::Flag) => Source::Flag,
                    Some(Layered::Environment) => Source::Environment(leaf.variable),
                    Some(Layered::File) => Source::File(self.file.clone().unwrap_or_default()),
                    Some(Layered::Default) | None => Source::Default,
                };
                Setting { section: leaf.section, key: leaf.key, value: found.map(|(_, value)| value), source }
            })
            .collect()
    }
}

/// One key as the derive macro describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaf {
    pub(crate) section: &'static str,
    pub(crate) key: &'static str,
    pub(crate) variable: &'static str,
    pub(crate) default: Option<Expr>,
}

/// Every key: there are exactly two levels, sections and keys, and each key has a variable.
pub(crate) fn leaves() -> impl Iterator<Item = Leaf> {
    let nested = |field: &'static confique::meta::Field| match field.kind {
        FieldKind::Nested { meta } => Some((field.name, meta)),
        FieldKind::Leaf { .. } => None,
    };
    Config::META.fields.iter().filter_map(nested).flat_map(|(section, meta): (_, &'static Meta)| {
        meta.fields.iter().filter_map(move |field| match field.kind {
            FieldKind::Leaf { env: Some(variable), kind } => Some(Leaf {
                section,
                key: field.name,
                variable,
                default: match kind {
                    LeafKind::Required { default } => default,
                    LeafKind::Optional => None,
                },
            }),
            FieldKind::Leaf { env: None, .. } | FieldKind::Nested { .. } => None,
        })
    })
}

impl Leaf {
    /// The default as text, without the quotes of the file.
    pub(crate) fn default_text(&self) -> Option<String> {
        match self.default? {
            Expr::Str(text) => Some(text.to_owned()),
            Expr::Bool(value) => Some(value.to_string()),
            // No key has a default of another kind.
            _ => None,
        }
    }
}

/// Variables of this process that look like keys but are none: most likely misspelt.
///
/// They are no errors, as Kubernetes sets some of its own for a service named like one of the sections.
pub(crate) fn unknown_variables() -> Vec<String> {
    unknown_among(std::env::vars_os().map(|(name, _)| name))
}

pub(super) fn unknown_among(names: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let sections: Vec<_> = Config::META
        .fields
        .iter()
        .map(|section| format!("ALULA_{}_", section.name.to_ascii_uppercase()))
        .collect();
    names
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| sections.iter().any(|section| name.starts_with(section)))
        .filter(|name| leaves().all(|leaf| leaf.variable != name))
        .collect()
}

fn read_file(path: &Path) -> Result<Flags, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        ConfigError::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
            // The parser's word for a key; it goes on to list the valid ones.
            message: error.message().replace("unknown field", "unknown key"),
        }
    })
}

/// confique's own reader takes the process environment only, which a test cannot set without `unsafe`.
///
/// An empty variable counts as unset: that is how Compose files and unit files blank one.
fn read_environment(environment: impl Fn(&str) -> Option<String>) -> Result<Flags, ConfigError> {
    let mut merged = Flags::empty();
    for leaf in leaves() {
        let Some(text) = environment(leaf.variable).filter(|text| !text.is_empty()) else { continue };
        let invalid = |message: String| ConfigError::Environment { name: leaf.variable, message };
        let value = match leaf.default {
            Some(Expr::Bool(_)) => match text.to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => toml::Value::Boolean(true),
                "0" | "false" | "no" | "off" => toml::Value::Boolean(false),
                _ => return Err(invalid(format!("{text:?} is neither true nor false"))),
            },
            _ => toml::Value::String(text),
        };
        let key = toml::Table::from_iter([(leaf.key.to_owned(), value)]);
        let section = toml::Table::from_iter([(leaf.section.to_owned(), toml::Value::Table(key))]);
        let layer = Flags::deserialize(section).map_err(|error| invalid(error.message().to_owned()))?;
        merged = merged.with_fallback(layer);
    }
    Ok(merged)
}
