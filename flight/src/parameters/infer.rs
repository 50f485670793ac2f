//! The types of parameters, from a walk over the plan.
//!
//! DataFusion's own inference gives a hash map, forgets a type when a parameter appears a second time without one, and
//! fails where it appears with two.

use std::collections::HashMap;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::{Case, Placeholder};
use datafusion::logical_expr::type_coercion::binary::type_union_resolution;
use datafusion::logical_expr::type_coercion::functions::{UDFCoercionExt, fields_with_udf};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, WindowFunctionDefinition,
};

use super::Parameter;

/// The parameters of `plan` under the names the parser found.
pub(crate) fn infer(plan: &LogicalPlan, names: Vec<String>) -> DataFusionResult<Vec<Parameter>> {
    let mut seen = Seen::default();
    if !names.is_empty() {
        plan.apply_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            let expected = match node {
                // Counts of rows and conditions say of themselves what they are.
                LogicalPlan::Limit(_) => Some(DataType::Int64),
                LogicalPlan::Filter(_) => Some(DataType::Boolean),
                _ => None,
            };
            node.apply_expressions(|expr| {
                if let Some(expected) = &expected {
                    seen.is(expr, expected);
                }
                expr.apply(|expr| {
                    seen.visit(expr, &schema);
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
    }
    Ok(seen.parameters(names))
}

/// The parameters of an expression, the same way.
pub(crate) fn infer_in(expr: &Expr, names: Vec<String>) -> DataFusionResult<Vec<Parameter>> {
    let mut seen = Seen::default();
    let schema = DFSchema::empty();
    seen.is(expr, &DataType::Boolean);
    expr.apply(|expr| {
        seen.visit(expr, &schema);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(seen.parameters(names))
}

/// The types that parameters were seen with, by id.
#[derive(Default)]
struct Seen {
    /// By what it is compared with or cast to.
    firm: HashMap<String, DataType>,
    /// By a function that would take other types too; counts where nothing else is known.
    loose: HashMap<String, DataType>,
}

impl Seen {
    fn parameters(mut self, names: Vec<String>) -> Vec<Parameter> {
        let mut parameter = |name: String| {
            let id = format!("${name}");
            Parameter { data_type: self.firm.remove(&id).or_else(|| self.loose.remove(&id)), name }
        };
        names.into_iter().map(&mut parameter).collect()
    }

    fn visit(&mut self, expr: &Expr, schema: &DFSchema) {
        match expr {
            Expr::Placeholder(Placeholder { field: Some(field), .. }) => self.is(expr, field.data_type()),
            Expr::Cast(cast) => self.is(&cast.expr, cast.field.data_type()),
            Expr::TryCast(cast) => self.is(&cast.expr, cast.field.data_type()),
            Expr::Not(inner)
            | Expr::IsTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNotFalse(inner) => self.is(inner, &DataType::Boolean),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
                self.is(left, &DataType::Boolean);
                self.is(right, &DataType::Boolean);
            }
            Expr::Between(between) => self.is_like(&between.expr, [&*between.low, &*between.high], schema),
            Expr::InList(list) => self.is_like(&list.expr, &list.list, schema),
            Expr::Like(like) | Expr::SimilarTo(like) => self.is(&like.expr, &DataType::Utf8),
            Expr::Case(case) => self.visit_case(case, schema),
            Expr::ScalarFunction(call) => self.visit_call(call.func.as_ref(), &call.args, schema),
            Expr::AggregateFunction(call) => self.visit_call(call.func.as_ref(), &call.params.args, schema),
            Expr::WindowFunction(call) => match &call.fun {
                WindowFunctionDefinition::AggregateUDF(function) => {
                    self.visit_call(function.as_ref(), &call.params.args, schema);
                }
                WindowFunctionDefinition::WindowUDF(function) => {
                    self.visit_call(function.as_ref(), &call.params.args, schema);
                    // They take any type and want a number of rows.
                    if let ("lag" | "lead" | "nth_value", Some(Expr::Placeholder(rows))) =
                        (function.name(), call.params.args.get(1))
                    {
                        note(&mut self.loose, &rows.id, &DataType::Int64);
                    }
                }
            },
            _ => {}
        }
    }

    /// The operand is compared with the conditions, and the results are of one type.
    fn visit_case(&mut self, case: &Case, schema: &DFSchema) {
        let conditions = || case.when_then_expr.iter().map(|(when, _)| when.as_ref());
        match &case.expr {
            Some(operand) => {
                self.are_alike(conditions().chain([operand.as_ref()]).collect(), schema);
            }
            None => conditions().for_each(|condition| self.is(condition, &DataType::Boolean)),
        }
        let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
        self.are_alike(results.chain(case.else_expr.as_deref()).collect(), schema);
    }

    fn visit_call(&mut self, function: &impl UDFCoercionExt, arguments: &[Expr], schema: &DFSchema) {
        if !arguments.iter().any(|argument| untyped(argument).is_some()) {
            return;
        }
        let fields: DataFusionResult<Vec<FieldRef>> =
            arguments.iter().map(|argument| Ok(argument.to_field(schema)?.1)).collect();
        // A call that does not fit is planned again with its arguments as text, or it is an error of the statement.
        let Ok(coerced) = fields.and_then(|fields| fields_with_udf(&fields, function)) else { return };
        for (argument, field) in arguments.iter().zip(coerced) {
            if let Some(id) = untyped(argument) {
                note(&mut self.loose, id, field.data_type());
            }
        }
    }

    fn are_alike(&mut self, exprs: Vec<&Expr>, schema: &DFSchema) {
        for expr in &exprs {
            self.is_like(expr, exprs.iter().copied(), schema);
        }
    }

    fn is_like<'a>(&mut self, expr: &Expr, others: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) {
        if untyped(expr).is_some() {
            let known = others.into_iter().filter_map(|other| other.get_type(schema).ok());
            for data_type in known {
                self.is(expr, &data_type);
            }
        }
    }

    fn is(&mut self, expr: &Expr, data_type: &DataType) {
        if let Expr::Placeholder(Placeholder { id, .. }) = expr {
            note(&mut self.firm, id, data_type);
        }
    }
}

/// The id of a parameter that the planner found no type for.
fn untyped(expr: &Expr) -> Option<&String> {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => Some(id),
        _ => None,
    }
}

fn note(types: &mut HashMap<String, DataType>, id: &str, data_type: &DataType) {
    let data_type = plain(data_type);
    // What is compared with a JSON value may be a text, a number or a truth value.
    if !data_type.is_null() && !matches!(data_type, DataType::Union(..)) {
        let known = types.entry(id.to_owned()).or_insert_with(|| data_type.clone());
        *known = common(known, data_type);
    }
}

/// Without the encoding: nobody binds a dictionary because the column is one.
fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        DataType::LargeUtf8 | DataType::Utf8View => &DataType::Utf8,
        other => other,
    }
}

/// A type that both can be compared with; the first where there is none.
fn common(first: &DataType, second: &DataType) -> DataType {
    if first == second {
        return first.clone();
    }
    // Not the number that DataFusion hopes to find in the text.
    if first == &DataType::Utf8 || second == &DataType::Utf8 {
        return DataType::Utf8;
    }
    type_union_resolution(&[first.clone(), second.clone()]).unwrap_or_else(|| first.clone())
}
