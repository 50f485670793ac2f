//! [`Transport`]: what a call needs that tonic has no place for, between HTTP and the Flight service.
//!
//! - A call whose sender goes away in the middle is told from one that ends: see [`Received`].
//! - The time that the sender waits (`grpc-timeout`) ends the call wherever it is, in its stream too, and what works for it.
//! - The figures of a query come in the trailers, behind its last row.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tonic::codegen::{Service, StdError};
use tonic::server::NamedService;

use crate::Error;
use crate::queries::{Figures, Named, Query};
use crate::status::status;

const TIMEOUT: &str = "grpc-timeout";

/// The id of the query, in the trailers of an answer and of an error alike.
pub(crate) const QUERY_ID: &str = "alula-query-id";

/// Figures in the trailers.
const FIGURES: [Named; 7] = [
    ("alula-rows", |figures| figures.rows),
    ("alula-bytes", |figures| figures.bytes),
    ("alula-rows-scanned", |figures| figures.scans.rows),
    ("alula-files-read", |figures| figures.scans.files_read),
    ("alula-files-pruned", |figures| figures.scans.files_pruned),
    ("alula-elapsed-ms", Figures::elapsed_ms),
    ("alula-memory-peak-bytes", |figures| figures.memory_peak_bytes),
];

/// So much sooner than the sender gives up the answer is on its way. tonic's own limit, which says `CANCELLED` and does
/// not reach into streams, comes later too.
const TRAVEL: Duration = Duration::from_millis(5);

/// When the sender of a call gives up. In the extensions of the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Instant);

/// The query whose figures an answer ends with. In the extensions of the answer.
#[derive(Clone)]
pub(crate) struct Told(pub(crate) Arc<Query>);

/// The service around the Flight service.
#[derive(Clone, Debug)]
pub(crate) struct Transport<S> {
    inner: S,
}

impl<S> Transport<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: NamedService> NamedService for Transport<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for Transport<S>
where
    S: Service<Request<Received<B>>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
    B: HttpBody + Send + Unpin + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Request<B>) -> Self::Future {
        let patience = patience(call.headers()).map(|patience| patience.saturating_sub(TRAVEL));
        let elapsed = patience.map(|patience| Box::pin(sleep(patience)));
        if let Some(patience) = patience {
            call.extensions_mut().insert(Deadline(Instant::now() + patience));
        }
        let answer = self.inner.call(call.map(Received));
        async move {
            let mut elapsed = elapsed;
            let mut answer = pin!(answer);
            let answered = poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(Ok(answered)) => Poll::Ready(Some(answered)),
                Poll::Ready(Err(never)) => match never {},
                Poll::Pending => poll_elapsed(&mut elapsed, cx).map(|()| None),
            });
            let Some(mut answered) = answered.await else {
                return Ok(status(&Error::Deadline).into_http());
            };
            let told = answered.extensions_mut().remove::<Told>();
            if told.is_none() && elapsed.is_none() {
                return Ok(answered);
            }
            Ok(answered.map(|body| Body::new(Watched { body: Some(body), told, elapsed })))
        }
        .boxed()
    }
}

/// How long the sender waits.
///
/// Source: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>
fn patience(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|_| number.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

fn poll_elapsed(elapsed: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
    elapsed.as_mut().map_or(Poll::Pending, |elapsed| elapsed.poll_unpin(cx))
}

/// The body of a call. One that is cut off ends with an error, whatever cut it off.
///
/// tonic takes a body that is cancelled for one that has ended, and hyper one that is reset without a reason: the rows of half
/// an ingest would be taken for all of them.
#[derive(Debug)]
pub(crate) struct Received<B>(B);

impl<B> HttpBody for Received<B>
where
    B: HttpBody + Unpin,
    B::Error: Into<StdError>,
{
    type Data = B::Data;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let body = &mut self.get_mut().0;
        let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => {
                let source: StdError = error.into();
                tracing::debug!(error = %source, "a call was cut off");
                Some(Err(status(&Error::CutOff)))
            }
            None if body.is_end_stream() => None,
            None => Some(Err(status(&Error::CutOff))),
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The body of an answer.
struct Watched {
    /// `None` once its time is over: what worked for it is gone.
    body: Option<Body>,
    told: Option<Told>,
    elapsed: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if let Poll::Ready(mut frame) = Pin::new(body).poll_frame(cx) {
            if let (Some(Ok(frame)), Some(Told(query))) = (&mut frame, &this.told)
                && let Some(trailers) = frame.trailers_mut()
            {
                tell(trailers, query);
            }
            return Poll::Ready(frame);
        }
        if poll_elapsed(&mut this.elapsed, cx).is_pending() {
            return Poll::Pending;
        }
        this.body = None;
        let mut trailers = status(&Error::Deadline).into_http::<()>().into_parts().0.headers;
        if let Some(Told(query)) = &this.told {
            tell(&mut trailers, query);
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

/// Adds what is known of a query.
fn tell(trailers: &mut HeaderMap, query: &Query) {
    if let Ok(id) = HeaderValue::try_from(&query.id) {
        trailers.insert(HeaderName::from_static(QUERY_ID), id);
    }
    let figures = query.figures();
    for (name, figure) in FIGURES {
        trailers.insert(HeaderName::from_static(name), figure(&figures).into());
    }
}

#[cfg(test)]
mod tests;
