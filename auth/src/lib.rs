//! Identity: from the credential in the headers of a request to the [`Principal`] that everything else trusts.
//!
//! | file | purpose |
//! |---|---|
//! | `principal.rs` | [`Principal`] and its roles: who calls, for which tenant, and what they may do |
//! | `keys.rs` | [`KeyStore`]: signing keys and secrets in `auth.db` |
//! | `token.rs` | [`Issuer`]: makes tokens |
//! | `verifier.rs` | [`Verifier`]: token to principal, or the reason why not |
//! | `credential.rs` | the token inside the HTTP headers |
//! | `layer.rs` | [`AuthLayer`]: the gate in front of every gRPC service |
//!
//! **Invariants**
//! - The tenant comes from the verified credential and from nowhere else.
//! - A [`Principal`] exists only if a credential was verified, or if the server runs without authentication.
//! - The key decides the algorithm; the token's header only names the key.

mod credential;
mod error;
mod keys;
mod layer;
mod principal;
mod token;
mod verifier;

pub use credential::{behind_token, token_of};
pub use error::{Error, ErrorKind, Result};
pub use keys::KeyStore;
pub use layer::{AuthLayer, AuthService, LateCredential, principal_of};
pub use principal::{Principal, Role, Roles};
pub use token::Issuer;
pub use verifier::Verifier;
