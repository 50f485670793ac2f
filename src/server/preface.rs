//! Tells whoever is not speaking gRPC so, in words that they can read.
//!
//! A gRPC connection starts with the HTTP/2 preface. Left alone, HTTP/2 answers anything else with binary frames, which a
//! browser, a TLS client or a person with `nc` cannot make sense of. So nothing is sent before the preface has come;
//! what the server wants to send meanwhile (its settings, a few bytes) is held back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Source: RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest that a new connection may take to send it.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// Far more than the settings that a server sends first.
const MAX_HELD_BYTES: usize = 64 << 10;

const EXPLANATION: &str = "this port speaks gRPC over HTTP/2 without TLS: OTLP and Arrow Flight SQL\n";
/// Fatal alert, protocol version: the nearest that TLS has to "no TLS here".
///
/// Source: RFC 8446 section 6.
const TLS_ALERT: [u8; 7] = [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46];

/// A connection on which nothing but HTTP/2 gets through.
#[derive(Debug)]
pub(super) struct GrpcOnly {
    stream: TcpStream,
    /// `None` once the preface has come.
    waiting: Option<Waiting>,
    /// Written by the server before it may be sent.
    held: Vec<u8>,
    /// This connection's share of all that may be open.
    _slot: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Waiting {
    /// Bytes of the preface that have come.
    seen: usize,
    deadline: Pin<Box<Sleep>>,
}

impl GrpcOnly {
    /// The connection keeps `slot` until it is closed.
    pub(super) fn new(stream: TcpStream, slot: OwnedSemaphorePermit) -> Self {
        Self { _slot: Some(slot), ..Self::within(stream, PREFACE_TIMEOUT) }
    }

    fn within(stream: TcpStream, limit: Duration) -> Self {
        let waiting = Waiting { seen: 0, deadline: Box::pin(sleep(limit)) };
        Self { stream, waiting: Some(waiting), held: Vec::new(), _slot: None }
    }

    /// Looks at the next bytes of a connection whose preface is not complete.
    fn check(&mut self, received: &[u8]) -> io::Result<()> {
        let Some(waiting) = self.waiting.as_mut() else { return Ok(()) };
        let expected = &PREFACE[waiting.seen..];
        let compared = expected.len().min(received.len());
        if received[..compared] != expected[..compared] {
            return Err(self.refuse(received));
        }
        waiting.seen += compared;
        if waiting.seen == PREFACE.len() {
            self.waiting = None;
        }
        Ok(())
    }

    /// Says what is wrong, as far as the socket takes it at once.
    fn refuse(&self, received: &[u8]) -> io::Error {
        let (speaks, answer) = if received.starts_with(&[0x16, 0x03]) {
            ("TLS", TLS_ALERT.to_vec())
        } else if received.windows(5).any(|window| window == b"HTTP/") {
            let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close";
            let length = EXPLANATION.len();
            ("HTTP/1", format!("{head}\r\ncontent-length: {length}\r\n\r\n{EXPLANATION}").into_bytes())
        } else {
            ("something that is not HTTP/2", EXPLANATION.as_bytes().to_vec())
        };
        let _ = self.stream.try_write(&answer);
        let peer = self.stream.peer_addr().map_or_else(|_| "a client".to_owned(), |peer| peer.to_string());
        // Not a warning: whoever scans ports could fill the log with them.
        tracing::info!(
            "{peer} speaks {speaks} to the gRPC port, which has no TLS: \
             clients need grpc:// (ADBC), useEncryption=false (JDBC) or http:// (OTLP exporters)"
        );
        io::Error::new(io::ErrorKind::InvalidData, EXPLANATION.trim_end())
    }

    /// Sends what was held back.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for GrpcOnly {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let Some(waiting) = this.waiting.as_mut() else { return read };
        match read {
            Poll::Ready(Ok(())) => {
                this.check(&buffer.filled()[before..])?;
                if this.waiting.is_none() {
                    // Starts sending; what the socket does not take now goes with the next write or flush.
                    let _ = this.poll_release(cx)?;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending if waiting.deadline.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            other => other,
        }
    }
}

impl AsyncWrite for GrpcOnly {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.waiting.is_some() {
            if this.held.len() + bytes.len() > MAX_HELD_BYTES {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            }
            this.held.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(this.poll_release(cx))?;
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.waiting.is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &**slice);
            return Pin::new(this).poll_write(cx, first);
        }
        ready!(this.poll_release(cx))?;
        Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.waiting.is_none() {
            ready!(this.poll_release(cx))?;
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Connected for GrpcOnly {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests;
