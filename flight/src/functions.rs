//! The functions and operators of a query, beyond and short of DataFusion's own.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::sqlparser::ast::BinaryOperator;
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, ScalarUDF, lit};
use datafusion::scalar::ScalarValue;
use datafusion_functions_json::udfs::{json_as_text_udf, json_contains_udf, json_get_udf};

use crate::metric_functions;
use crate::parameters::TypedParameters;
use crate::watch::watched_function;

/// Functions that tell about the server or its files instead of the data.
const WITHHELD: [&str; 2] = ["input_file_name", "version"];

/// DataFusion's scalar functions without those withheld, and those over data points.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = SessionStateDefaults::default_scalar_functions();
    functions.retain(|function| !WITHHELD.contains(&function.name()));
    functions.extend(metric_functions::scalar_functions());
    functions.into_iter().map(watched_function).collect()
}

/// Whether a function of that name, in lower case, makes a value of each row alone.
pub(crate) fn is_scalar_function(name: &str) -> bool {
    static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let mut state = SessionStateBuilder::new()
            .with_scalar_functions(scalar_functions())
            .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
            .build();
        datafusion_functions_json::register_all(&mut state as &mut dyn FunctionRegistry)
            .expect("a session takes functions");
        // The planner's own.
        let unnest = ["unnest", "unnest_outer"].map(str::to_owned);
        let higher_order = state.higher_order_functions().keys().cloned();
        state.scalar_functions().keys().cloned().chain(higher_order).chain(unnest).collect()
    });
    NAMES.contains(name)
}

/// The planners of operators, in the order they are asked.
pub(crate) fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(TypedParameters), Arc::new(JsonAccess)];
    planners.extend(SessionStateDefaults::default_expr_planners());
    planners
}

/// `->`, `->>`, `#>`, `#>>` and `?` on JSON text, and `attributes['key']`, which means `attributes ->> 'key'` for those
/// used to attributes as a map. (The text form, because it compares with a text.)
///
/// The planner of `datafusion-functions-json` leaves an alias around each step, and DataFusion looks at what is inside an
/// alias twice: 16 steps take seconds to plan. Here only the outermost step has one.
#[derive(Debug)]
struct JsonAccess;

impl ExprPlanner for JsonAccess {
    fn plan_binary_op(&self, binary: RawBinaryExpr, _: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let function = match binary.op {
            BinaryOperator::Arrow | BinaryOperator::HashArrow => json_get_udf(),
            BinaryOperator::LongArrow | BinaryOperator::HashLongArrow => json_as_text_udf(),
            BinaryOperator::Question => json_contains_udf(),
            _ => return Ok(PlannerResult::Original(binary)),
        };
        let title = format!("{} {} {}", title(&binary.left), binary.op, title(&binary.right));
        Ok(PlannerResult::Planned(lookup(function, binary.left, binary.right, title)))
    }

    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let key = match &access.field_access {
            GetFieldAccess::NamedStructField { name } => lit(name.clone()),
            GetFieldAccess::ListIndex { key } if matches!(**key, Expr::Placeholder(_)) => {
                key.as_ref().clone()
            }
            _ => return Ok(PlannerResult::Original(access)),
        };
        if !is_text(&access.expr.get_type(schema)?) {
            return Ok(PlannerResult::Original(access));
        }
        let title = format!("{}[{}]", title(&access.expr), title(&key));
        Ok(PlannerResult::Planned(lookup(json_as_text_udf(), access.expr, key, title)))
    }
}

fn lookup(function: Arc<ScalarUDF>, json: Expr, key: Expr, title: String) -> Expr {
    let arguments = vec![json.unalias_nested().data, key.unalias_nested().data];
    Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments)).alias(title)
}

/// An expression as the title of a column.
fn title(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => column.name.clone(),
        Expr::Alias(alias) => alias.name.clone(),
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
            format!("'{text}'")
        }
        Expr::Literal(value, _) => value.to_string(),
        other => other.schema_name().to_string(),
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}
