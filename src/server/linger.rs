//! A connection that closes gently.
//!
//! A request that is refused before its body has come in, as one that is too large is, leaves the rest of the body
//! unread. Closing a socket with unread bytes makes the system send a reset, and a reset makes the client's system throw
//! the answer away: the client would take a refusal for a lost connection and send the same again, for ever.
//! So the closing side says that it is done and then reads on for a while.
//!
//! Source: RFC 9112, section 9.6.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// The longest that is read on, and the most.
const LINGER_LIMIT: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 << 20;

/// A stream whose shutdown waits for the other side to end too, within bounds.
#[derive(Debug)]
pub(super) struct Lingering {
    stream: TcpStream,
    /// Set when the shutdown has begun.
    rest: Option<Rest>,
}

#[derive(Debug)]
struct Rest {
    deadline: Pin<Box<Sleep>>,
    left_bytes: usize,
}

impl Lingering {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, rest: None }
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

impl AsyncRead for Lingering {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lingering {
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
        let Self { stream, rest } = self.get_mut();
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

    async fn connection() -> (TcpStream, Lingering) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, Lingering::new(listener.accept().await.unwrap().0))
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
