//! OTLP over gRPC with bytes that are ready, or made while they are written.

use std::sync::Arc;
use std::time::Duration;

use alula_catalog::Signal;
use bytes::{BufMut, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::template::{Stamp, Template};
use crate::sql_client::{Credentials, Error, Result, ServerUrl};

/// A server that takes longer to acknowledge is as good as gone.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(30);

/// The body of one export request. Cheap to clone, for another try with the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct Payload(Body);

#[derive(Clone, Debug)]
enum Body {
    Bytes(Bytes),
    Template(Arc<Template>, Stamp),
}

impl Payload {
    pub(crate) fn message(message: &impl Message) -> Self {
        Self(Body::Bytes(message.encode_to_vec().into()))
    }

    pub(super) fn template(template: Arc<Template>, stamp: Stamp) -> Self {
        Self(Body::Template(template, stamp))
    }

    pub(super) fn len_bytes(&self) -> usize {
        match &self.0 {
            Body::Bytes(bytes) => bytes.len(),
            Body::Template(template, _) => template.len_bytes(),
        }
    }
}

/// What the server said about a request it took.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    pub(crate) rejected: u64,
    pub(crate) message: String,
}

/// A connection for all three signals. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Exporter {
    grpc: tonic::client::Grpc<Channel>,
    credentials: Credentials,
}

impl Exporter {
    pub(crate) async fn connect(
        url: &ServerUrl,
        credentials: Credentials,
        compression: Option<CompressionEncoding>,
    ) -> Result<Self> {
        let endpoint = url.endpoint()?;
        let channel = endpoint
            .connect()
            .await
            .map_err(|source| Error::Connect { url: url.clone(), source: source.into() })?;
        let mut grpc = tonic::client::Grpc::new(channel);
        if let Some(encoding) = compression {
            grpc = grpc.send_compressed(encoding);
        }
        Ok(Self { grpc, credentials })
    }

    /// Sends one request. Returns when the server has acknowledged or refused it.
    pub(crate) async fn export(&mut self, signal: Signal, payload: Payload) -> Result<Accepted, Status> {
        self.grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        let mut request = Request::new(payload);
        request.set_timeout(EXPORT_TIMEOUT);
        self.credentials.apply(&mut request);
        let exporting = self.grpc.unary(request, path(signal), ExportCodec);
        match tokio::time::timeout(EXPORT_TIMEOUT, exporting).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(Status::deadline_exceeded("no acknowledgement within 30 s")),
        }
    }
}

fn path(signal: Signal) -> PathAndQuery {
    PathAndQuery::from_static(match signal {
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    })
}

/// Writes a [`Payload`] without building its message.
#[derive(Clone, Copy, Debug)]
struct ExportCodec;

impl Codec for ExportCodec {
    type Encode = Payload;
    type Decode = Accepted;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for ExportCodec {
    type Item = Payload;
    type Error = Status;

    fn encode(&mut self, payload: Payload, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(payload.len_bytes());
        match payload.0 {
            Body::Bytes(bytes) => out.put_slice(&bytes),
            Body::Template(template, stamp) => template.write(stamp, out),
        }
        Ok(())
    }
}

impl Decoder for ExportCodec {
    type Item = Accepted;
    type Error = Status;

    /// The three responses are the same on the wire: a count and a message in field 1.
    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Accepted>, Status> {
        let response = ExportMetricsServiceResponse::decode(source)
            .map_err(|error| Status::internal(format!("the response is not OTLP: {error}")))?;
        let partial = response.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_data_points).unwrap_or(0);
        Ok(Some(Accepted { rejected, message: partial.error_message }))
    }
}
