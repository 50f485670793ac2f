//! What health checks are told: `grpc.health.v1` on the gRPC port, `GET /health` on the HTTP port.
//!
//! | storage | OTLP services | Flight SQL and the server as a whole | `/health` |
//! |---|---|---|---|
//! | sound | `SERVING` | `SERVING` | 200 `{"status":"ok"}` |
//! | degraded | `SERVING` | `SERVING` | 200 `{"status":"degraded","reason":...}` |
//! | takes no data at the moment | `NOT_SERVING` | `SERVING` | 503 `{"status":"read-only","reason":...}` |
//! | takes none until the process is started anew | `NOT_SERVING` | `SERVING` | 503 `{"status":"failed","reason":...}` |
//!
//! Nobody has to say who they are, so no answer names a tenant or a path.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};

use alula_ingest::HttpService;
use alula_storage::Health as StorageHealth;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use serde_json::json;
use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::Service;

use super::grpc::{FLIGHT_SERVICE, OTLP_SERVICES};

const PATH: &str = "/health";

/// Names that `grpc.health.v1` answers for; the empty one is the server as a whole.
fn names() -> impl Iterator<Item = &'static str> {
    OTLP_SERVICES.into_iter().chain(["", FLIGHT_SERVICE])
}

/// The state that health checks over gRPC are told.
#[derive(Debug, Clone)]
pub(super) struct Health {
    reporter: HealthReporter,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { reporter: HealthReporter::new() }
    }

    pub(super) async fn set_serving(&self) {
        for name in names() {
            self.reporter.set_service_status(name, ServingStatus::Serving).await;
        }
    }

    /// Tells of every change of the storage. Ends, with the reason, once it will take nothing any more.
    pub(super) async fn follow(self, mut storage: watch::Receiver<StorageHealth>) -> String {
        loop {
            let health = storage.borrow_and_update().clone();
            let status = match health {
                StorageHealth::Sound | StorageHealth::Degraded { .. } => ServingStatus::Serving,
                StorageHealth::ReadOnly { .. } | StorageHealth::Failed { .. } => ServingStatus::NotServing,
            };
            for name in OTLP_SERVICES {
                self.reporter.set_service_status(name, status).await;
            }
            if let StorageHealth::Failed { reason } = health {
                return reason;
            }
            if storage.changed().await.is_err() {
                // The storage is gone, and with it whatever could fail.
                pending::<()>().await;
            }
        }
    }

    /// Watchers are told, and then their streams end: an open one would hold up the drain.
    pub(super) async fn set_not_serving(mut self) {
        for name in names() {
            self.reporter.set_service_status(name, ServingStatus::NotServing).await;
            self.reporter.clear_service_status(name).await;
        }
    }

    pub(super) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }
}

/// Answers `/health`, and leaves every other path to OTLP.
#[derive(Debug, Clone)]
pub(super) struct WithHealth {
    storage: watch::Receiver<StorageHealth>,
    otlp: HttpService,
}

impl WithHealth {
    pub(super) fn new(storage: watch::Receiver<StorageHealth>, otlp: HttpService) -> Self {
        Self { storage, otlp }
    }

    fn answer(&self, method: &Method) -> Response<Full<Bytes>> {
        let (code, body) = match (method, &*self.storage.borrow()) {
            (&Method::GET | &Method::HEAD, health) => said_of(health),
            (_, _) => (StatusCode::METHOD_NOT_ALLOWED, json!({"error": "/health takes GET only"})),
        };
        let body = if *method == Method::HEAD { Bytes::new() } else { format!("{body}\n").into() };
        let mut answer = Response::new(Full::new(body));
        *answer.status_mut() = code;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if code == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        answer
    }
}

fn said_of(health: &StorageHealth) -> (StatusCode, serde_json::Value) {
    match health {
        StorageHealth::Sound => (StatusCode::OK, json!({"status": "ok"})),
        StorageHealth::Degraded { reason } => {
            (StatusCode::OK, json!({"status": "degraded", "reason": reason}))
        }
        StorageHealth::ReadOnly { reason } => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "read-only", "reason": reason}))
        }
        StorageHealth::Failed { reason } => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "failed", "reason": reason}))
        }
    }
}

impl<B> Service<Request<B>> for WithHealth
where
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<B>>::poll_ready(&mut self.otlp, context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.uri().path() == PATH {
            let answer = self.answer(request.method());
            return Box::pin(async move { Ok(answer) });
        }
        self.otlp.call(request)
    }
}

#[cfg(test)]
mod tests;
