//! `GetSqlInfo`: what this server is and can do.
//!
//! All standard codes and no others: JDBC up to 18.3 fails on a missing code, and every JDBC on an unknown one. The type
//! of each value is fixed by the code (ODBC reads it without looking). Nothing is claimed that does not work.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use alula_storage::{
    MAX_USER_COLUMN_NAME_BYTES, MAX_USER_TABLE_COLUMNS, MAX_USER_TABLE_NAME_BYTES, MAX_USER_TABLE_ROW_BYTES,
};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UnionArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, UInt32Type};
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity, SqlSupportedGroupBy,
    SqlSupportedResultSetConcurrency, SqlSupportedResultSetType, SqlSupportedSubqueries,
    SqlSupportedTransaction, SqlSupportedUnions, SqlSupportsConvert, SqlTransactionIsolationLevel,
    SupportedSqlGrammar,
};

use crate::context::{Config, QueryContext, QueryEngine};
use crate::metadata::failed;
use crate::parse::MAX_TABLES;
use crate::{Result, ticket, transaction};

/// Words that have a meaning here and none in SQL:2003.
const KEYWORDS: [&str; 12] = [
    "ANTI", "EXPLAIN", "FORMAT", "ILIKE", "LIMIT", "OFFSET", "QUALIFY", "SEMI", "SHOW", "TRY_CAST", "VACUUM",
    "VERBOSE",
];

/// The specified schema. The builder's lets the last two types of value be null.
pub(crate) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let fields = SqlInfoDataBuilder::schema().fields().iter().map(|field| match field.data_type() {
            DataType::Union(values, mode) => {
                let required = |(id, value): (i8, &FieldRef)| {
                    (id, Arc::new(value.as_ref().clone().with_nullable(false)))
                };
                let values = values.iter().map(required).collect();
                Arc::new(field.as_ref().clone().with_data_type(DataType::Union(values, *mode)))
            }
            _ => Arc::clone(field),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    });
    Arc::clone(&SCHEMA)
}

/// The rows for the codes asked for; all rows if none is.
pub(crate) fn rows(infos: &SqlInfoData, codes: Vec<u32>) -> Result<RecordBatch> {
    let batch = infos.record_batch([]).map_err(failed)?;
    // Not by the builder, which makes an array for each code, however often that is asked for.
    let wanted: HashSet<u32> = codes.into_iter().collect();
    let is_wanted = |code: &u32| wanted.is_empty() || wanted.contains(code);
    let known = batch.column(0).as_primitive::<UInt32Type>().values();
    let batch = filter_record_batch(&batch, &known.iter().map(|code| Some(is_wanted(code))).collect())?;
    // The builder's batch has the nullability of its arrays; clients compare with the specified schema.
    let schema = schema();
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        let DataType::Union(values, _) = field.data_type() else { return Ok(Arc::clone(column)) };
        let (_, ids, offsets, children) = column.as_union().clone().into_parts();
        Ok(Arc::new(UnionArray::try_new(values.clone(), ids, offsets, children)?) as ArrayRef)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// What the server is to each kind of caller.
pub(crate) struct SqlInfos {
    reader: SqlInfoData,
    /// May write tables of the tenant's own; an administrator may delete rows, too.
    writer: SqlInfoData,
}

impl SqlInfos {
    pub(crate) fn try_new(engine: &QueryEngine, config: &Config) -> Result<Self> {
        Ok(Self { reader: build(engine, config, true)?, writer: build(engine, config, false)? })
    }

    pub(crate) fn of(&self, context: &QueryContext) -> &SqlInfoData {
        if context.can_write { &self.writer } else { &self.reader }
    }
}

/// The table of all codes.
fn build(engine: &QueryEngine, config: &Config, is_read_only: bool) -> Result<SqlInfoData> {
    let mut infos = SqlInfoDataBuilder::new();
    infos.append(SqlInfo::FlightSqlServerReadOnly, is_read_only);
    server(&mut infos, config, !is_read_only);
    language(&mut infos, engine);
    limits(&mut infos, config);
    infos.build().map_err(failed)
}

fn server(infos: &mut SqlInfoDataBuilder, config: &Config, can_write: bool) {
    infos.append(SqlInfo::FlightSqlServerName, "Alula");
    infos.append(SqlInfo::FlightSqlServerVersion, config.server_version.as_str());
    infos.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    infos.append(SqlInfo::FlightSqlServerSql, true);
    infos.append(SqlInfo::FlightSqlServerSubstrait, false);
    infos.append(SqlInfo::FlightSqlServerSubstraitMinVersion, "");
    infos.append(SqlInfo::FlightSqlServerSubstraitMaxVersion, "");
    infos.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::Transaction as i32);
    infos.append(SqlInfo::FlightSqlServerCancel, true);
    infos.append(SqlInfo::FlightSqlServerBulkIngestion, can_write);
    infos.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, can_write);
    // How long handles of prepared statements and transactions are good for. What a transaction has written is kept for less.
    let milliseconds = |lifetime: Duration| i32::try_from(lifetime.as_millis()).unwrap_or(i32::MAX);
    infos.append(SqlInfo::FlightSqlServerStatementTimeout, milliseconds(ticket::LIFETIME));
    infos.append(SqlInfo::FlightSqlServerTransactionTimeout, milliseconds(transaction::LIFETIME));
    infos.append(SqlInfo::SqlDdlCatalog, false);
    infos.append(SqlInfo::SqlDdlSchema, false);
    infos.append(SqlInfo::SqlDdlTable, can_write);
    infos.append(SqlInfo::SqlAllTablesAreSelectable, true);
    infos.append(SqlInfo::SqlSchemaTerm, "schema");
    infos.append(SqlInfo::SqlProcedureTerm, "");
    infos.append(SqlInfo::SqlCatalogTerm, "catalog");
    infos.append(SqlInfo::SqlCatalogAtStart, true);
    infos.append(SqlInfo::SqlSchemasSupportedActions, 0_i32);
    infos.append(SqlInfo::SqlCatalogsSupportedActions, 0_i32);
    infos.append(SqlInfo::SqlSupportedPositionedCommands, 0_i32);
    infos.append(SqlInfo::SqlSelectForUpdateSupported, false);
    infos.append(SqlInfo::SqlStoredProceduresSupported, false);
    infos.append(
        SqlInfo::SqlDefaultTransactionIsolation,
        i64::from(SqlTransactionIsolationLevel::SqlTransactionRepeatableRead as i32),
    );
    infos.append(SqlInfo::SqlTransactionsSupported, true);
    infos.append(
        SqlInfo::SqlSupportedTransactionsIsolationLevels,
        bits(&[SqlTransactionIsolationLevel::SqlTransactionRepeatableRead as i32]),
    );
    infos.append(SqlInfo::SqlDataDefinitionCausesTransactionCommit, false);
    infos.append(SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false);
    infos.append(
        SqlInfo::SqlSupportedResultSetTypes,
        bits(&[SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32]),
    );
    infos.append(SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified, 0_i32);
    infos.append(
        SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly,
        bits(&[SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32]),
    );
    infos.append(SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0_i32);
    infos.append(SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0_i32);
    infos.append(SqlInfo::SqlBatchUpdatesSupported, can_write);
    // There are savepoints, but no way back to one after a write, which is what they are for.
    infos.append(SqlInfo::SqlSavepointsSupported, false);
    infos.append(SqlInfo::SqlNamedParametersSupported, false);
    infos.append(SqlInfo::SqlLocatorsUpdateCopy, false);
    infos.append(SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false);
}

fn language(infos: &mut SqlInfoDataBuilder, engine: &QueryEngine) {
    infos.append(
        SqlInfo::SqlIdentifierCase,
        i64::from(SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32),
    );
    infos.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    infos.append(
        SqlInfo::SqlQuotedIdentifierCase,
        i64::from(SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32),
    );
    infos.append(SqlInfo::SqlNullOrdering, i64::from(SqlNullOrdering::SqlNullsSortedHigh as i32));
    infos.append(SqlInfo::SqlKeywords, &KEYWORDS[..]);
    infos.append(SqlInfo::SqlNumericFunctions, engine.function_names(&["Math Functions"]));
    infos.append(
        SqlInfo::SqlStringFunctions,
        engine.function_names(&[
            "String Functions",
            "Regular Expression Functions",
            "Binary String Functions",
        ]),
    );
    infos.append(
        SqlInfo::SqlSystemFunctions,
        engine.function_names(&["Conditional Functions", "Other Functions"]),
    );
    infos.append(SqlInfo::SqlDatetimeFunctions, engine.function_names(&["Time and Date Functions"]));
    infos.append(SqlInfo::SqlSearchStringEscape, "\\");
    infos.append(SqlInfo::SqlExtraNameCharacters, "");
    infos.append(SqlInfo::SqlSupportsColumnAliasing, true);
    infos.append(SqlInfo::SqlNullPlusNullIsNull, true);
    infos.append(SqlInfo::SqlSupportsConvert, conversions());
    infos.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    infos.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    infos.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    infos.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    infos.append(
        SqlInfo::SqlSupportedGroupBy,
        bits(&[
            SqlSupportedGroupBy::SqlGroupByUnrelated as i32,
            SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32,
        ]),
    );
    infos.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    infos.append(SqlInfo::SqlSupportsNonNullableColumns, true);
    infos.append(
        SqlInfo::SqlSupportedGrammar,
        bits(&[
            SupportedSqlGrammar::SqlMinimumGrammar as i32,
            SupportedSqlGrammar::SqlCoreGrammar as i32,
            SupportedSqlGrammar::SqlExtendedGrammar as i32,
        ]),
    );
    // Bit 0 is the entry level.
    infos.append(SqlInfo::SqlAnsi92SupportedLevel, bits(&[0]));
    infos.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, false);
    infos.append(
        SqlInfo::SqlOuterJoinsSupportLevel,
        bits(&[
            SqlOuterJoinsSupportLevel::SqlLimitedOuterJoins as i32,
            SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32,
        ]),
    );
    infos.append(
        SqlInfo::SqlSupportedSubqueries,
        bits(&[
            SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
            SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
            SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
            SqlSupportedSubqueries::SqlSubqueriesInQuantifieds as i32,
        ]),
    );
    infos.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    infos.append(
        SqlInfo::SqlSupportedUnions,
        bits(&[SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32]),
    );
}

/// Longest names, most columns and so on. 0 means that there is no limit or that it is not known.
fn limits(infos: &mut SqlInfoDataBuilder, config: &Config) {
    let statement = i64::try_from(config.max_sql_bytes).unwrap_or(i64::MAX);
    let unlimited = [
        SqlInfo::SqlMaxBinaryLiteralLength,
        SqlInfo::SqlMaxCharLiteralLength,
        SqlInfo::SqlMaxColumnsInGroupBy,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInOrderBy,
        SqlInfo::SqlMaxColumnsInSelect,
        SqlInfo::SqlMaxConnections,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxStatements,
        SqlInfo::SqlMaxUsernameLength,
    ];
    for code in unlimited {
        infos.append(code, 0_i64);
    }
    infos.append(SqlInfo::SqlMaxTablesInSelect, MAX_TABLES as i64);
    // Of the tables that SQL makes.
    infos.append(SqlInfo::SqlMaxColumnsInTable, MAX_USER_TABLE_COLUMNS as i64);
    infos.append(SqlInfo::SqlMaxTableNameLength, MAX_USER_TABLE_NAME_BYTES as i64);
    infos.append(SqlInfo::SqlMaxColumnNameLength, MAX_USER_COLUMN_NAME_BYTES as i64);
    infos.append(SqlInfo::SqlMaxRowSize, MAX_USER_TABLE_ROW_BYTES as i64);
    infos.append(SqlInfo::SqlMaxRowSizeIncludesBlobs, true);
    infos.append(SqlInfo::SqlMaxStatementLength, statement);
}

fn bits(positions: &[i32]) -> i32 {
    positions.iter().fold(0, |mask, position| mask | 1 << position)
}

/// What `CAST` makes of what.
fn conversions() -> BTreeMap<i32, Vec<i32>> {
    use SqlSupportsConvert as C;
    let numbers = [
        C::SqlConvertTinyint,
        C::SqlConvertSmallint,
        C::SqlConvertInteger,
        C::SqlConvertBigint,
        C::SqlConvertReal,
        C::SqlConvertFloat,
        C::SqlConvertDecimal,
    ];
    let times = [C::SqlConvertDate, C::SqlConvertTimestamp];
    let text = [C::SqlConvertVarchar];
    let codes = |lists: &[&[C]]| lists.concat().into_iter().map(|code| code as i32).collect::<Vec<_>>();
    let mut map = BTreeMap::new();
    for number in numbers {
        map.insert(number as i32, codes(&[&numbers, &text]));
    }
    for time in times {
        map.insert(time as i32, codes(&[&times, &text]));
    }
    map.insert(C::SqlConvertVarchar as i32, codes(&[&numbers, &times, &text, &[C::SqlConvertBit]]));
    map.insert(C::SqlConvertBit as i32, codes(&[&text, &[C::SqlConvertBit]]));
    map
}

#[cfg(test)]
mod tests;
