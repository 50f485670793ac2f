//! The functions and operators of a query, beyond and short of DataFusion's own.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, ScalarUDF, lit};
use datafusion_functions_json::udfs::json_as_text_udf;

/// Functions that tell about the server or its files instead of the data.
const WITHHELD: [&str; 2] = ["input_file_name", "version"];

/// DataFusion's scalar functions without those withheld.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = SessionStateDefaults::default_scalar_functions();
    functions.retain(|function| !WITHHELD.contains(&function.name()));
    functions
}

/// The planners of operators, in the order they are asked.
pub(crate) fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(TextSubscript)];
    planners.extend(SessionStateDefaults::default_expr_planners());
    planners
}

/// `attributes['key']` means `attributes ->> 'key'`, for those used to attributes as a map.
///
/// The text form and not the JSON form, because it compares with a text: `attributes['http.method'] = 'GET'`.
#[derive(Debug)]
struct TextSubscript;

impl ExprPlanner for TextSubscript {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let GetFieldAccess::NamedStructField { name } = &access.field_access else {
            return Ok(PlannerResult::Original(access));
        };
        if !is_text(&access.expr.get_type(schema)?) {
            return Ok(PlannerResult::Original(access));
        }
        let title = format!("{}[{name}]", access.expr.schema_name());
        let arguments = vec![access.expr.clone(), lit(name.clone())];
        let lookup = Expr::ScalarFunction(ScalarFunction::new_udf(json_as_text_udf(), arguments));
        Ok(PlannerResult::Planned(lookup.alias(title)))
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}
