//! How many tails there may be, and when they end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alula_auth::Principal;
use alula_catalog::TenantId;
use tokio_util::sync::CancellationToken;

use crate::{Error, Result};

/// Bounds of tails.
#[derive(Clone, Copy, Debug)]
pub struct TailConfig {
    /// Tails at one time.
    pub max_per_tenant: usize,
    /// A tail that is further behind goes on at the end.
    pub max_backlog_rows: u64,
    /// The longest that nothing is sent.
    pub keep_alive: Duration,
}

impl Default for TailConfig {
    fn default() -> Self {
        Self { max_per_tenant: 32, max_backlog_rows: 1_000_000, keep_alive: Duration::from_secs(10) }
    }
}

/// All tails of the server.
#[derive(Debug)]
pub(crate) struct Tails {
    config: TailConfig,
    /// Held to count, never across an await.
    open: Mutex<HashMap<TenantId, usize>>,
    stopping: CancellationToken,
}

impl Tails {
    pub(crate) fn new(config: TailConfig) -> Self {
        Self { config, open: Mutex::default(), stopping: CancellationToken::new() }
    }

    /// Room for one more.
    ///
    /// # Errors
    /// `TooManyTails` — the tenant has as many as it may have.
    pub(crate) fn enter(self: &Arc<Self>, tenant: &TenantId) -> Result<Slot> {
        let limit = self.config.max_per_tenant;
        let mut open = self.open();
        let count = open.entry(tenant.clone()).or_default();
        if *count >= limit {
            return Err(Error::TooManyTails { limit });
        }
        *count += 1;
        Ok(Slot { tails: Arc::clone(self), tenant: tenant.clone() })
    }

    /// Ends all, and those that begin later.
    pub(crate) fn end(&self) {
        self.stopping.cancel();
    }

    fn open(&self) -> MutexGuard<'_, HashMap<TenantId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one tail, for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Slot {
    tails: Arc<Tails>,
    tenant: TenantId,
}

impl Slot {
    pub(super) fn config(&self) -> TailConfig {
        self.tails.config
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.tails.open();
        if let Some(count) = open.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

/// What ends a tail whose reader stays.
pub(crate) struct Until {
    principal: Arc<Principal>,
    /// How long its credential is good for.
    left: Option<Duration>,
    stopping: CancellationToken,
}

impl Until {
    pub(crate) fn new(principal: &Arc<Principal>, tails: &Tails) -> Self {
        let (principal, left) = (Arc::clone(principal), principal.valid_for());
        Self { principal, left, stopping: tails.stopping.clone() }
    }

    /// Waits for it. Says why.
    pub(super) async fn ended(self) -> Error {
        let expired = async {
            match self.left {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stopping.cancelled() => Error::ShuttingDown,
            () = expired => self.principal.expired().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tail_ends_when_the_credential_does_or_the_server() {
        let tails = Tails::new(TailConfig::default());
        let principal = Arc::new(Principal::unauthenticated());
        let until = Until { left: Some(Duration::ZERO), ..Until::new(&principal, &tails) };
        let ended = until.ended().await;
        assert!(matches!(ended, Error::Auth(alula_auth::Error::Expired { .. })), "{ended}");
        let until = Until::new(&principal, &tails);
        tails.end();
        assert!(matches!(until.ended().await, Error::ShuttingDown));
    }
}
