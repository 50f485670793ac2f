//! The shop's services and their instances.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::Random;
use super::otlp::{text, whole};

/// What a service does in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Frontend,
    Checkout,
    Payments,
}

impl Role {
    const ALL: [Self; 3] = [Self::Frontend, Self::Checkout, Self::Payments];

    fn name(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::Checkout => "checkout",
            Self::Payments => "payments",
        }
    }

    fn language(self) -> &'static str {
        match self {
            Self::Frontend => "nodejs",
            Self::Checkout => "go",
            Self::Payments => "java",
        }
    }

    /// Version and node of each instance. One instance of `payments` runs a newer version than the others.
    fn instances(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Frontend => &[("3.12.0", "node-a"), ("3.12.0", "node-b")],
            Self::Checkout => &[("1.8.3", "node-a"), ("1.8.3", "node-c")],
            Self::Payments => &[("2.4.0", "node-a"), ("2.4.0", "node-b"), ("2.5.0", "node-c")],
        }
    }
}

/// One process: what a resource stands for.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(super) service: String,
    pub(super) role: Role,
    pub(super) version: &'static str,
    pub(super) node: &'static str,
    pod: String,
}

impl Instance {
    pub(super) fn resource(&self) -> Resource {
        let attributes: Vec<KeyValue> = vec![
            text("service.name", &self.service),
            text("service.namespace", "shop"),
            text("service.version", self.version),
            text("service.instance.id", &self.pod),
            text("deployment.environment.name", "demo"),
            text("host.name", self.node),
            text("k8s.cluster.name", "shop-1"),
            text("k8s.namespace.name", "shop"),
            text("k8s.node.name", self.node),
            text("k8s.pod.name", &self.pod),
            text("telemetry.sdk.language", self.role.language()),
            text("telemetry.sdk.name", "opentelemetry"),
            text("telemetry.sdk.version", "1.34.0"),
            whole("process.pid", 1),
        ];
        Resource { attributes, dropped_attributes_count: 0, entity_refs: Vec::new() }
    }
}

/// All services and instances. Services come in groups of three that work together; a group may be incomplete.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    instances: Vec<Instance>,
    /// For each service the range of its instances.
    services: Vec<std::ops::Range<usize>>,
}

impl Topology {
    /// `frontend`, `checkout`, `payments`, then `frontend-2` and so on.
    pub(crate) fn new(services: usize) -> Self {
        let mut topology = Self { instances: Vec::new(), services: Vec::new() };
        for number in 0..services.max(1) {
            let role = Role::ALL[number % Role::ALL.len()];
            let group = number / Role::ALL.len();
            let service = match group {
                0 => role.name().to_owned(),
                _ => format!("{}-{}", role.name(), group + 1),
            };
            let first = topology.instances.len();
            for (index, (version, node)) in role.instances().iter().enumerate() {
                // Looks like a pod of a replica set, and is the same in every run.
                let pod =
                    format!("{service}-{:08x}-{index}", 0x6f3a_9c41_u32.wrapping_mul(number as u32 + 1));
                topology.instances.push(Instance { service: service.clone(), role, version, node, pod });
            }
            topology.services.push(first..topology.instances.len());
        }
        topology
    }

    pub(super) fn instances(&self) -> &[Instance] {
        &self.instances
    }

    pub(super) fn groups(&self) -> usize {
        self.services.len().div_ceil(Role::ALL.len())
    }

    /// An instance of the service that plays a role in a group, if the group has one.
    pub(super) fn instance(&self, group: usize, role: Role, random: &mut Random) -> Option<usize> {
        let offset = Role::ALL.iter().position(|candidate| *candidate == role)?;
        let instances = self.services.get(group * Role::ALL.len() + offset)?;
        Some(instances.start + random.below(instances.len()))
    }
}
