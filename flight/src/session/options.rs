//! The options of a session: their names, their values, and how settings are made of them.
//!
//! `docs/sessions.md` lists them for users.

use std::collections::HashMap;
use std::time::Duration;

use alula_storage::table::CATALOG_NAME;

use super::messages::{ErrorValue, OptionValue, SessionOptionValue};
use crate::parts::number_of_parts;
use crate::settings::{SCHEMAS, Settings};
use crate::wire::Profile;

const CATALOG: &str = "catalog";
const SCHEMA: &str = "schema";
const TIMEZONE: &str = "timezone";
const WIRE_PROFILE: &str = "wire_profile";
const TAIL: &str = "tail";
const TAIL_FROM: &str = "tail_from";
const STATEMENT_TIMEOUT: &str = "statement_timeout";
const ENDPOINTS: &str = "endpoints";

/// The one time zone. Its other spellings are accepted.
const UTC: &str = "UTC";
const SAME_AS_UTC: [&str; 9] = [UTC, "Etc/UTC", "Etc/UCT", "UCT", "Universal", "Zulu", "Z", "+00:00", "+00"];

/// A tail that begins at the time it is asked for.
pub(crate) const NOW: &str = "now";

/// Sets one option; without a value it goes back to its default. `limit` is the longest that a statement may run.
///
/// # Errors
/// Why it is not set. Then the settings are as they were.
pub(crate) fn set(
    settings: &mut Settings,
    name: &str,
    value: Option<&OptionValue>,
    limit: Option<Duration>,
) -> Result<(), ErrorValue> {
    let invalid = ErrorValue::InvalidValue;
    match name {
        // There is one catalog and one time zone, so nothing is kept.
        CATALOG => {
            value.is_none_or(|value| text(value) == Some(CATALOG_NAME)).then_some(()).ok_or(invalid)?;
        }
        TIMEZONE => {
            let is_utc = |given: &str| SAME_AS_UTC.iter().any(|known| known.eq_ignore_ascii_case(given));
            value.is_none_or(|value| text(value).is_some_and(is_utc)).then_some(()).ok_or(invalid)?;
        }
        SCHEMA => settings.schema = parsed(value, known_schema)?.unwrap_or_default(),
        WIRE_PROFILE => {
            let profile = parsed(value, |value| Profile::named(text(value)?))?;
            settings.wire_profile = profile.map(i32::from);
        }
        TAIL => settings.tail = parsed(value, boolean)?.unwrap_or_default(),
        TAIL_FROM => {
            let is_now = value.and_then(text).is_some_and(|text| text.eq_ignore_ascii_case(NOW));
            settings.tail_from = parsed(value.filter(|_| !is_now), number)?;
        }
        STATEMENT_TIMEOUT => {
            let most = limit.map_or(u64::MAX, |limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
            let allowed = |value: &_| number(value).filter(|ms| (1..=most).contains(ms));
            settings.statement_timeout_ms = parsed(value, allowed)?;
        }
        ENDPOINTS => {
            let endpoints = parsed(value, |value| number_of_parts(number(value)?))?;
            settings.endpoints = endpoints.unwrap_or_default();
        }
        _ => return Err(ErrorValue::InvalidName),
    }
    Ok(())
}

/// What holds for the calls of a session, defaults included.
pub(crate) fn all(settings: &Settings, limit: Option<Duration>) -> HashMap<String, SessionOptionValue> {
    let string = |value: &str| OptionValue::String(value.to_owned());
    let int64 = |value: u64| OptionValue::Int64(i64::try_from(value).unwrap_or(i64::MAX));
    let timeout = settings.timeout(limit).map_or(0, |timeout| timeout.as_millis());
    let options = [
        (CATALOG, string(CATALOG_NAME)),
        (SCHEMA, string(settings.schema())),
        (TIMEZONE, string(UTC)),
        (WIRE_PROFILE, string(settings.wire_profile().name())),
        (TAIL, OptionValue::Bool(settings.tail)),
        (TAIL_FROM, settings.tail_from.map_or_else(|| string(NOW), int64)),
        (STATEMENT_TIMEOUT, int64(u64::try_from(timeout).unwrap_or(u64::MAX))),
        (ENDPOINTS, int64(settings.endpoints() as u64)),
    ];
    let valued = |value| SessionOptionValue { option_value: Some(value) };
    options.into_iter().map(|(name, value)| (name.to_owned(), valued(value))).collect()
}

/// What is no value of the option is an error; that there is none is none.
fn parsed<T>(
    value: Option<&OptionValue>,
    parse: impl Fn(&OptionValue) -> Option<T>,
) -> Result<Option<T>, ErrorValue> {
    value.map(|value| parse(value).ok_or(ErrorValue::InvalidValue)).transpose()
}

fn text(value: &OptionValue) -> Option<&str> {
    match value {
        OptionValue::String(text) => Some(text),
        _ => None,
    }
}

fn known_schema(value: &OptionValue) -> Option<String> {
    SCHEMAS.into_iter().find(|schema| text(value) == Some(schema)).map(str::to_owned)
}

/// Drivers that know only texts send them for everything.
fn boolean(value: &OptionValue) -> Option<bool> {
    match value {
        OptionValue::Bool(value) => Some(*value),
        OptionValue::String(text) => boolean_text(text),
        _ => None,
    }
}

pub(crate) fn boolean_text(text: &str) -> Option<bool> {
    let is = |known: [&str; 2]| known.iter().any(|known| known.eq_ignore_ascii_case(text));
    if is(["true", "1"]) { Some(true) } else { is(["false", "0"]).then_some(false) }
}

fn number(value: &OptionValue) -> Option<u64> {
    match value {
        OptionValue::Int64(number) => u64::try_from(*number).ok(),
        OptionValue::String(text) => text.parse().ok(),
        OptionValue::Double(number) if number.fract() == 0.0 && (0.0..9e15).contains(number) => {
            Some(*number as u64)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
