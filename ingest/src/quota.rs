//! What each tenant may send in a second.
//!
//! A bucket holds as many bytes as a second brings. A request is let in while anything is left and may take more than
//! that: what it owes has to come back before the next. So no request is too large for the quota, and none is read for
//! nothing.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alula_catalog::TenantId;

use crate::{Error, Result};

/// Past this many tenants, those that owe nothing are forgotten, which changes nothing for them.
const TENANTS_KEPT: usize = 10_000;

/// The buckets of all tenants.
#[derive(Debug)]
pub(crate) struct Quota {
    bytes_per_second: NonZeroU64,
    /// Held for a few instructions, never across an await.
    buckets: Mutex<HashMap<TenantId, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// What is left, in bytes; negative for a debt.
    level: f64,
    at: Instant,
}

impl Quota {
    pub(crate) fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second, buckets: Mutex::default() }
    }

    /// # Errors
    /// `QuotaExceeded` says when something is left again.
    pub(crate) fn check(&self, tenant: &TenantId, now: Instant) -> Result<()> {
        let Some(bucket) = self.lock().get(tenant).copied() else { return Ok(()) };
        let level = self.level(bucket, now);
        if level > 0.0 {
            return Ok(());
        }
        let bytes_per_second = self.bytes_per_second.get();
        // A byte more than what is owed, so that the answer to whoever waits exactly that long is not the same again.
        let wait_s = (1.0 - level) / bytes_per_second as f64;
        let retry_after = Duration::try_from_secs_f64(wait_s).unwrap_or(Duration::MAX);
        Err(Error::QuotaExceeded { bytes_per_second, retry_after })
    }

    /// Takes what was sent.
    pub(crate) fn charge(&self, tenant: &TenantId, bytes: usize, now: Instant) {
        let mut buckets = self.lock();
        if buckets.len() >= TENANTS_KEPT && !buckets.contains_key(tenant) {
            buckets.retain(|_, bucket| self.level(*bucket, now) < self.full());
        }
        let full = Bucket { level: self.full(), at: now };
        let bucket = buckets.entry(tenant.clone()).or_insert(full);
        *bucket = Bucket { level: self.level(*bucket, now) - bytes as f64, at: now };
    }

    fn full(&self) -> f64 {
        self.bytes_per_second.get() as f64
    }

    fn level(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.level + passed * self.full()).min(self.full())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    fn quota(bytes_per_second: u64) -> Quota {
        Quota::new(NonZeroU64::new(bytes_per_second).unwrap())
    }

    fn wait(quota: &Quota, name: &str, now: Instant) -> Option<Duration> {
        match quota.check(&tenant(name), now) {
            Ok(()) => None,
            Err(Error::QuotaExceeded { bytes_per_second, retry_after }) => {
                assert_eq!(bytes_per_second, quota.bytes_per_second.get());
                Some(retry_after)
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_tenant_waits_until_its_debt_is_paid_and_no_other_does() {
        let quota = quota(1000);
        let start = Instant::now();
        assert_eq!(wait(&quota, "a", start), None);
        quota.charge(&tenant("a"), 999, start);
        assert_eq!(wait(&quota, "a", start), None, "a byte is left");
        quota.charge(&tenant("a"), 2000, start);
        assert_eq!(wait(&quota, "a", start), Some(Duration::from_secs(2)));
        assert_eq!(wait(&quota, "b", start), None);
        assert!(wait(&quota, "a", start + Duration::from_millis(1999)).is_some());
        assert_eq!(wait(&quota, "a", start + Duration::from_secs(2)), None);
    }

    #[test]
    fn a_pause_saves_up_one_second_and_no_more() {
        let quota = quota(1000);
        let start = Instant::now();
        quota.charge(&tenant("a"), 1, start);
        let later = start + Duration::from_secs(3600);
        quota.charge(&tenant("a"), 1500, later);
        assert_eq!(wait(&quota, "a", later), Some(Duration::from_millis(501)));
    }

    #[test]
    fn tenants_without_a_debt_are_forgotten() {
        let quota = quota(10);
        let start = Instant::now();
        for number in 0..TENANTS_KEPT {
            quota.charge(&tenant(&format!("t{number}")), if number < 3 { 1000 } else { 1 }, start);
        }
        let later = start + Duration::from_secs(5);
        quota.charge(&tenant("another"), 1, later);
        assert_eq!(quota.lock().len(), 4);
        assert!(wait(&quota, "t0", later).is_some());
    }
}
