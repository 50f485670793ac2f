//! The columns that all three tables share, and the walk that fills them.
//!
//! Texts of a resource or a scope are made once, when it is entered; its records only repeat the keys.

use arrow::array::UInt32Builder;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use alula_catalog::schema;

use super::checks::{self, Admission, Limits, Reason};
use super::columns::{Column, Key, NamedColumns, RepeatedText, Times, saturate};
use super::expansion::Expansion;
use super::json::JsonText;
use super::sample::Sample;
use super::{Context, Rejection};

pub(super) const SERVICE_NAME_ATTRIBUTE: &str = "service.name";

/// The time of a row and where it came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timestamp {
    pub(super) ns: i64,
    source: &'static str,
}

/// What every record carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared<'a> {
    pub(super) timestamp: Timestamp,
    pub(super) attributes: &'a [KeyValue],
    /// Data points have no such count.
    pub(super) dropped_attributes_count: Option<u32>,
    pub(super) flags: u32,
}

/// The shared part of a resource's rows.
#[derive(Clone, Copy, Debug)]
struct ResourceKeys {
    attributes: Option<Key>,
    dropped_attributes_count: Option<u32>,
    entity_refs: Option<Key>,
    schema_url: Key,
    service_name: Option<Key>,
    fault: Option<Reason>,
    /// Bytes of the texts above.
    text_bytes: usize,
}

/// The shared part of a scope's rows.
#[derive(Clone, Copy, Debug)]
struct ScopeKeys {
    name: Option<Key>,
    version: Option<Key>,
    attributes: Option<Key>,
    dropped_attributes_count: Option<u32>,
    schema_url: Key,
    fault: Option<Reason>,
    /// Bytes of the texts above.
    text_bytes: usize,
}

/// Builder of the shared columns.
#[derive(Debug)]
pub(super) struct CommonColumns {
    received_ns: i64,
    admission: Admission,
    expansion: Expansion,
    /// Bytes of the current metric's texts.
    metric_text_bytes: usize,
    pub(super) json: JsonText,
    rows: usize,
    /// No record so far took the time of receipt.
    all_timed: bool,
    resource: Option<ResourceKeys>,
    scope: Option<ScopeKeys>,
    tenant: Key,

    timestamp: Times,
    timestamp_source: RepeatedText,
    service_name: RepeatedText,
    attributes: RepeatedText,
    dropped_attributes_count: Column<UInt32Builder>,
    flags: Column<UInt32Builder>,
    resource_attributes: RepeatedText,
    resource_dropped_attributes_count: Column<UInt32Builder>,
    resource_entity_refs: RepeatedText,
    resource_schema_url: RepeatedText,
    scope_name: RepeatedText,
    scope_version: RepeatedText,
    scope_attributes: RepeatedText,
    scope_dropped_attributes_count: Column<UInt32Builder>,
    scope_schema_url: RepeatedText,
    tenant_id: RepeatedText,
    ingested_at: Times,
}

impl CommonColumns {
    pub(super) fn new(context: &Context<'_>, payload_bytes: usize) -> Self {
        let mut tenant_id = RepeatedText::default();
        let tenant = tenant_id.intern(context.tenant.as_str());
        Self {
            received_ns: context.received_ns,
            admission: Admission::new(context.policy),
            expansion: Expansion::of(payload_bytes),
            metric_text_bytes: 0,
            json: JsonText::default(),
            rows: 0,
            all_timed: true,
            resource: None,
            scope: None,
            tenant,
            timestamp: Times::default(),
            timestamp_source: RepeatedText::default(),
            service_name: RepeatedText::default(),
            attributes: RepeatedText::default(),
            dropped_attributes_count: Column::default(),
            flags: Column::default(),
            resource_attributes: RepeatedText::default(),
            resource_dropped_attributes_count: Column::default(),
            resource_entity_refs: RepeatedText::default(),
            resource_schema_url: RepeatedText::default(),
            scope_name: RepeatedText::default(),
            scope_version: RepeatedText::default(),
            scope_attributes: RepeatedText::default(),
            scope_dropped_attributes_count: Column::default(),
            scope_schema_url: RepeatedText::default(),
            tenant_id,
            ingested_at: Times::default(),
        }
    }

    /// Makes `resource` the one that the following scopes belong to.
    pub(super) fn enter_resource(&mut self, resource: Option<&Resource>, schema_url: &str) {
        let mut text_bytes = schema_url.len();
        let schema_url = self.resource_schema_url.intern(schema_url);
        let mut keys = ResourceKeys {
            attributes: None,
            dropped_attributes_count: None,
            entity_refs: None,
            schema_url,
            service_name: None,
            fault: None,
            text_bytes: 0,
        };
        if let Some(resource) = resource {
            keys.fault = checks::depth(&resource.attributes, "resource attributes").err();
            let attributes = self.json.attributes(&resource.attributes);
            text_bytes += attributes.len();
            keys.attributes = Some(self.resource_attributes.intern(attributes));
            keys.dropped_attributes_count = Some(resource.dropped_attributes_count);
            if !resource.entity_refs.is_empty() {
                let refs = self.json.entity_refs(&resource.entity_refs);
                text_bytes += refs.len();
                keys.entity_refs = Some(self.resource_entity_refs.intern(refs));
            }
            let name = service_name(resource);
            text_bytes += name.map_or(0, str::len);
            keys.service_name = name.map(|name| self.service_name.intern(name));
        }
        keys.text_bytes = text_bytes;
        self.resource = Some(keys);
    }

    /// Makes `scope` the one that the following records belong to.
    pub(super) fn enter_scope(&mut self, scope: Option<&InstrumentationScope>, schema_url: &str) {
        let mut text_bytes = schema_url.len();
        let schema_url = self.scope_schema_url.intern(schema_url);
        let mut keys = ScopeKeys {
            name: None,
            version: None,
            attributes: None,
            dropped_attributes_count: None,
            schema_url,
            fault: None,
            text_bytes: 0,
        };
        if let Some(scope) = scope {
            keys.fault = checks::depth(&scope.attributes, "scope attributes").err();
            keys.name = Some(self.scope_name.intern(&scope.name));
            keys.version = Some(self.scope_version.intern(&scope.version));
            let attributes = self.json.attributes(&scope.attributes);
            text_bytes += scope.name.len() + scope.version.len() + attributes.len();
            keys.attributes = Some(self.scope_attributes.intern(attributes));
            keys.dropped_attributes_count = Some(scope.dropped_attributes_count);
        }
        keys.text_bytes = text_bytes;
        self.scope = Some(keys);
    }

    /// Makes a metric whose texts have this length the one that the following points belong to.
    pub(super) fn enter_metric(&mut self, text_bytes: usize) {
        self.metric_text_bytes = text_bytes;
    }

    /// What the identity of a series takes from the resource.
    pub(super) fn resource_text(&self) -> Option<&str> {
        self.resource?.attributes.map(|key| self.resource_attributes.text(key))
    }

    /// What it takes from the scope: name, version, attributes.
    pub(super) fn scope_texts(&self) -> [Option<&str>; 3] {
        let (_, scope) = self.entered();
        [
            scope.name.map(|key| self.scope_name.text(key)),
            scope.version.map(|key| self.scope_version.text(key)),
            scope.attributes.map(|key| self.scope_attributes.text(key)),
        ]
    }

    /// The first time that is not zero decides; without one it is the time of receipt.
    pub(super) fn timestamp(&mut self, record: u64, observed: u64) -> Timestamp {
        match (record, observed) {
            (0, 0) => {
                self.all_timed = false;
                Timestamp { ns: self.received_ns, source: "received" }
            }
            (0, observed) => Timestamp { ns: saturate(observed), source: "observed" },
            (record, _) => Timestamp { ns: saturate(record), source: "record" },
        }
    }

    /// Decides about the next record: the rules all records share, then the signal's own.
    ///
    /// `describe` says of a rejected one what only the signal has.
    pub(super) fn admit(
        &mut self,
        shared: &Shared<'_>,
        own: impl FnOnce() -> Result<(), Reason>,
        describe: impl FnOnce(&mut Sample),
    ) -> bool {
        let (resource, scope) = self.entered();
        let received_ns = self.received_ns;
        let repeated_bytes = resource.text_bytes + scope.text_bytes + self.metric_text_bytes;
        let Self { admission, expansion, service_name, .. } = self;
        let check = |limits: Limits| {
            if let Some(fault) = resource.fault.or(scope.fault) {
                return Err(fault);
            }
            // Before the bound on the future, which a time that does not fit would break for the wrong reason.
            own()?;
            checks::not_in_future(shared.timestamp.ns, received_ns, limits)?;
            checks::depth(shared.attributes, "attributes")?;
            // Last, so that only records that are kept use the allowance up.
            expansion.take(repeated_bytes)
        };
        admission.admit(check, || {
            let mut sample = Sample::new();
            sample.text("service_name", resource.service_name.map_or("", |key| service_name.text(key)));
            describe(&mut sample);
            sample.attributes("attributes", shared.attributes);
            sample.finish()
        })
    }

    /// Adds a row and returns its number and the text of its attributes.
    pub(super) fn push(&mut self, shared: &Shared<'_>) -> (usize, &str) {
        let row = self.rows;
        self.rows += 1;
        let (resource, scope) = self.entered();

        self.timestamp.set(row, shared.timestamp.ns);
        self.timestamp_source.set(row, shared.timestamp.source);
        self.dropped_attributes_count.set_some(row, shared.dropped_attributes_count);
        self.flags.set(row, shared.flags);

        self.service_name.set_some_key(row, resource.service_name);
        self.resource_attributes.set_some_key(row, resource.attributes);
        self.resource_dropped_attributes_count.set_some(row, resource.dropped_attributes_count);
        self.resource_entity_refs.set_some_key(row, resource.entity_refs);
        self.resource_schema_url.set_key(row, resource.schema_url);

        self.scope_name.set_some_key(row, scope.name);
        self.scope_version.set_some_key(row, scope.version);
        self.scope_attributes.set_some_key(row, scope.attributes);
        self.scope_dropped_attributes_count.set_some(row, scope.dropped_attributes_count);
        self.scope_schema_url.set_key(row, scope.schema_url);

        self.tenant_id.set_key(row, self.tenant);
        self.ingested_at.set(row, self.received_ns);

        let attributes = self.attributes.intern(self.json.attributes(shared.attributes));
        self.attributes.set_key(row, attributes);
        (row, self.attributes.text(attributes))
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn all_timed(&self) -> bool {
        self.all_timed
    }

    pub(super) fn finish(self, columns: &mut NamedColumns) -> Vec<Rejection> {
        let rows = self.rows;
        columns.extend([
            (schema::TIMESTAMP, self.timestamp.finish(rows)),
            (schema::TIMESTAMP_SOURCE, self.timestamp_source.finish(rows)),
            (schema::SERVICE_NAME, self.service_name.finish(rows)),
            (schema::ATTRIBUTES, self.attributes.finish(rows)),
            (schema::DROPPED_ATTRIBUTES_COUNT, self.dropped_attributes_count.finish(rows)),
            (schema::FLAGS, self.flags.finish(rows)),
            (schema::RESOURCE_ATTRIBUTES, self.resource_attributes.finish(rows)),
            (schema::RESOURCE_DROPPED_ATTRIBUTES_COUNT, self.resource_dropped_attributes_count.finish(rows)),
            (schema::RESOURCE_ENTITY_REFS, self.resource_entity_refs.finish(rows)),
            (schema::RESOURCE_SCHEMA_URL, self.resource_schema_url.finish(rows)),
            (schema::SCOPE_NAME, self.scope_name.finish(rows)),
            (schema::SCOPE_VERSION, self.scope_version.finish(rows)),
            (schema::SCOPE_ATTRIBUTES, self.scope_attributes.finish(rows)),
            (schema::SCOPE_DROPPED_ATTRIBUTES_COUNT, self.scope_dropped_attributes_count.finish(rows)),
            (schema::SCOPE_SCHEMA_URL, self.scope_schema_url.finish(rows)),
            (schema::TENANT_ID, self.tenant_id.finish(rows)),
            (schema::INGESTED_AT, self.ingested_at.finish(rows)),
        ]);
        self.admission.finish()
    }

    fn entered(&self) -> (ResourceKeys, ScopeKeys) {
        let resource = self.resource.expect("a resource is entered before its records");
        (resource, self.scope.expect("a scope is entered before its records"))
    }
}

fn service_name(resource: &Resource) -> Option<&str> {
    let attribute = resource.attributes.iter().find(|attribute| attribute.key == SERVICE_NAME_ATTRIBUTE)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(name) => Some(name),
        _ => None,
    }
}
