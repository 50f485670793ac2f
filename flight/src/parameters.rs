//! Parameters of a prepared statement: their types, and the values bound to them.
//!
//! | file | purpose |
//! |---|---|
//! | `syntax.rs`, `operators.rs` | parameters in places where the planner expects something else |
//! | `infer.rs` | the types, from a walk over the plan |
//! | `bound.rs` | rows of values: from a client, into a handle, out of a handle |
//! | `column.rs` | the values of one parameter, in whatever encoding they came |

mod bound;
mod column;
mod infer;
mod operators;
mod syntax;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use crate::wire::{Profile, wire_type};

pub(crate) use bound::{Bound, Row};
pub(crate) use infer::{infer, infer_in};
pub(crate) use operators::TypedParameters;
pub(crate) use syntax::{spell_out_intervals, take_arguments_for_text};

/// A parameter in the order in which values are bound.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    /// Without `$`.
    pub(crate) name: String,
    /// What the statement compares it with; `None` where any type will do.
    pub(crate) data_type: Option<DataType>,
}

/// What a client is told to bind. An unknown type is announced as text, because JDBC can bind nothing to `Null`; values
/// of any type are accepted for it.
pub(crate) fn parameter_schema(parameters: &[Parameter], profile: Profile) -> Schema {
    let field = |parameter: &Parameter| {
        let data_type = parameter.data_type.as_ref().unwrap_or(&DataType::Utf8);
        Field::new(&parameter.name, bindable_type(data_type, profile), true)
    };
    Schema::new(parameters.iter().map(field).collect::<Vec<Field>>())
}

/// The type in which every client of the profile can bind the values of a type.
fn bindable_type(data_type: &DataType, profile: Profile) -> DataType {
    match profile {
        Profile::Safe | Profile::Bi | Profile::Native => wire_type(data_type, Profile::Safe),
        // The driver binds the milliseconds of a time as they are, whatever the unit.
        Profile::Jdbc | Profile::JdbcUnzoned => match wire_type(data_type, profile) {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone),
            DataType::Time32(_) | DataType::Time64(_) => DataType::Time32(TimeUnit::Millisecond),
            other => other,
        },
    }
}

#[cfg(test)]
mod tests;
