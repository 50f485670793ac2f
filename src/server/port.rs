//! The two ports: taking their addresses.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use super::StartError;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// OTLP and Flight SQL over gRPC.
    Grpc,
    /// OTLP over HTTP.
    Http,
}

impl Port {
    /// How to choose another address.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Grpc => "--grpc-addr (server.grpc_addr) listens elsewhere; port 0 picks a free one",
            Self::Http => "--http-addr (server.http_addr) listens elsewhere; port 0 picks a free one",
        }
    }
}

/// An address that is taken and does not answer.
#[derive(Debug)]
pub(super) struct Taken {
    port: Port,
    addr: SocketAddr,
    socket: TcpSocket,
}

impl Taken {
    /// Takes the address without answering on it: one in use is found out before a long replay.
    pub(super) fn bind(port: Port, addr: SocketAddr) -> Result<Self, StartError> {
        let bound = || {
            let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // A restart must not wait for the old connections' TIME_WAIT to end.
            socket.set_reuseaddr(true)?;
            socket.bind(addr)?;
            Ok(socket)
        };
        let socket = bound().map_err(|source| refused(port, addr, source))?;
        Ok(Self { port, addr, socket })
    }

    /// Starts to answer. The address has the port that was picked if the configured one is 0.
    pub(super) fn listen(self) -> Result<(TcpListener, SocketAddr), StartError> {
        let Self { port, addr, socket } = self;
        let refused = |source| refused(port, addr, source);
        let listener = socket.listen(BACKLOG).map_err(refused)?;
        let addr = listener.local_addr().map_err(refused)?;
        Ok((listener, addr))
    }
}

fn refused(port: Port, addr: SocketAddr, source: io::Error) -> StartError {
    match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { port, addr },
        _ => StartError::Bind { port, addr, source },
    }
}
