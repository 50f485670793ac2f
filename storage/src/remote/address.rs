//! [`RemoteUrl`]: where the remote tier is, and the client for it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use crate::{Error, Result};

/// What the client itself does about a failed request; beyond it, [`super::objects`] tries again as a whole.
const CLIENT_RETRIES: RetryConfig = RetryConfig {
    backoff: BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(2),
        base: 2.0,
    },
    max_retries: 2,
    retry_timeout: Duration::from_secs(10),
};
/// The longest that connecting may take.
const CONNECT_TIMEOUT: &str = "5 seconds";
/// A request may take as long as [`super::objects`] gives it by its size, never longer than this.
const REQUEST_TIMEOUT: &str = "1 hour";

/// The address of a directory in an object store: `s3://bucket/path`, `gs://bucket/path`, `az://container/path`,
/// `file:///path`.
///
/// It holds no credentials: those come from the environment, and a URL that has some is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl(Url);

impl FromStr for RemoteUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // What is wrong with a URL may be the secret in it.
        let without_query = text.split(['?', '#']).next().unwrap_or_default();
        let shown = match without_query.rsplit_once('@') {
            Some((_, rest)) => format!("...@{rest}"),
            None => without_query.to_owned(),
        };
        let invalid = |reason| Error::InvalidRemoteUrl { given: shown.clone(), reason };
        let url = Url::parse(text).map_err(|_| {
            invalid("use s3://bucket/path, gs://bucket/path, az://container/path or file:///path")
        })?;
        let scheme = ObjectStoreScheme::parse(&url).map(|(scheme, _)| scheme);
        // `abfss://container@account.dfs...` has the container where other URLs have a user.
        let has_user = !url.username().is_empty() && !url.scheme().starts_with("abfs");
        if has_user || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("leave credentials and options out, they come from the environment"));
        }
        match scheme {
            Ok(ObjectStoreScheme::Local) if url.path() == "/" => {
                Err(invalid("name a directory below the root"))
            }
            Ok(
                ObjectStoreScheme::AmazonS3
                | ObjectStoreScheme::GoogleCloudStorage
                | ObjectStoreScheme::MicrosoftAzure
                | ObjectStoreScheme::Local,
            ) => Ok(Self(url)),
            _ => Err(invalid("use s3://bucket/path, gs://bucket/path, az://container/path or file:///path")),
        }
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An object store and where in it the tier is.
#[derive(Clone)]
pub(crate) struct Backend {
    pub store: Arc<dyn ObjectStore>,
    /// The same store for uploads in parts that can be named and aborted later; a file system has none.
    pub multipart: Option<Arc<dyn MultipartStore>>,
    pub prefix: Path,
    /// Where the objects are files of this machine, the directory that must be there already.
    pub local_root: Option<PathBuf>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Backend {
    /// A directory below this one.
    pub(crate) fn below(self, dir: &str) -> Self {
        Self { prefix: self.prefix.join(dir), ..self }
    }

    /// Builds the client. Nothing is sent yet.
    ///
    /// # Errors
    /// `RemoteSetup` — the environment lacks something, or has something that makes no sense.
    pub(crate) fn open(url: &RemoteUrl) -> Result<Self> {
        let setup = |error: object_store::Error| Error::RemoteSetup(error.into());
        let (scheme, prefix) =
            ObjectStoreScheme::parse(&url.0).map_err(|error| Error::RemoteSetup(error.into()))?;
        let remote = |store, multipart| Self {
            store,
            multipart: Some(multipart),
            prefix: prefix.clone(),
            local_root: None,
        };
        Ok(match scheme {
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::from_env().with_url(url.0.as_str());
                let builder = limits().fold(builder, |builder, (key, value)| {
                    builder.with_config(GoogleConfigKey::Client(key), value)
                });
                let store = Arc::new(builder.with_retry(CLIENT_RETRIES).build().map_err(setup)?);
                remote(Arc::clone(&store) as _, store as _)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(url.0.as_str());
                let builder = limits().fold(builder, |builder, (key, value)| {
                    builder.with_config(AzureConfigKey::Client(key), value)
                });
                let store = Arc::new(builder.with_retry(CLIENT_RETRIES).build().map_err(setup)?);
                remote(Arc::clone(&store) as _, store as _)
            }
            ObjectStoreScheme::Local => Self {
                store: Arc::new(LocalFileSystem::new()),
                multipart: None,
                local_root: Some(PathBuf::from("/").join(prefix.as_ref())),
                prefix,
            },
            // `RemoteUrl` lets no other scheme through.
            _ => {
                let builder = AmazonS3Builder::from_env().with_url(url.0.as_str());
                let builder = limits().fold(builder, |builder, (key, value)| {
                    builder.with_config(AmazonS3ConfigKey::Client(key), value)
                });
                let store = Arc::new(builder.with_retry(CLIENT_RETRIES).build().map_err(setup)?);
                remote(Arc::clone(&store) as _, store as _)
            }
        })
    }
}

/// What the environment does not decide.
fn limits() -> impl Iterator<Item = (ClientConfigKey, &'static str)> {
    [(ClientConfigKey::ConnectTimeout, CONNECT_TIMEOUT), (ClientConfigKey::Timeout, REQUEST_TIMEOUT)]
        .into_iter()
}

#[cfg(test)]
mod tests;
