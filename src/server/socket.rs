//! The socket of an HTTP connection: it has to speak soon, and it closes gently.
//!
//! HTTP/1.1 and HTTP/2 share the port, and hyper waits without end for the bytes that tell them apart. So those that it
//! looks at have to come within a limit; what comes behind them has limits of hyper's own.
//!
//! A request that is refused before its body has come in, as one that is too large is, leaves the rest of the body
//! unread. Closing a socket with unread bytes makes the system send a reset, and a reset makes the client's system throw
//! the answer away: the client would take a refusal for a lost connection and send the same again, for ever.
//! So the closing side says that it is done and then reads on for a while.
//!
//! Source: RFC 9112, section 9.6; RFC 9113, section 3.4.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// The longest that a new connection may take to show what it speaks.
const FIRST_BYTES_LIMIT: Duration = Duration::from_secs(10);
/// The length of the preface of HTTP/2, by which hyper tells it from HTTP/1.1.
const FIRST_BYTES: usize = 24;
/// The longest that is read on, and the most.
const LINGER_LIMIT: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 << 20;

/// A stream whose first bytes must come soon, and whose shutdown waits for the other side to end too, within bounds.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// `None` once the first bytes have come.
    waiting: Option<Waiting>,
    /// Set when the shutdown has begun.
    rest: Option<Rest>,
}

#[derive(Debug)]
struct Waiting {
    deadline: Pin<Box<Sleep>>,
    missing_bytes: usize,
}

#[derive(Debug)]
struct Rest {
    deadline: Pin<Box<Sleep>>,
    left_bytes: usize,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self::within(stream, FIRST_BYTES_LIMIT)
    }

    fn within(stream: TcpStream, limit: Duration) -> Self {
        let waiting = Waiting { deadline: Box::pin(sleep(limit)), missing_bytes: FIRST_BYTES };
        Self { stream, waiting: Some(waiting), rest: None }
    }
}

impl Waiting {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Rest {
    /// Reads and forgets.
    fn poll(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; 16 << 10];
        while self.left_bytes > 0 && self.deadline.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
            let bytes = buffer.filled().len();
            if read.is_err() || bytes == 0 {
                break;
            }
            self.left_bytes = self.left_bytes.saturating_sub(bytes);
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, waiting, .. } = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(stream).poll_read(cx, buffer);
        let Some(first) = waiting else { return read };
        if read.is_pending() {
            return first.poll(cx);
        }
        first.missing_bytes = first.missing_bytes.saturating_sub(buffer.filled().len() - before);
        if first.missing_bytes == 0 {
            *waiting = None;
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, rest, .. } = self.get_mut();
        if rest.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        let rest = rest.get_or_insert_with(|| Rest {
            deadline: Box::pin(sleep(LINGER_LIMIT)),
            left_bytes: LINGER_BYTES,
        });
        rest.poll(stream, cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn connect() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    async fn connection() -> (TcpStream, Socket) {
        let (client, server) = connect().await;
        (client, Socket::new(server))
    }

    /// One byte of the preface would otherwise hold a connection as long as its sender likes.
    #[tokio::test]
    async fn who_does_not_show_in_time_what_it_speaks_is_cut_off() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for sent in 0..preface.len() {
            let (mut client, server) = connect().await;
            client.write_all(&preface[..sent]).await.unwrap();
            let mut server = Socket::within(server, Duration::ZERO);
            let mut received = Vec::new();
            let ended = server.read_to_end(&mut received).await.unwrap_err();
            assert_eq!(ended.kind(), io::ErrorKind::TimedOut, "{sent} bytes sent");
        }
    }

    #[tokio::test]
    async fn who_has_shown_what_it_speaks_may_pause() {
        let (mut client, server) = connect().await;
        client.write_all(&[b'x'; FIRST_BYTES]).await.unwrap();
        // Until they have come: the limit is over at once.
        assert_eq!(server.peek(&mut [0; 2 * FIRST_BYTES]).await.unwrap(), FIRST_BYTES);
        let mut server = Socket::within(server, Duration::ZERO);
        server.read_exact(&mut [0; FIRST_BYTES]).await.unwrap();
        let mut later = [0; 5];
        let (read, ()) = tokio::join!(server.read_exact(&mut later), async {
            // The other side finds nothing first.
            tokio::task::yield_now().await;
            client.write_all(b"later").await.unwrap();
        });
        read.unwrap();
        assert_eq!(&later, b"later");
    }

    /// The answer is whole although most of what the client sends is never looked at.
    #[tokio::test]
    async fn a_client_that_is_still_sending_gets_the_answer() {
        let (mut client, mut server) = connection().await;
        let closed = tokio::spawn(async move {
            server.write_all(b"refused").await.unwrap();
            server.shutdown().await.unwrap();
        });
        // More than both systems' buffers hold.
        client.write_all(&vec![0; 32 << 20]).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "refused");
        closed.await.unwrap();
    }

    #[tokio::test]
    async fn reading_on_has_a_bound() {
        let (mut client, mut server) = connection().await;
        let closed = tokio::spawn(async move { server.shutdown().await });
        let piece = vec![0; 1 << 20];
        // Ends only because the other side stops reading and closes.
        while client.write_all(&piece).await.is_ok() {}
        closed.await.unwrap().unwrap();
    }
}
