//! To be replaced: stands in for the assembly, so that the life of the process can be tested before its parts exist.

use tokio::net::TcpListener;

use crate::config::Config;
use crate::data_dir::{DataDir, DataDirError};
use crate::listen::{self, ListenAddresses, ListenError, Listening};

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory or the app key.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// The running gateway.
pub struct App {
    listening: Listening,
    _data_dir: DataDir,
    _listeners: Vec<TcpListener>,
}

impl App {
    /// Claims the data directory and listens.
    #[expect(clippy::unused_async, reason = "what replaces this awaits")]
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let data_dir = DataDir::open(&config.data_dir)?;
        data_dir.app_key()?;
        let mut listeners = Vec::new();
        let mut bind = |setting, list: &ListenAddresses| {
            let mut bound = listen::bind(setting, list)?;
            for warning in &bound.warnings {
                tracing::warn!("{warning}");
            }
            listeners.append(&mut bound.listeners);
            Ok::<_, ListenError>(bound.first)
        };
        let rtmp = bind("rtmp_listen", &config.rtmp_listen)?;
        let http = bind("http_listen", &config.http_listen)?;
        let ops = bind("ops_listen", &config.ops_listen)?;
        Ok(Self { listening: Listening { rtmp, http, ops }, _data_dir: data_dir, _listeners: listeners })
    }

    /// The first address of each listener.
    pub fn listening(&self) -> Listening {
        self.listening
    }

    /// Ends everything within the drain time.
    #[expect(clippy::unused_async, reason = "what replaces this awaits")]
    pub async fn stop(self) {}
}
