//! Where a server is and who asks: the `--url` and `--token` options that all client commands share.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;

use super::{Error, Result};

const DEFAULT_PORT: u16 = 4317;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Flow-control windows wide enough that a fast producer on the same host is not held up by round trips.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// The options of every command that connects to a server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// The server's gRPC address: grpc://HOST:PORT, http://HOST:PORT or HOST:PORT
    #[arg(long, env = "ALULA_URL", value_name = "URL", default_value = "grpc://127.0.0.1:4317")]
    pub(crate) url: ServerUrl,

    /// The JWT to present, as `alula token create` prints it
    #[arg(long, env = "ALULA_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Reads the token from a file; wins over --token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ConnectArgs {
    pub(crate) fn credentials(&self) -> Result<Credentials> {
        match (&self.token_file, &self.token) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| Error::ReadFile { path: path.clone(), source })?;
                Credentials::bearer(&text)
            }
            (None, Some(token)) => Credentials::bearer(token),
            (None, None) => Ok(Credentials::none()),
        }
    }
}

/// The value of the `authorization` header, if there is one.
#[derive(Clone)]
pub(crate) struct Credentials(Option<MetadataValue<Ascii>>);

impl Credentials {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Surrounding white space is dropped: token files end in a newline. An empty token is none at all.
    pub(crate) fn bearer(token: &str) -> Result<Self> {
        let token = token.trim();
        if token.is_empty() {
            return Ok(Self::none());
        }
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| Error::MalformedToken)?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }

    /// Adds the header to a request.
    pub(crate) fn apply<T>(&self, request: &mut tonic::Request<T>) {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.0.as_ref()?.to_str().ok()?.strip_prefix("Bearer ")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Credentials(bearer)" } else { "Credentials(none)" })
    }
}

/// The address of a server that speaks gRPC without TLS. Shown as `grpc://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    authority: String,
}

impl ServerUrl {
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.authority))
            .map_err(|source| Error::Connect { url: self.clone(), source: Box::new(source) })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        endpoint
            .user_agent(concat!("alula/", env!("CARGO_PKG_VERSION")))
            .map_err(|source| Error::Connect { url: self.clone(), source: Box::new(source) })
    }
}

impl From<std::net::SocketAddr> for ServerUrl {
    fn from(address: std::net::SocketAddr) -> Self {
        Self { authority: address.to_string() }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grpc://{}", self.authority)
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    /// The error is a whole sentence, for clap to show behind the offending value.
    fn from_str(given: &str) -> std::result::Result<Self, String> {
        let given = given.trim();
        let absolute = if given.contains("://") { given.to_owned() } else { format!("grpc://{given}") };
        let uri: Uri = absolute
            .parse()
            .map_err(|error| format!("not an address ({error}); write it as grpc://HOST:PORT"))?;
        match uri.scheme_str() {
            Some("grpc" | "grpc+tcp" | "http") => {}
            Some("grpcs" | "grpc+tls" | "https") => {
                return Err("TLS is not supported yet; use grpc://HOST:PORT".to_owned());
            }
            _ => return Err("the scheme must be grpc:// or http://".to_owned()),
        }
        let authority = uri.authority().ok_or("the host is missing; write it as grpc://HOST:PORT")?;
        if authority.as_str().contains('@') {
            return Err("credentials do not belong in the address; use --token or --token-file".to_owned());
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("an address has no path or query; write it as grpc://HOST:PORT".to_owned());
        }
        if authority.host().is_empty() {
            return Err("the host is missing; write it as grpc://HOST:PORT".to_owned());
        }
        // `Authority::port` takes a port that is no 16-bit number for none at all.
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None => DEFAULT_PORT,
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port != 0 => port,
                _ => return Err("the port must be a number from 1 to 65535".to_owned()),
            },
        };
        Ok(Self { authority: format!("{}:{port}", authority.host()) })
    }
}
