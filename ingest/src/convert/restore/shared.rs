//! Resource, scope, and what every record has.

use arrow::datatypes::UInt32Type;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use alula_catalog::schema::{
    RESOURCE_ATTRIBUTES, RESOURCE_DROPPED_ATTRIBUTES_COUNT, RESOURCE_ENTITY_REFS, RESOURCE_SCHEMA_URL,
    SCOPE_ATTRIBUTES, SCOPE_DROPPED_ATTRIBUTES_COUNT, SCOPE_NAME, SCOPE_SCHEMA_URL, SCOPE_VERSION,
    SERVICE_NAME, TIMESTAMP, TIMESTAMP_SOURCE,
};

use super::super::common::SERVICE_NAME_ATTRIBUTE;
use super::columns::{Attributes, Numbers, Texts, Times, shortened};
use super::given::Given;
use super::key::Key;
use super::{Read, json};

/// What stands around the records of a resource.
pub(super) struct ResourcePart {
    pub(super) resource: Option<Resource>,
    pub(super) schema_url: String,
}

/// What stands around the records of a scope.
pub(super) struct ScopePart {
    pub(super) scope: Option<InstrumentationScope>,
    pub(super) schema_url: String,
}

/// The columns of both.
pub(super) struct SharedColumns {
    service_name: Texts,
    resource_attributes: Attributes,
    resource_dropped_attributes_count: Numbers<UInt32Type>,
    resource_entity_refs: Texts,
    resource_schema_url: Texts,
    scope_name: Texts,
    scope_version: Texts,
    scope_attributes: Attributes,
    scope_dropped_attributes_count: Numbers<UInt32Type>,
    scope_schema_url: Texts,
}

impl SharedColumns {
    pub(super) fn try_new(given: &mut Given) -> Read<Self> {
        Ok(Self {
            service_name: given.texts(SERVICE_NAME)?,
            resource_attributes: Attributes::new(given.texts(RESOURCE_ATTRIBUTES)?),
            resource_dropped_attributes_count: given.numbers(RESOURCE_DROPPED_ATTRIBUTES_COUNT)?,
            resource_entity_refs: given.texts(RESOURCE_ENTITY_REFS)?,
            resource_schema_url: given.texts(RESOURCE_SCHEMA_URL)?,
            scope_name: given.texts(SCOPE_NAME)?,
            scope_version: given.texts(SCOPE_VERSION)?,
            scope_attributes: Attributes::new(given.texts(SCOPE_ATTRIBUTES)?),
            scope_dropped_attributes_count: given.numbers(SCOPE_DROPPED_ATTRIBUTES_COUNT)?,
            scope_schema_url: given.texts(SCOPE_SCHEMA_URL)?,
        })
    }

    /// What rows of one resource have in common.
    pub(super) fn resource_key(&self, row: usize, key: &mut Key) {
        key.text(self.service_name.get(row));
        key.text(self.resource_attributes.text(row));
        key.number(self.resource_dropped_attributes_count.get(row));
        key.text(self.resource_entity_refs.get(row));
        key.text(self.resource_schema_url.get(row));
    }

    /// What rows of one scope have in common, besides the resource.
    pub(super) fn scope_key(&self, row: usize, key: &mut Key) {
        key.text(self.scope_name.get(row));
        key.text(self.scope_version.get(row));
        key.text(self.scope_attributes.text(row));
        key.number(self.scope_dropped_attributes_count.get(row));
        key.text(self.scope_schema_url.get(row));
    }

    pub(super) fn resource(&mut self, row: usize) -> Read<ResourcePart> {
        Ok(ResourcePart { resource: self.own_resource(row)?, schema_url: self.resource_schema_url.text(row) })
    }

    fn own_resource(&mut self, row: usize) -> Read<Option<Resource>> {
        let attributes = self.resource_attributes.get(row)?;
        let dropped_attributes_count = self.resource_dropped_attributes_count.get(row);
        let entity_refs = self.resource_entity_refs.get(row);
        let service_name = self.service_name.get(row);
        if attributes.is_none()
            && dropped_attributes_count.is_none()
            && entity_refs.is_none()
            && service_name.is_none()
        {
            return Ok(None);
        }
        let mut attributes = attributes.unwrap_or_default();
        if let Some(name) = service_name {
            self.add_service_name(row, name, &mut attributes)?;
        }
        let entity_refs = entity_refs.map(json::entity_refs).transpose();
        let entity_refs = entity_refs.map_err(|what| self.resource_entity_refs.fault(row, what))?;
        Ok(Some(Resource {
            attributes,
            dropped_attributes_count: dropped_attributes_count.unwrap_or_default(),
            entity_refs: entity_refs.unwrap_or_default(),
        }))
    }

    /// The column says what the attribute does, unless there is no such attribute.
    fn add_service_name(&self, row: usize, name: &str, attributes: &mut Vec<KeyValue>) -> Read<()> {
        let named = Some(AnyValue { value: Some(Value::StringValue(name.to_owned())) });
        match attributes.iter().find(|attribute| attribute.key == SERVICE_NAME_ATTRIBUTE) {
            Some(attribute) if attribute.value == named => Ok(()),
            Some(_) => {
                let what = format!(
                    "is {:?}, and {SERVICE_NAME_ATTRIBUTE} in {RESOURCE_ATTRIBUTES} is something else: leave one of them out",
                    shortened(name)
                );
                Err(self.service_name.fault(row, what))
            }
            None => {
                let key = SERVICE_NAME_ATTRIBUTE.to_owned();
                attributes.push(KeyValue { key, value: named, key_strindex: 0 });
                Ok(())
            }
        }
    }

    pub(super) fn scope(&mut self, row: usize) -> Read<ScopePart> {
        let (name, version) = (self.scope_name.get(row), self.scope_version.get(row));
        let attributes = self.scope_attributes.get(row)?;
        let dropped_attributes_count = self.scope_dropped_attributes_count.get(row);
        let is_there =
            name.is_some() || version.is_some() || attributes.is_some() || dropped_attributes_count.is_some();
        let scope = is_there.then(|| InstrumentationScope {
            name: name.unwrap_or_default().to_owned(),
            version: version.unwrap_or_default().to_owned(),
            attributes: attributes.unwrap_or_default(),
            dropped_attributes_count: dropped_attributes_count.unwrap_or_default(),
        });
        Ok(ScopePart { scope, schema_url: self.scope_schema_url.text(row) })
    }
}

/// The time of a record. One that the server gave on receipt stays: it is the best that is known.
pub(super) struct RecordTime {
    timestamp: Times,
    source: Texts,
}

impl RecordTime {
    pub(super) fn try_new(given: &mut Given) -> Read<Self> {
        Ok(Self { timestamp: given.times(TIMESTAMP)?, source: given.texts(TIMESTAMP_SOURCE)? })
    }

    /// As OTLP has it: zero for none.
    pub(super) fn get(&self, row: usize) -> Read<u64> {
        self.timestamp.get(row)
    }

    /// Whether it is the time at which a log record was observed, which has a field of its own.
    pub(super) fn is_observed(&self, row: usize) -> bool {
        self.source.get(row) == Some("observed")
    }
}
