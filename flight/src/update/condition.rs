//! The condition of a `DELETE`, on its way into a text that means the same for ever.
//!
//! What depends on the moment (`now()`) and on the call (parameters) is replaced by what it is. The text is checked by reading
//! it back.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::plan_datafusion_err;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SessionState;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArguments, Value, visit_expressions_mut,
};

use crate::parameters::{Bound, Row};
use crate::parse::{count_operators, parse_expression};
use crate::watch::is_growing;
use crate::{Error, Result};

/// Operators in a condition. It is planned and evaluated on threads that have less stack than those of queries.
const MAX_OPERATORS: usize = 200;

/// Replaces functions of the moment by what they say at the start of the statement.
pub(super) fn frozen(mut condition: Expr, state: &SessionState) -> Result<Expr> {
    let started = state.execution_props().query_execution_start_time;
    let now = || -> Result<ScalarValue> {
        let nanos = started.and_then(|time| time.timestamp_nanos_opt());
        let nanos = nanos.ok_or_else(|| plan_datafusion_err!("the time of the statement is not known"))?;
        Ok(ScalarValue::TimestampNanosecond(Some(nanos), Some("UTC".into())))
    };
    let frozen = visit_expressions_mut(&mut condition, |expr| {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = function.name.to_string().to_lowercase();
        if is_growing(&name) {
            // It is evaluated for every row at every later reading.
            return ControlFlow::Break(Error::Unsupported {
                what: format!("{name} in the condition of a DELETE"),
            });
        }
        let Some(data_type) = moment(function) else { return ControlFlow::Continue(()) };
        match now().and_then(|now| literal(&now.cast_to(&data_type)?)) {
            Ok(value) => *expr = value,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    });
    match frozen {
        ControlFlow::Continue(()) => Ok(condition),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The type of what a function of the moment says; none if it is another function.
fn moment(function: &Function) -> Option<DataType> {
    let no_arguments = match &function.args {
        FunctionArguments::None => true,
        FunctionArguments::List(list) => list.args.is_empty(),
        FunctionArguments::Subquery(_) => false,
    };
    if !no_arguments {
        return None;
    }
    match function.name.to_string().to_lowercase().as_str() {
        "now" | "current_timestamp" => Some(DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))),
        "current_date" | "today" => Some(DataType::Date32),
        "current_time" => Some(DataType::Time64(TimeUnit::Nanosecond)),
        _ => None,
    }
}

/// Puts the values of parameters in their place. What any row of them hits is hit.
pub(super) fn bound(condition: &Expr, bound: &Bound) -> Result<Expr> {
    if bound.num_rows() == 1 {
        return bound_to(condition.clone(), &bound.row(0)?);
    }
    // More than this would be refused later, and take time until then.
    if bound.num_rows() > MAX_OPERATORS {
        return Err(too_complex());
    }
    let mut any = None;
    for index in 0..bound.num_rows() {
        let one = Expr::Nested(Box::new(bound_to(condition.clone(), &bound.row(index)?)?));
        any = Some(match any {
            None => one,
            Some(others) => {
                Expr::BinaryOp { left: Box::new(others), op: BinaryOperator::Or, right: Box::new(one) }
            }
        });
    }
    Ok(any.unwrap_or_else(|| Expr::value(Value::Boolean(false))))
}

fn bound_to(mut condition: Expr, bound: &Row) -> Result<Expr> {
    let replaced = visit_expressions_mut(&mut condition, |expr| {
        let Expr::Value(value) = expr else { return ControlFlow::Continue(()) };
        let Value::Placeholder(name) = &value.value else { return ControlFlow::Continue(()) };
        let given = bound.get(name.trim_start_matches('$'));
        let given = given.ok_or_else(|| Error::UnboundParameter { name: name.clone() });
        match given.and_then(literal) {
            Ok(value) => *expr = value,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    });
    match replaced {
        ControlFlow::Continue(()) => Ok(condition),
        ControlFlow::Break(error) => Err(error),
    }
}

/// A value as SQL writes it.
fn literal(value: &ScalarValue) -> Result<Expr> {
    use ScalarValue as V;
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let sql_type = match value {
        value if value.is_null() => return parse_expression("NULL"),
        V::Utf8(Some(text)) | V::LargeUtf8(Some(text)) | V::Utf8View(Some(text)) => {
            return parse_expression(&quoted(text));
        }
        V::Boolean(_) | V::UInt8(_) | V::UInt16(_) | V::UInt32(_) | V::UInt64(_) => {
            return parse_expression(&value.to_string());
        }
        // In parentheses: after a minus it would begin a comment.
        V::Int8(_) | V::Int16(_) | V::Int32(_) | V::Int64(_) => {
            return parse_expression(&format!("({value})"));
        }
        V::Float16(_) | V::Float32(_) | V::Float64(_) => "DOUBLE",
        V::Date32(_) => "DATE",
        V::Time64Nanosecond(_) => "TIME",
        V::TimestampSecond(_, zone)
        | V::TimestampMillisecond(_, zone)
        | V::TimestampMicrosecond(_, zone)
        | V::TimestampNanosecond(_, zone) => match zone {
            Some(_) => "TIMESTAMP WITH TIME ZONE",
            None => "TIMESTAMP",
        },
        V::IntervalMonthDayNano(_) | V::IntervalDayTime(_) | V::IntervalYearMonth(_) => "INTERVAL",
        other => {
            let what = format!("a parameter of type {} in DELETE", other.data_type());
            return Err(Error::Unsupported { what });
        }
    };
    let text = value.cast_to(&DataType::Utf8)?;
    let text = text.try_as_str().flatten().unwrap_or_default();
    parse_expression(&format!("CAST({} AS {sql_type})", quoted(text)))
}

/// The text that is kept.
///
/// # Errors
/// `TooComplex` — it has too many operators. `Unsupported` — it cannot be written so that it reads the same.
pub(super) fn text(condition: &Expr) -> Result<String> {
    let text = condition.to_string();
    if count_operators(&text)? > MAX_OPERATORS {
        return Err(too_complex());
    }
    match parse_expression(&text) {
        Ok(read) if read == *condition => Ok(text),
        _ => Err(Error::Unsupported { what: "this way to write the condition of DELETE".to_owned() }),
    }
}

fn too_complex() -> Error {
    Error::TooComplex {
        what: "operators in the condition of DELETE",
        limit: MAX_OPERATORS,
        advice: "write IN (...) instead of many OR or of many rows of parameters, or delete in several statements",
    }
}

/// Reads what [`text`] wrote.
pub(crate) fn parse_predicate(text: &str) -> DataFusionResult<Expr> {
    parse_expression(text).map_err(|error| DataFusionError::Plan(error.to_string()))
}
