//! NaN is in no statistic of a Parquet file, and above every number to a comparison.

use alula_catalog::Signal;
use alula_catalog::schema::{TENANT_ID, TIMESTAMP, VALUE, entry_schema};
use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Float64Array, Int32Array, RecordBatch, TimestampNanosecondArray,
    UInt64Array, new_null_array,
};
use arrow::datatypes::{Field, Float32Type, Int32Type, Int64Type, Schema};
use tempfile::tempdir;

use super::super::tests::query;
use super::*;
use crate::testing::{config, open};
use crate::user_tables::testing::append;
use crate::{CreateMode, Entry, Storage};

const VALUES: [f64; 2] = [1.0, f64::NAN];

/// Rows of `metrics` with [`VALUES`], in a file.
async fn store_metrics(storage: &Storage, tenant: &TenantId) {
    let schema = entry_schema(Signal::Metrics);
    let repeated =
        |text: &str| Arc::new([text; 2].into_iter().collect::<DictionaryArray<Int32Type>>()) as ArrayRef;
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match (field.name().as_str(), field.data_type()) {
            (VALUE, _) => Arc::new(Float64Array::from(VALUES.to_vec())),
            (TENANT_ID, _) => repeated(tenant.as_str()),
            (TIMESTAMP, _) => Arc::new(TimestampNanosecondArray::from(vec![1, 2]).with_timezone("UTC")),
            (_, data_type) if field.is_nullable() => new_null_array(data_type, 2),
            (_, DataType::Dictionary(..)) => repeated(""),
            (_, DataType::UInt64) => Arc::new(UInt64Array::from(vec![1, 2])),
            (_, DataType::Int32) => Arc::new(Int32Array::from(vec![1, 2])),
            (_, DataType::Timestamp(..)) => {
                Arc::new(TimestampNanosecondArray::from(vec![1, 2]).with_timezone("UTC"))
            }
            (name, other) => panic!("no values for {name}, a {other}"),
        }
    });
    let entry = Entry {
        tenant: tenant.clone(),
        signal: Signal::Metrics,
        received_ns: 1,
        batch_id: None,
        payload: bytes::Bytes::from_static(b"x"),
        rejected: Vec::new(),
        batch: RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap(),
    };
    storage.append(entry).await.unwrap();
    storage.flush().await.unwrap();
}

#[tokio::test]
async fn a_row_with_nan_is_found_in_files() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let tenant: TenantId = "a".parse().unwrap();
    store_metrics(&storage, &tenant).await;
    let narrow: ArrayRef = Arc::new(arrow::array::Float32Array::from(vec![1.0, f32::NAN]));
    assert!(narrow.as_primitive::<Float32Type>().value(1).is_nan());
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let schema =
        Arc::new(Schema::new(vec![field("value", DataType::Float64), field("narrow", DataType::Float32)]));
    let values: ArrayRef = Arc::new(Float64Array::from(VALUES.to_vec()));
    let rows = RecordBatch::try_new(Arc::clone(&schema), vec![values, narrow]).unwrap();
    let mut transaction = storage.begin_user_transaction(&tenant);
    transaction.create_table("own", &schema, CreateMode::New).unwrap();
    append(&mut transaction, "own", &rows).unwrap();
    transaction.commit().await.unwrap();

    for (table, column) in [("metrics", "value"), ("own", "value"), ("own", "narrow")] {
        for filter in ["> 5", "<> 1", "= 'NaN'::double", ">= 1.5"] {
            let sql = format!("SELECT count(*) FROM {table} WHERE {column} {filter}");
            let found = query(&storage, "a", &sql).await.unwrap();
            assert_eq!(found[0].column(0).as_primitive::<Int64Type>().value(0), 1, "{sql}");
        }
        let sql = format!("SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1");
        let found = query(&storage, "a", &sql).await.unwrap();
        let largest = arrow::compute::cast(found[0].column(0), &DataType::Float64).unwrap();
        assert!(largest.as_primitive::<arrow::datatypes::Float64Type>().value(0).is_nan(), "{sql}");
    }
}
