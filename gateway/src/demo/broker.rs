//! The embedded MQTT broker of the demo: loopback only, anonymous, on a free port.
//!
//! Sessions and queues live in memory: the broker's life is the demo's life, and what a dead demo had queued would come
//! back too late, as values without a time of their own.

use std::net::{Ipv4Addr, SocketAddr};

use mqtt5::broker::config::{BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};
use tokio::task::JoinHandle;
use tracing::warn;

use super::DemoError;

/// Messages kept per client that is away; the oldest are dropped beyond.
const QUEUED_MESSAGES_MAX: usize = 10_000;
/// Clients at a time: the gateway, the publishers and a curious person's tools.
const CLIENTS_MAX: usize = 100;

/// A running broker. Stop it with [`DemoBroker::stop`]; dropping it ends it too, without waiting.
pub struct DemoBroker {
    address: SocketAddr,
    shutdown: BrokerShutdownHandle,
    task: JoinHandle<()>,
}

impl DemoBroker {
    /// Opens a free port on 127.0.0.1 and serves it.
    pub async fn start() -> Result<Self, DemoError> {
        let storage = StorageConfig::new()
            .with_backend(StorageBackend::Memory)
            // Without "persistence" nothing is queued for a session whose client is away; in memory it is no more than that.
            .with_persistence(true)
            .with_max_queued_messages_per_client(QUEUED_MESSAGES_MAX);
        let config = BrokerConfig::new()
            .with_bind_addresses(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
            .with_max_clients(CLIENTS_MAX)
            .with_sys_topics_enabled(false)
            .with_storage(storage);
        let mut broker = MqttBroker::with_config(config).await.map_err(|error| DemoError::Broker(error.to_string()))?;
        let address = broker.local_addr().ok_or_else(|| DemoError::Broker("has no address".into()))?;
        let shutdown = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move {
            if let Err(error) = broker.run().await {
                warn!(error = %error, "demo broker stopped");
            }
        });
        // The sender goes when the broker could not run; then there is nothing to wait for.
        ready.wait_for(|ready| *ready).await.map_err(|_| DemoError::Broker("did not start".into()))?;
        Ok(Self { address, shutdown, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections and waits for the end.
    pub async fn stop(mut self) {
        self.shutdown.shutdown();
        let _ = (&mut self.task).await;
    }
}

impl Drop for DemoBroker {
    fn drop(&mut self) {
        self.shutdown.shutdown();
    }
}

impl std::fmt::Debug for DemoBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DemoBroker").field("address", &self.address).finish_non_exhaustive()
    }
}
