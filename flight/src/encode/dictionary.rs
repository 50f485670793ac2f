//! The dictionaries of a stream: what a client has of a column's values, and where.
//!
//! Batches come with dictionaries of their own, often with more values than the batch uses and with values twice, which
//! some readers refuse. So each column has one dictionary per stream. While it is small it grows, and is sent again as a
//! whole when it did: not every reader knows deltas, all know replacement. Past that each message has a dictionary of the
//! values it uses.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, DictionaryArray, Int32Array, StringArray};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

/// How many values a dictionary has that may still grow.
const MAX_GROWING_VALUES: usize = 4_096;

/// And how much text.
const MAX_GROWING_BYTES: usize = 64 << 10;

/// Where a value of the batch is in the dictionary of the stream: not looked for yet.
const UNKNOWN: i32 = -1;

/// A null among the values of a dictionary: the row is null.
const NULL: i32 = -2;

/// One column's.
pub(super) struct ColumnDictionary {
    /// What the client has.
    sent: StringArray,
    /// Where each of its values is; empty once it is too large to grow.
    known: HashMap<Box<str>, i32>,
    /// The dictionary of the last batch; batches of one chunk share theirs.
    source: StringArray,
    /// Where its values are in `sent`, or one of the marks above.
    places: Vec<i32>,
}

impl ColumnDictionary {
    pub(super) fn new() -> Self {
        let empty = || StringArray::from(Vec::<&str>::new());
        Self { sent: empty(), known: HashMap::new(), source: empty(), places: Vec::new() }
    }

    /// The column over the dictionary of the stream; nothing if that would be longer than `limit`, and nothing has
    /// changed then.
    pub(super) fn adopt(
        &mut self,
        column: &DictionaryArray<Int32Type>,
        limit: usize,
    ) -> Result<Option<DictionaryArray<Int32Type>>, ArrowError> {
        let values = column.values().as_string::<i32>();
        if !is_same(values, &self.source) {
            self.source = values.clone();
            self.places = vec![UNKNOWN; values.len()];
        }
        let used = self.used(column);
        let missing: Vec<usize> = used.iter().copied().filter(|at| !self.find(*at)).collect();
        if !missing.is_empty() && !self.grow(&missing) {
            let bytes: usize = used.iter().map(|at| self.source.value(*at).len() + size_of::<i32>()).sum();
            if bytes > limit {
                return Ok(None);
            }
            self.restart(&used);
        }
        let keys = column.keys().iter().map(|key| match key.map(|key| self.places[key as usize]) {
            Some(NULL) | None => None,
            place => place,
        });
        let keys: Int32Array = keys.collect();
        Ok(Some(DictionaryArray::try_new(keys, Arc::new(self.sent.clone()))?))
    }

    /// The places of the values that the rows use, each once.
    fn used(&mut self, column: &DictionaryArray<Int32Type>) -> Vec<usize> {
        let mut seen = vec![false; self.source.len()];
        let mut used = Vec::new();
        for key in column.keys().iter().flatten() {
            let at = key as usize;
            if !std::mem::replace(&mut seen[at], true) {
                if self.source.is_null(at) {
                    self.places[at] = NULL;
                } else {
                    used.push(at);
                }
            }
        }
        used
    }

    /// Whether the client has a value.
    fn find(&mut self, at: usize) -> bool {
        if self.places[at] == UNKNOWN
            && let Some(place) = self.known.get(self.source.value(at))
        {
            self.places[at] = *place;
        }
        self.places[at] != UNKNOWN
    }

    /// Adds values to what the client has, if it stays small.
    fn grow(&mut self, missing: &[usize]) -> bool {
        let added: usize = missing.iter().map(|at| self.source.value(*at).len()).sum();
        if self.known.len() != self.sent.len()
            || self.sent.len() + missing.len() > MAX_GROWING_VALUES
            || self.sent.value_data().len() + added > MAX_GROWING_BYTES
        {
            return false;
        }
        let mut all: Vec<&str> = self.sent.iter().flatten().collect();
        for at in missing {
            let value = self.source.value(*at);
            // The batch may have it twice.
            self.places[*at] = *self.known.entry(value.into()).or_insert_with(|| {
                all.push(value);
                place(all.len())
            });
        }
        let all = StringArray::from(all);
        self.sent = all;
        true
    }

    /// Begins again with the values of one message.
    fn restart(&mut self, used: &[usize]) {
        self.places.iter_mut().filter(|place| **place != NULL).for_each(|place| *place = UNKNOWN);
        let mut known: HashMap<&str, i32> = HashMap::with_capacity(used.len());
        let mut all = Vec::with_capacity(used.len());
        for at in used {
            let value = self.source.value(*at);
            self.places[*at] = *known.entry(value).or_insert_with(|| {
                all.push(value);
                place(all.len())
            });
        }
        self.sent = StringArray::from(all);
        let may_grow =
            self.sent.len() <= MAX_GROWING_VALUES && self.sent.value_data().len() <= MAX_GROWING_BYTES;
        self.known = if may_grow {
            known.into_iter().map(|(value, place)| (value.into(), place)).collect()
        } else {
            HashMap::new()
        };
    }
}

/// The place of the last of `len` values. There are no more of them than rows in a batch.
fn place(len: usize) -> i32 {
    i32::try_from(len - 1).expect("a batch has fewer than 2^31 rows")
}

fn is_same(a: &StringArray, b: &StringArray) -> bool {
    a.values().ptr_eq(b.values()) && a.offsets().ptr_eq(b.offsets()) && a.nulls() == b.nulls()
}
