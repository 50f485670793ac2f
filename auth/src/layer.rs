//! [`AuthLayer`]: the gate in front of every gRPC service.
//!
//! A request without a valid credential is answered here and never reaches the service behind; one with a valid
//! credential carries its `Arc<Principal>` in the request's extensions. Only the Flight handshake may come without one: old
//! clients send theirs in its body, which the service behind has checked by a [`LateCredential`].

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, COOKIE};
use http::{Extensions, HeaderMap, Request, Response};
use tonic::Status;
use tower::{Layer, Service};

use crate::credential::{API_KEY, FLIGHT_TOKEN, token_of};
use crate::{Error, ErrorKind, Principal, Result, Verifier};
use alula_catalog::error_chain;

/// Services that answer without a credential: they tell nothing about data or tenants, and health checks and
/// tools call them before they have a token.
const OPEN_SERVICES: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// The call that may have its credential in the body.
const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";

/// Puts the gate in front of a service.
#[derive(Clone, Debug)]
pub struct AuthLayer {
    policy: Policy,
}

#[derive(Clone, Debug)]
enum Policy {
    Required(Arc<Verifier>),
    Disabled(Arc<Principal>),
}

impl AuthLayer {
    /// Every call needs a credential, but for health and reflection.
    pub fn required(verifier: Arc<Verifier>) -> Self {
        Self { policy: Policy::Required(verifier) }
    }

    /// Every call is made by [`Principal::unauthenticated`]; a credential is ignored.
    pub fn disabled() -> Self {
        Self { policy: Policy::Disabled(Arc::new(Principal::unauthenticated())) }
    }

    /// The caller by the headers of a request, for services that answer in other words than gRPC's. `path` is for the
    /// server's own log.
    ///
    /// # Errors
    /// The status that the layer would answer with.
    pub async fn authenticate(&self, headers: &HeaderMap, path: &str) -> Result<Arc<Principal>, Status> {
        self.policy.authenticate(headers).await.map_err(|error| status(&error, path))
    }
}

/// The caller of a request that came through the layer.
///
/// # Errors
/// `NoCredential` — it did not come through the layer, or asks for what needs no credential.
pub fn principal_of(extensions: &Extensions) -> Result<Arc<Principal>> {
    extensions.get::<Arc<Principal>>().map(Arc::clone).ok_or(Error::NoCredential)
}

/// In the extensions of a handshake that came without a credential, instead of a principal.
#[derive(Clone, Debug)]
pub struct LateCredential {
    verifier: Arc<Verifier>,
}

impl LateCredential {
    /// The caller that the token in the body proves, if the call is one that may have it there.
    ///
    /// # Errors
    /// Kind `Unauthenticated` — it proves nothing; `NoCredential` — the call did not come through the layer.
    pub async fn verify(extensions: &Extensions, token: &str) -> Result<Principal> {
        let Some(late) = extensions.get::<Self>().filter(|_| !token.is_empty()) else {
            return Err(Error::NoCredential);
        };
        late.verifier.verify(token).await
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> AuthService<S> {
        AuthService { inner, policy: self.policy.clone() }
    }
}

/// A service behind the gate.
#[derive(Clone, Debug)]
pub struct AuthService<S> {
    inner: S,
    policy: Policy,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for AuthService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Send + 'static,
    ResBody: Default,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ResBody>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        // The service that said it is ready must be the one that is called.
        let fresh = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, fresh);
        let policy = self.policy.clone();
        Box::pin(async move {
            if OPEN_SERVICES.iter().any(|service| request.uri().path().starts_with(service)) {
                return inner.call(request).await;
            }
            let headers = request.headers();
            match policy.authenticate(headers).await {
                Err(Error::NoCredential) if request.uri().path() == HANDSHAKE => {
                    if let Policy::Required(verifier) = policy {
                        request.extensions_mut().insert(LateCredential { verifier });
                    }
                    inner.call(request).await
                }
                Ok(principal) => {
                    hide_credential(request.headers_mut());
                    request.extensions_mut().insert(principal);
                    inner.call(request).await
                }
                Err(error) => Ok(status(&error, request.uri().path()).into_http()),
            }
        })
    }
}

impl Policy {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>> {
        match self {
            Self::Required(verifier) => {
                let token = token_of(headers)?;
                Ok(Arc::new(verifier.verify(&token).await?))
            }
            Self::Disabled(principal) => Ok(Arc::clone(principal)),
        }
    }
}

/// Keeps the token, and what services have clients keep for them, out of whatever prints the headers.
fn hide_credential(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION, API_KEY, FLIGHT_TOKEN, COOKIE] {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
}

/// The answer to a call that was refused, logged here as nobody behind sees it.
///
/// A server that cannot read its keys answers UNAVAILABLE: an exporter then keeps its data and tries again, where
/// UNAUTHENTICATED would make it drop them.
fn status(error: &Error, path: &str) -> Status {
    match error.kind() {
        ErrorKind::Unauthenticated => {
            let message = error_chain(error);
            tracing::debug!(path, reason = message, "refused a call without a valid credential");
            Status::unauthenticated(message)
        }
        ErrorKind::PermissionDenied => Status::permission_denied(error_chain(error)),
        ErrorKind::InvalidInput | ErrorKind::Internal => {
            tracing::error!(path, error = error_chain(error), "cannot check a credential");
            Status::unavailable(
                "the server cannot check credentials at the moment; try again, and see its log",
            )
        }
    }
}

#[cfg(test)]
mod tests;
