//! The fault worth finding: for a while one version of `payments`, on one node, is slow and fails on one route.

use super::topology::{Instance, Role};

pub(super) const ROUTE: &str = "/charge";
pub(super) const VERSION: &str = "2.5.0";

/// When the fault shows. Half-open, nanoseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incident {
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
}

impl Incident {
    pub(super) fn affects(&self, instance: &Instance, route: &str, at_ns: u64) -> bool {
        (self.start_ns..self.end_ns).contains(&at_ns)
            && instance.role == Role::Payments
            && instance.version == VERSION
            && route == ROUTE
    }
}
