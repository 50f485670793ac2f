//! [`HttpService`]: from an HTTP request to the one path of all transports.
//!
//! ```text
//! path? --> method? --> content type? --> credential? --> content encoding? --> Ingest::export
//! ```

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tonic::Code;
use tower::Service;

use alula_auth::{AuthLayer, Principal};
use alula_catalog::Signal;

use super::answer::{Answer, problem, refusal, success};
use crate::body::{Encoding, Payload};
use crate::export::{Format, Transport};
use crate::partial_success::PartialSuccess;
use crate::status::Refusal;
use crate::{Error, Ingest, Result};

/// The three paths of OTLP/HTTP.
#[derive(Clone, Debug)]
pub struct HttpService {
    ingest: Ingest,
    auth: AuthLayer,
}

impl HttpService {
    pub fn new(ingest: Ingest, auth: AuthLayer) -> Self {
        Self { ingest, auth }
    }

    async fn respond<B>(&self, request: Request<B>) -> Answer
    where
        B: Body + Unpin,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let content_type = content_type(&head.headers);
        // Whoever names no format that we know can at least read text.
        let format = content_type.unwrap_or(Format::Json);
        let Some(signal) = signal_of(head.uri.path()) else {
            let message = "OTLP is taken at /v1/metrics, /v1/logs and /v1/traces".to_owned();
            return problem(StatusCode::NOT_FOUND, Code::NotFound, message, format);
        };
        if head.method != Method::POST {
            let message = format!("{} takes POST only", head.uri.path());
            return problem(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, message, format);
        }
        if content_type.is_none() {
            let message = "the content type must be application/x-protobuf or application/json".to_owned();
            return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, message, format);
        }
        let principal = match self.auth.authenticate(&head.headers, head.uri.path()).await {
            Ok(principal) => principal,
            Err(status) => return refusal(Refusal::of_auth(&status), format),
        };
        match self.export(&principal, signal, format, &head.headers, body).await {
            Ok(partial_success) => success(signal, format, partial_success),
            Err(error) => refusal(Refusal::of(&error), format),
        }
    }

    async fn export<B>(
        &self,
        principal: &Principal,
        signal: Signal,
        format: Format,
        headers: &HeaderMap,
        body: B,
    ) -> Result<Option<PartialSuccess>>
    where
        B: Body + Unpin,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let encoding = encoding_of(headers)?;
        self.ingest.export(principal, signal, format, receive(&self.ingest, principal, encoding, body)).await
    }
}

async fn receive<B>(
    ingest: &Ingest,
    principal: &Principal,
    encoding: Encoding,
    mut body: B,
) -> Result<Payload>
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let announced_bytes = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let mut receiver = ingest.receiver(principal.tenant(), Transport::Http, encoding, announced_bytes)?;
    while let Some(frame) = body.frame().await {
        if let Ok(mut data) = frame.map_err(|error| Error::BodyLost(error.into()))?.into_data() {
            receiver.push(&mut data)?;
        }
    }
    receiver.finish()
}

fn signal_of(path: &str) -> Option<Signal> {
    match path {
        "/v1/metrics" => Some(Signal::Metrics),
        "/v1/logs" => Some(Signal::Logs),
        "/v1/traces" => Some(Signal::Traces),
        _ => None,
    }
}

fn content_type(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/x-protobuf") {
        Some(Format::Protobuf)
    } else if essence.eq_ignore_ascii_case("application/json") {
        Some(Format::Json)
    } else {
        None
    }
}

/// The encoding that a request is in. `identity` may be named beside it.
fn encoding_of(headers: &HeaderMap) -> Result<Encoding> {
    let mut encoding = Encoding::Identity;
    for value in headers.get_all(CONTENT_ENCODING) {
        let names = String::from_utf8_lossy(value.as_bytes());
        for name in names.split(',') {
            let unknown = || Error::unknown_encoding(&names);
            match (Encoding::of(name).ok_or_else(unknown)?, encoding) {
                (Encoding::Identity, _) => {}
                (named, Encoding::Identity) => encoding = named,
                // Wrapped twice: no client does that.
                _ => return Err(unknown()),
            }
        }
    }
    Ok(encoding)
}

impl<B> Service<Request<B>> for HttpService
where
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Ingest refuses rather than queues, so there is nothing to wait for.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let is_head = request.method() == Method::HEAD;
            let mut answer = service.respond(request).await;
            if is_head {
                // Over HTTP/2 nobody else leaves it out.
                *answer.body_mut() = Full::default();
            }
            Ok(answer)
        })
    }
}
