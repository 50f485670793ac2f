//! How many tables a statement may read.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement, Visit, Visitor};

use crate::{Error, Result};

/// Mentions of tables in a statement. Those of a named query count each time it is used.
pub(crate) const MAX_TABLES: usize = 128;

/// Bounds the joins and named queries, which nest in the plan though not in the text.
pub(super) fn check_tables(statement: &Statement) -> Result<()> {
    if statement.visit(&mut Mentions::default()).is_break() {
        let advice = "join or combine fewer at a time; those of a WITH query count each time it is used";
        return Err(Error::TooComplex { what: "mentions of tables", limit: MAX_TABLES, advice });
    }
    Ok(())
}

/// Counts mentions of tables up to the limit.
///
/// A plan holds a named query once for each use, so ten of them that each join the one before with itself make a
/// thousand scans of ten mentions.
#[derive(Default)]
struct Mentions {
    /// As they stand in the text, unused named queries too.
    written: usize,
    /// In each query that is being visited, the innermost last; named queries spelt out.
    spelt_out: Vec<usize>,
    /// Which queries have a name, by address: the tree does not move while it is visited.
    names: HashMap<*const Query, String>,
    /// What a use of a name adds. Names that hide others only make the count too high.
    named: HashMap<String, usize>,
}

impl Mentions {
    fn add(&mut self, count: usize) -> ControlFlow<()> {
        if let Some(enclosing) = self.spelt_out.last_mut() {
            *enclosing += count;
            if *enclosing > MAX_TABLES {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

impl Visitor for Mentions {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for named in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.names.insert(&raw const *named.query, named.alias.name.value.to_lowercase());
        }
        self.spelt_out.push(0);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.written += 1;
        if self.written > MAX_TABLES {
            return ControlFlow::Break(());
        }
        let name = relation.0.last().and_then(|part| part.as_ident());
        let more = name.and_then(|name| self.named.get(&name.value.to_lowercase())).copied().unwrap_or(0);
        self.add(1 + more)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let count = self.spelt_out.pop().unwrap_or(0);
        match self.names.get(&(&raw const *query)) {
            Some(name) => {
                let known = self.named.entry(name.clone()).or_default();
                *known = count.max(*known);
                ControlFlow::Continue(())
            }
            None => self.add(count),
        }
    }
}
