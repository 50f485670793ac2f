//! [`Principal`]: who calls, for which tenant, and what they may do.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use alula_catalog::TenantId;

use crate::error::excerpt;
use crate::token::now_s;
use crate::verifier::{LEEWAY_S, timestamp};
use crate::{Error, Result};

/// A right within one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Query.
    Read,
    /// Ingest.
    Write,
    /// Query, ingest and administer.
    Admin,
}

impl Role {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Admin => 4,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == given)
            .ok_or_else(|| Error::UnknownRole { given: excerpt(given) })
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl Roles {
    pub fn all() -> Self {
        Role::ALL.into_iter().collect()
    }

    pub fn contains(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.contains(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | role.bit()))
    }
}

impl From<Role> for Roles {
    fn from(role: Role) -> Self {
        Self(role.bit())
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no role");
        }
        for (i, role) in self.iter().enumerate() {
            write!(f, "{}{role}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// The verified caller of a request. It is made by the verifier alone, so holding one is proof of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    tenant: TenantId,
    subject: String,
    roles: Roles,
    /// Seconds since the epoch.
    expires_s: Option<u64>,
}

impl Principal {
    pub(crate) fn new(tenant: TenantId, subject: String, roles: Roles) -> Self {
        Self { tenant, subject, roles, expires_s: None }
    }

    pub(crate) fn until(self, expires_s: u64) -> Self {
        Self { expires_s: Some(expires_s), ..self }
    }

    /// The caller of every request to a server that runs without authentication.
    pub fn unauthenticated() -> Self {
        Self::new(TenantId::unauthenticated(), "anonymous".to_owned(), Roles::all())
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The name of the caller within its tenant.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// How long the credential proves anything, for calls that outlive it; `None` for ever.
    pub fn valid_for(&self) -> Option<Duration> {
        let expires_s = self.expires_s?;
        Some(Duration::from_secs(expires_s.saturating_add(LEEWAY_S).saturating_sub(now_s())))
    }

    /// What to tell a caller whose credential expired during the call.
    pub fn expired(&self) -> Error {
        Error::Expired { at: timestamp(self.expires_s.unwrap_or_else(now_s)) }
    }

    pub fn can_read(&self) -> bool {
        self.roles.contains(Role::Read) || self.is_admin()
    }

    pub fn can_write(&self) -> bool {
        self.roles.contains(Role::Write) || self.is_admin()
    }

    pub fn is_admin(&self) -> bool {
        self.roles.contains(Role::Admin)
    }

    /// # Errors
    /// `PermissionDenied` — the caller may not query.
    pub fn require_read(&self) -> Result<()> {
        self.require(Role::Read, self.can_read())
    }

    /// # Errors
    /// `PermissionDenied` — the caller may not ingest.
    pub fn require_write(&self) -> Result<()> {
        self.require(Role::Write, self.can_write())
    }

    fn require(&self, needed: Role, granted: bool) -> Result<()> {
        if granted {
            return Ok(());
        }
        Err(Error::PermissionDenied { needed, subject: excerpt(&self.subject), held: self.roles })
    }
}

#[cfg(test)]
mod tests;
