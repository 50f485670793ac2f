//! [`Given`]: the columns that came, by name, and the types that each may have.
//!
//! A column is accepted in any encoding and width that holds the same values: what a server sends of a table, under whatever
//! wire profile, can be sent back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Int32Array, ListArray, RecordBatch, RunArray,
    StructArray,
};
use arrow::compute::kernels::cmp::neq;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Int16Type, Int32Type, Int64Type, RunEndIndexType, Schema, TimeUnit,
};
use arrow::json::ReaderBuilder;

use alula_catalog::Signal;

use super::columns::{Bools, Column, Ids, Lists, Numbers, Texts, Times};
use super::{Fault, Read};

/// More than any table has. They are looked for one after the other.
const MAX_COLUMNS: usize = 200;

/// Columns of a batch, or fields of the structs in a list, of which nobody has asked for yet.
pub(super) struct Given {
    /// What stands in front of a name, for errors.
    prefix: String,
    table: &'static str,
    columns: Vec<(String, ArrayRef)>,
}

/// A column without its encoding.
struct Unpacked {
    name: String,
    /// Where the value of a row is; none if it is at the place of the row.
    keys: Option<Int32Array>,
    values: ArrayRef,
}

impl Given {
    pub(super) fn of_batch(signal: Signal, batch: &RecordBatch) -> Read<Self> {
        let table = signal.table_name();
        let given = Self { prefix: String::new(), table, columns: Vec::with_capacity(batch.num_columns()) };
        let schema = batch.schema();
        given.with(schema.fields().iter().map(|field| field.name().as_str()).zip(batch.columns()))
    }

    /// Fields of the structs in the list `name`.
    pub(super) fn of_structs(&self, name: &str, structs: &StructArray) -> Read<Self> {
        if structs.null_count() > 0 {
            let what = "has a null among the items of a list: leave it out of the list";
            return Err(Fault::of_column(name, what));
        }
        let given = Self { prefix: format!("{name}."), table: self.table, columns: Vec::new() };
        given.with(structs.fields().iter().map(|field| field.name().as_str()).zip(structs.columns()))
    }

    fn with<'a>(mut self, columns: impl Iterator<Item = (&'a str, &'a ArrayRef)>) -> Read<Self> {
        for (name, column) in columns {
            if self.columns.len() == MAX_COLUMNS {
                let what = format!("is one of more than {MAX_COLUMNS} columns, which no table has");
                return Err(Fault::of_column(&self.named(name), what));
            }
            if self.has(name) {
                return Err(Fault::of_column(&self.named(name), "is there twice: give each column once"));
            }
            self.columns.push((name.to_owned(), Arc::clone(column)));
        }
        Ok(self)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|(given, _)| given == name)
    }

    /// The type of a column that is there.
    pub(super) fn type_of(&self, name: &str) -> Option<&DataType> {
        self.columns.iter().find(|(given, _)| given == name).map(|(_, column)| column.data_type())
    }

    /// Takes the column `given` for `name`.
    pub(super) fn rename(&mut self, given: &str, name: &str) {
        if let Some((column, _)) = self.columns.iter_mut().find(|(column, _)| column == given) {
            name.clone_into(column);
        }
    }

    /// # Errors
    /// One of them is missing.
    pub(super) fn require(&self, names: &[&str]) -> Read<()> {
        match names.iter().find(|name| !self.has(name)) {
            None => Ok(()),
            Some(name) => {
                let what = format!("is missing; rows for {} need {}", self.table, names.join(", "));
                Err(Fault::of_column(&self.named(name), what))
            }
        }
    }

    /// Leaves out what the server makes itself.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        self.columns.retain(|(given, _)| !names.contains(&given.as_str()));
    }

    /// # Errors
    /// There is a column that nobody has asked for.
    pub(super) fn finish(self) -> Read<()> {
        match self.columns.first() {
            None => Ok(()),
            Some((name, _)) => {
                let what = format!(
                    "is none of the columns of {}: leave it out, or put its values into attributes (JSON text)",
                    self.table
                );
                Err(Fault::of_column(&self.named(name), what))
            }
        }
    }

    pub(super) fn texts(&mut self, name: &str) -> Read<Texts> {
        let Some(column) = self.take(name)? else { return Ok(Column::absent(self.named(name))) };
        let Some(texts) = column.texts()? else {
            return Err(column.wrong_type("text"));
        };
        Ok(column.with(texts.as_string::<i32>().clone()))
    }

    pub(super) fn bools(&mut self, name: &str) -> Read<Bools> {
        let Some(column) = self.take(name)? else { return Ok(Column::absent(self.named(name))) };
        let values: Option<&BooleanArray> = column.values.as_boolean_opt();
        let values = values.cloned().ok_or_else(|| column.wrong_type("a boolean"))?;
        Ok(column.with(values))
    }

    /// Any numbers that `T` can hold exactly.
    pub(super) fn numbers<T: ArrowPrimitiveType>(&mut self, name: &str) -> Read<Numbers<T>> {
        let Some(column) = self.take(name)? else { return Ok(Column::absent(self.named(name))) };
        let values = column.numbers::<T>()?;
        Ok(column.with(values.as_primitive::<T>().clone()))
    }

    pub(super) fn times(&mut self, name: &str) -> Read<Times> {
        let Some(column) = self.take(name)? else { return Ok(Times::absent(self.named(name))) };
        let DataType::Timestamp(unit, _) = column.values.data_type() else {
            return Err(column.wrong_type("a timestamp"));
        };
        let nanoseconds = match unit {
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1_000,
            TimeUnit::Nanosecond => 1,
        };
        // The instants, whatever the zone; those without one are in UTC.
        let ticks = column.cast(&column.values, &DataType::Int64)?;
        Ok(Times::new(column.with(ticks.as_primitive::<Int64Type>().clone()), nanoseconds))
    }

    /// Hexadecimal text, or bytes.
    pub(super) fn ids(&mut self, name: &str) -> Read<Ids> {
        use DataType as T;
        let Some(column) = self.take(name)? else { return Ok(Ids::Text(Column::absent(self.named(name)))) };
        if let Some(texts) = column.texts()? {
            return Ok(Ids::Text(column.with(texts.as_string::<i32>().clone())));
        }
        match column.values.data_type() {
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => {
                let bytes = column.cast(&column.values, &T::Binary)?;
                Ok(Ids::Bytes(column.with(bytes.as_binary::<i32>().clone())))
            }
            _ => Err(column.wrong_type("text in hexadecimal")),
        }
    }

    pub(super) fn number_lists<T: ArrowPrimitiveType>(&mut self, name: &str) -> Read<Lists<Numbers<T>>> {
        let item = Field::new_list_field(T::DATA_TYPE, true);
        let Some((column, lists)) = self.lists(name, item)? else { return Ok(Lists::absent()) };
        let mut items = Given {
            prefix: String::new(),
            table: self.table,
            columns: vec![(column.name.clone(), Arc::clone(lists.values()))],
        };
        let items = items.numbers::<T>(&column.name).map_err(|fault| column.fault_in(&lists, fault))?;
        Ok(Lists::new(column.with(lists), items))
    }

    /// Lists of structs, whose fields `read` asks for: some of `fields`, or all of them if they came as JSON text.
    pub(super) fn struct_lists<T>(
        &mut self,
        name: &str,
        fields: &Fields,
        read: impl FnOnce(&mut Given) -> Read<T>,
    ) -> Read<Lists<T>> {
        let item = Field::new_list_field(DataType::Struct(fields.iter().map(in_json).collect()), true);
        let Some((column, lists)) = self.lists(name, item)? else { return Ok(Lists::absent()) };
        let Some(structs) = lists.values().as_struct_opt() else {
            return Err(column.wrong_type("a list of structs"));
        };
        let mut fields = self.of_structs(&column.name, structs)?;
        let items = read(&mut fields).map_err(|fault| column.fault_in(&lists, fault))?;
        fields.finish()?;
        Ok(Lists::new(column.with(lists), items))
    }

    fn lists(&mut self, name: &str, item: Field) -> Read<Option<(Unpacked, ListArray)>> {
        use DataType as T;
        let Some(column) = self.take(name)? else { return Ok(None) };
        let lists = match column.values.data_type() {
            T::List(_) => column.values.as_list::<i32>().clone(),
            T::LargeList(item) | T::ListView(item) | T::LargeListView(item) | T::FixedSizeList(item, _) => {
                let list = T::List(Arc::clone(item));
                column.cast(&column.values, &list)?.as_list::<i32>().clone()
            }
            _ => match column.texts()? {
                Some(texts) => column.lists_of_json(&texts, item)?,
                None => return Err(column.wrong_type("a list")),
            },
        };
        Ok(Some((column, lists)))
    }

    /// A column of nulls alone is as good as none.
    fn take(&mut self, name: &str) -> Read<Option<Unpacked>> {
        let Some(index) = self.columns.iter().position(|(given, _)| given == name) else { return Ok(None) };
        let (_, column) = self.columns.swap_remove(index);
        let column = Unpacked::of(self.named(name), &column)?;
        Ok(Some(column).filter(|column| column.values.data_type() != &DataType::Null))
    }

    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Unpacked {
    fn of(name: String, column: &ArrayRef) -> Read<Self> {
        match column.data_type() {
            DataType::Dictionary(..) => {
                let dictionary = column.as_any_dictionary();
                let values = Arc::clone(dictionary.values());
                let keys = cast_with_options(dictionary.keys(), &DataType::Int32, &CHECKED)
                    .map_err(|_| Fault::of_column(&name, "has keys past 2^31: send it as plain values"))?;
                Ok(Self { name, keys: Some(keys.as_primitive::<Int32Type>().clone()), values })
            }
            DataType::RunEndEncoded(run_ends, _) => {
                let (keys, values) = match run_ends.data_type() {
                    DataType::Int16 => runs(column.as_run::<Int16Type>()),
                    DataType::Int32 => runs(column.as_run::<Int32Type>()),
                    _ => runs(column.as_run::<Int64Type>()),
                };
                Ok(Self { name, keys: Some(keys), values })
            }
            _ => Ok(Self { name, keys: None, values: Arc::clone(column) }),
        }
    }

    fn with<V>(self, values: V) -> Column<V> {
        Column::new(self.name, self.keys, values)
    }

    /// The values as `Utf8`, if they are text.
    fn texts(&self) -> Read<Option<ArrayRef>> {
        match self.values.data_type() {
            DataType::Utf8 => Ok(Some(Arc::clone(&self.values))),
            DataType::LargeUtf8 | DataType::Utf8View => self.cast(&self.values, &DataType::Utf8).map(Some),
            _ => Ok(None),
        }
    }

    fn numbers<T: ArrowPrimitiveType>(&self) -> Read<ArrayRef> {
        let (given, wanted) = (self.values.data_type(), T::DATA_TYPE);
        let what = if wanted.is_floating() { "a number" } else { "an integer" };
        let is_number = given.is_numeric() && can_cast_types(given, &wanted);
        if !is_number {
            return Err(self.wrong_type(what));
        }
        let numbers = self.cast(&self.values, &wanted)?;
        // A cast to integers cuts off what is behind the point; one of integers to doubles rounds what is past 2^53.
        if wanted.is_floating() == given.is_integer() {
            let back = self.cast(&numbers, given)?;
            let differs = neq(&back, &self.values).map_err(|_| self.wrong_type(what))?;
            if let Some(index) = differs.iter().position(|differs| differs == Some(true)) {
                return Err(self.fault_at(index, format!("has no equal of the type {wanted}")));
            }
        }
        Ok(numbers)
    }

    /// Casts, and finds the value that the type cannot hold.
    fn cast(&self, values: &ArrayRef, to: &DataType) -> Read<ArrayRef> {
        if values.data_type() == to {
            return Ok(Arc::clone(values));
        }
        let cast = cast_with_options(values, to, &UNCHECKED);
        let cast =
            cast.map_err(|_| Fault::of_column(&self.name, format!("cannot be taken as {to}: cast it")))?;
        let is_lost = |index: &usize| values.is_valid(*index) && cast.is_null(*index);
        match (0..cast.len()).find(is_lost) {
            None => Ok(cast),
            Some(index) => Err(self.fault_at(index, format!("does not fit {to}"))),
        }
    }

    /// Lists that came as JSON text.
    fn lists_of_json(&self, texts: &ArrayRef, item: Field) -> Read<ListArray> {
        const FIELD: &str = "list";
        let texts = texts.as_string::<i32>();
        let broken = |_| Fault::of_column(&self.name, "is text and not the JSON of a list of this column");
        let item = Arc::new(item);
        // There is no row for the reader to begin with.
        if texts.is_empty() {
            return Ok(ListArray::new_null(item, 0));
        }
        let list = Field::new(FIELD, DataType::List(item), true);
        // One more than there are: a text that ends its row and begins another shows.
        let builder = ReaderBuilder::new(Arc::new(Schema::new(vec![list])))
            .with_batch_size(texts.len() + 1)
            .with_strict_mode(true);
        let mut decoder = builder.build_decoder().map_err(broken)?;
        for text in texts {
            for part in ["{\"list\":", text.unwrap_or("null"), "}\n"] {
                decoder.decode(part.as_bytes()).map_err(broken)?;
            }
        }
        let rows = decoder.flush().map_err(broken)?;
        let rows = rows.filter(|rows| rows.num_rows() == texts.len());
        match rows.as_ref().and_then(|rows| rows.column_by_name(FIELD)) {
            Some(lists) => Ok(lists.as_list::<i32>().clone()),
            None => Err(Fault::of_column(&self.name, "is text and not the JSON of a list of this column")),
        }
    }

    fn wrong_type(&self, wanted: &str) -> Fault {
        Fault::of_column(
            &self.name,
            format!("has the type {} and must be {wanted}: cast it", self.values.data_type()),
        )
    }

    /// What is wrong with an item, as that of the row whose list it is in.
    fn fault_in(&self, lists: &ListArray, fault: Fault) -> Fault {
        let ends = &lists.value_offsets()[1..];
        let list = fault.row.map(|item| ends.partition_point(|end| *end as usize <= item));
        match list {
            Some(list) => Fault { row: self.fault_at(list, String::new()).row, ..fault },
            None => fault,
        }
    }

    /// What is wrong with the value at `index`, which is that of some row.
    fn fault_at(&self, index: usize, what: String) -> Fault {
        let row = match &self.keys {
            None => Some(index),
            Some(keys) => keys.iter().position(|key| key.is_some_and(|key| key as usize == index)),
        };
        Fault { row, column: self.name.clone(), what }
    }
}

/// A field as it is read from JSON, whose times say themselves in which zone they are.
fn in_json(field: &FieldRef) -> Field {
    let data_type = match field.data_type() {
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
        other => other.clone(),
    };
    Field::new(field.name(), data_type, true)
}

const CHECKED: CastOptions<'static> = CastOptions { safe: false, ..UNCHECKED };
const UNCHECKED: CastOptions<'static> =
    CastOptions { safe: true, format_options: arrow::util::display::FormatOptions::new() };

fn runs<R: RunEndIndexType>(column: &RunArray<R>) -> (Int32Array, ArrayRef) {
    let keys = (0..column.len()).map(|row| column.get_physical_index(row) as i32);
    (Int32Array::from_iter_values(keys), Arc::clone(column.values()))
}
