//! The catalog a query sees: one tenant's tables, and `information_schema` about them.
//!
//! DataFusion can add `information_schema` by itself, but then with `df_settings`, which tells memory limits and
//! directories. Here that table stays empty.

mod comments;

use std::sync::Arc;

use alula_storage::table::CATALOG_NAME;
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::information_schema::{INFORMATION_SCHEMA, InformationSchemaProvider};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProviderList, SchemaProvider, TableProvider,
};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;

pub(crate) use comments::comment;

/// The one table of `information_schema` that is about the server and not about the tenant.
const SETTINGS: &str = "df_settings";

/// A list of one catalog: the tenant's.
pub(crate) fn catalog_list(tenant: Arc<dyn CatalogProvider>) -> Arc<dyn CatalogProviderList> {
    // The description must not contain itself, so it is given the tenant's catalog without `information_schema`.
    let described = MemoryCatalogProviderList::new();
    described.register_catalog(CATALOG_NAME.to_owned(), Arc::clone(&tenant));
    let description = InformationSchemaProvider::new(Arc::new(described));
    let catalog =
        DescribedCatalog { tenant, description: Arc::new(TenantDescription { inner: description }) };
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG_NAME.to_owned(), Arc::new(catalog));
    Arc::new(list)
}

#[derive(Debug)]
struct DescribedCatalog {
    tenant: Arc<dyn CatalogProvider>,
    description: Arc<TenantDescription>,
}

impl CatalogProvider for DescribedCatalog {
    fn schema_names(&self) -> Vec<String> {
        let mut names = self.tenant.schema_names();
        names.push(INFORMATION_SCHEMA.to_owned());
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == INFORMATION_SCHEMA {
            return Some(Arc::clone(&self.description) as Arc<dyn SchemaProvider>);
        }
        self.tenant.schema(name)
    }
}

#[derive(Debug)]
struct TenantDescription {
    inner: InformationSchemaProvider,
}

#[async_trait]
impl SchemaProvider for TenantDescription {
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names().into_iter().filter(|name| name != SETTINGS).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = self.inner.table(name).await?;
        match table {
            Some(table) if name.eq_ignore_ascii_case(SETTINGS) => {
                let schema = table.schema();
                let nothing: Arc<dyn PartitionStream> = Arc::new(Nothing { schema: Arc::clone(&schema) });
                Ok(Some(Arc::new(StreamingTable::try_new(schema, vec![nothing])?)))
            }
            table => Ok(table),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}

/// A stream without rows.
#[derive(Debug)]
struct Nothing {
    schema: SchemaRef,
}

impl PartitionStream for Nothing {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = futures::stream::empty::<Result<RecordBatch>>();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
