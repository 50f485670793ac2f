//! Parameters as operands, where the planner would take them for what the other operand is.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::sqlparser::ast::BinaryOperator;
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess};

/// `timestamp - ?` takes an interval, and `attributes ->> ?` and `attributes[?]` the name of a key.
#[derive(Debug)]
pub(crate) struct TypedParameters;

impl ExprPlanner for TypedParameters {
    fn plan_binary_op(
        &self,
        mut binary: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator as Op;
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        match binary.op {
            Op::Plus | Op::Minus if is_moment(&binary.left, schema) => give(&mut binary.right, interval),
            Op::Plus if is_moment(&binary.right, schema) => give(&mut binary.left, interval),
            Op::Arrow | Op::LongArrow | Op::HashArrow | Op::HashLongArrow | Op::Question => {
                give(&mut binary.right, DataType::Utf8);
            }
            _ => {}
        }
        Ok(PlannerResult::Original(binary))
    }

    fn plan_field_access(
        &self,
        mut access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if let GetFieldAccess::ListIndex { key } = &mut access.field_access {
            let is_list = access.expr.get_type(schema).is_ok_and(|data_type| data_type.is_list());
            give(key, if is_list { DataType::Int64 } else { DataType::Utf8 });
        }
        Ok(PlannerResult::Original(access))
    }
}

fn is_moment(expr: &Expr, schema: &DFSchema) -> bool {
    let data_type = expr.get_type(schema);
    matches!(data_type, Ok(DataType::Timestamp(..) | DataType::Date32 | DataType::Date64))
}

fn give(expr: &mut Expr, data_type: DataType) {
    if let Expr::Placeholder(Placeholder { id, field: field @ None }) = expr {
        *field = Some(Arc::new(Field::new(id.as_str(), data_type, true)));
    }
}
