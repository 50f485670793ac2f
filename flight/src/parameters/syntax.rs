//! Parameters where the planner wants a literal, or an argument whose type it knows: written so that it takes them.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Interval,
    Value, visit_expressions_mut,
};

/// Writes `INTERVAL ?` as `CAST(? AS INTERVAL)`, and `INTERVAL ? DAY` with the unit behind the text of the value.
pub(crate) fn spell_out_intervals(statement: &mut Statement) {
    each_expression(statement, |expr| {
        let Expr::Interval(Interval {
            value,
            leading_field,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        }) = expr
        else {
            return;
        };
        if !is_parameter(value) {
            return;
        }
        let value = std::mem::replace(value.as_mut(), null());
        let text = match leading_field {
            Some(unit) => Expr::BinaryOp {
                left: Box::new(cast(value, DataType::Varchar(None))),
                op: BinaryOperator::StringConcat,
                right: Box::new(Expr::value(Value::SingleQuotedString(format!(" {unit}")))),
            },
            None => value,
        };
        *expr = cast(text, DataType::Interval { fields: None, precision: None });
    });
}

/// Writes `f(?)` as `f(CAST(? AS VARCHAR))`: some functions refuse an argument without a type, and most of these are about
/// text. Returns whether there was any.
pub(crate) fn take_arguments_for_text(statement: &mut Statement) -> bool {
    let mut found = false;
    each_expression(statement, |expr| {
        let Expr::Function(function) = expr else { return };
        let FunctionArguments::List(list) = &mut function.args else { return };
        for argument in &mut list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument
                && is_parameter(argument)
            {
                *argument = cast(std::mem::replace(argument, null()), DataType::Varchar(None));
                found = true;
            }
        }
    });
    found
}

fn each_expression(statement: &mut Statement, mut change: impl FnMut(&mut Expr)) {
    match statement {
        Statement::Statement(statement) => {
            let _: ControlFlow<Infallible> = visit_expressions_mut(statement.as_mut(), |expr| {
                change(expr);
                ControlFlow::Continue(())
            });
        }
        Statement::Explain(explain) => each_expression(&mut explain.statement, change),
        // None of these is accepted.
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {}
    }
}

fn is_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

fn null() -> Expr {
    Expr::value(Value::Null)
}
