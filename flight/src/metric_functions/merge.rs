//! `histogram_merge` and `exp_histogram_merge`.
//!
//! A sum of histograms is a histogram, so arguments, partial states and results have the same columns.

use std::fmt::Debug;
use std::mem::size_of;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, BooleanArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::arguments::{Arguments, Parameter, coerce, spelt, struct_of};
use super::histograms::{
    EXPLICIT, EXPONENTIAL, ExplicitRows, ExponentialRows, explicit_columns, exponential_columns,
};
use super::{explicit, exponential, is_counted};

/// Which histograms are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Explicit,
    Exponential,
}

impl Kind {
    fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::Explicit => &EXPLICIT,
            Self::Exponential => &EXPONENTIAL,
        }
    }
}

/// The sum of the histograms of a group, as a struct with the fields that the arguments are named after.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Merge {
    kind: Kind,
    signature: Signature,
}

impl Merge {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Merge {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Explicit => "histogram_merge",
            Kind::Exponential => "exp_histogram_merge",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerce(self.name(), self.kind.parameters(), 0, given)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(struct_of(self.kind.parameters())))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let fields = struct_of(self.kind.parameters());
        let state = |field: &FieldRef| {
            Arc::new(field.as_ref().clone().with_name(format_state_name(args.name, field.name())))
        };
        Ok(fields.iter().map(state).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(self.name(), &args)?;
        Ok(match self.kind {
            Kind::Explicit => Box::new(One::<explicit::Merged> { sum: None }),
            Kind::Exponential => Box::new(One::<exponential::Merged> { sum: None }),
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(match self.kind {
            Kind::Explicit => Box::new(Groups::<explicit::Merged>::new()),
            Kind::Exponential => Box::new(Groups::<exponential::Merged>::new()),
        })
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        static EXPLICIT_ABOUT: LazyLock<Documentation> =
            LazyLock::new(|| about(Kind::Explicit, "histogram_merge"));
        static EXPONENTIAL_ABOUT: LazyLock<Documentation> =
            LazyLock::new(|| about(Kind::Exponential, "exp_histogram_merge"));
        Some(match self.kind {
            Kind::Explicit => &EXPLICIT_ABOUT,
            Kind::Exponential => &EXPONENTIAL_ABOUT,
        })
    }
}

fn about(kind: Kind, name: &str) -> Documentation {
    let about = match kind {
        Kind::Explicit => "The sum of histograms, on the explicit bounds that all of them have.",
        Kind::Exponential => "The sum of exponential histograms, on the smallest of their scales.",
    };
    Documentation::builder(DOC_SECTION_GENERAL, about, format!("{name}{}", spelt(kind.parameters(), 0)))
        .build()
}

/// # Errors
/// `Plan` — the call says DISTINCT.
pub(super) fn refuse_distinct(function: &str, args: &AccumulatorArgs<'_>) -> Result<()> {
    if args.is_distinct {
        return plan_err!("{function} does not take DISTINCT");
    }
    Ok(())
}

/// A sum of histograms that rows can be added to.
trait Sum: Clone + Debug + Send + Sync + Sized + 'static {
    /// The columns that a sum reads and writes.
    const PARAMETERS: &'static [Parameter];

    type Rows<'a>;

    fn rows(arguments: &Arguments) -> Self::Rows<'_>;

    /// # Errors
    /// `Execution` — the row is not a histogram, or a count passes 64 bits.
    fn add_row(sum: &mut Option<Self>, rows: &Self::Rows<'_>, row: usize) -> Result<()>;

    /// The histogram that a user sees.
    fn finished(self) -> Result<Self>;

    fn columns(sums: &[Option<Self>]) -> Vec<ArrayRef>;

    fn heap_bytes(&self) -> usize;
}

impl Sum for explicit::Merged {
    const PARAMETERS: &'static [Parameter] = &EXPLICIT;

    type Rows<'a> = ExplicitRows<'a>;

    fn rows(arguments: &Arguments) -> ExplicitRows<'_> {
        ExplicitRows::new(arguments, 0)
    }

    fn add_row(sum: &mut Option<Self>, rows: &ExplicitRows<'_>, row: usize) -> Result<()> {
        match (rows.get(row)?, sum) {
            (None, _) => Ok(()),
            (Some(buckets), Some(sum)) => sum.add(buckets),
            (Some(buckets), empty) => {
                *empty = Some(buckets.into());
                Ok(())
            }
        }
    }

    fn finished(self) -> Result<Self> {
        Ok(self)
    }

    fn columns(sums: &[Option<Self>]) -> Vec<ArrayRef> {
        explicit_columns(sums)
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }
}

impl Sum for exponential::Merged {
    const PARAMETERS: &'static [Parameter] = &EXPONENTIAL;

    type Rows<'a> = ExponentialRows<'a>;

    fn rows(arguments: &Arguments) -> ExponentialRows<'_> {
        ExponentialRows::new(arguments, 0)
    }

    fn add_row(sum: &mut Option<Self>, rows: &ExponentialRows<'_>, row: usize) -> Result<()> {
        match (rows.get(row)?, sum) {
            (None, _) => Ok(()),
            (Some(buckets), Some(sum)) => sum.add(&buckets),
            (Some(buckets), empty) => {
                *empty = Some(Self::try_new(&buckets)?);
                Ok(())
            }
        }
    }

    fn finished(self) -> Result<Self> {
        self.finished()
    }

    fn columns(sums: &[Option<Self>]) -> Vec<ArrayRef> {
        exponential_columns(sums)
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }
}

fn finished_struct<S: Sum>(sums: Vec<Option<S>>) -> Result<StructArray> {
    let finished =
        sums.into_iter().map(|sum| sum.map(S::finished).transpose()).collect::<Result<Vec<_>>>()?;
    let nulls: NullBuffer = finished.iter().map(Option::is_some).collect();
    Ok(StructArray::new(struct_of(S::PARAMETERS), S::columns(&finished), Some(nulls)))
}

/// The sum of one group.
#[derive(Debug)]
struct One<S> {
    sum: Option<S>,
}

impl<S: Sum> Accumulator for One<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let arguments = Arguments::from(values).with_whole_counts(S::PARAMETERS, 0)?;
        let rows = S::rows(&arguments);
        (0..values[0].len()).try_for_each(|row| S::add_row(&mut self.sum, &rows, row))
    }

    // As a window function it is asked after each row, so the sum stays.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Struct(Arc::new(finished_struct(vec![self.sum.clone()])?)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sum.as_ref().map_or(0, S::heap_bytes)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = S::columns(&[self.sum.take()]);
        columns.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}

/// The sums of all groups.
struct Groups<S> {
    sums: Vec<Option<S>>,
    /// What the sums hold beyond their own size, kept up to date: it is asked for after each batch.
    heap_bytes: usize,
}

impl<S: Sum> Groups<S> {
    fn new() -> Self {
        Self { sums: Vec::new(), heap_bytes: 0 }
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Option<S>> {
        let taken = emit_to.take_needed(&mut self.sums);
        self.heap_bytes -= taken.iter().flatten().map(S::heap_bytes).sum::<usize>();
        taken
    }
}

impl<S: Sum> GroupsAccumulator for Groups<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums.resize(total_num_groups, None);
        let arguments = Arguments::from(values).with_whole_counts(S::PARAMETERS, 0)?;
        let rows = S::rows(&arguments);
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| is_counted(opt_filter, *row)) {
            let sum = &mut self.sums[*group];
            let before = sum.as_ref().map_or(0, S::heap_bytes);
            S::add_row(sum, &rows, row)?;
            self.heap_bytes = self.heap_bytes - before + sum.as_ref().map_or(0, S::heap_bytes);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(finished_struct(self.take(emit_to))?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(S::columns(&self.take(emit_to)))
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let each_its_own: Vec<_> = (0..values[0].len()).collect();
        let mut groups = Self::new();
        groups.update_batch(values, &each_its_own, opt_filter, each_its_own.len())?;
        groups.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Option<S>>() + self.heap_bytes
    }
}
