//! Devices that connect to us: one listener per address for all links that share it, each with the device that it knows
//! by the first bytes of a connection. A new connection of a device replaces the one before.
//!
//! What connects and says something else, or nothing for [`IDENTITY_LIMIT`], is closed and told once per text.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// Longest wait for the bytes by which a device is known: heartbeats come once a minute or two.
const IDENTITY_LIMIT: Duration = Duration::from_secs(150);
/// Bytes kept of what a connection says first.
const IDENTITY_BYTES_MAX: usize = 512;
/// Connections of an address that have not said who they are.
const STRANGERS_MAX: usize = 256;
/// Texts of strangers that are remembered, so that each is told once.
const TOLD_MAX: usize = 100;

/// All addresses listened on. Cheap to clone; an address is listened on as long as a link has a [`Seat`] there.
#[derive(Clone, Debug, Default)]
pub struct Listeners(Arc<Mutex<HashMap<SocketAddr, Weak<Hub>>>>);

/// One address.
#[derive(Debug)]
struct Hub {
    slots: Mutex<Vec<Arc<Slot>>>,
    local_addr: SocketAddr,
    accepting: Mutex<Option<AbortHandle>>,
    told: Mutex<HashSet<Vec<u8>>>,
}

/// Where a link waits for its device.
#[derive(Debug)]
struct Slot {
    /// Empty: whoever connects.
    identity: Vec<u8>,
    arrived: Mutex<Option<TcpStream>>,
    notify: Notify,
}

/// A link's place at an address; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    hub: Arc<Hub>,
    slot: Arc<Slot>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listeners {
    /// Waits at `listen` for the device that begins with `identity`. Errors: the address cannot be listened on.
    pub(super) fn seat(&self, listen: SocketAddr, identity: &[u8]) -> io::Result<Seat> {
        let mut hubs = lock(&self.0);
        let hub = match hubs.get(&listen).and_then(Weak::upgrade) {
            Some(hub) => hub,
            None => {
                let hub = Hub::open(listen)?;
                hubs.retain(|_, hub| hub.strong_count() > 0);
                hubs.insert(listen, Arc::downgrade(&hub));
                hub
            }
        };
        let slot = Arc::new(Slot { identity: identity.to_vec(), arrived: Mutex::new(None), notify: Notify::new() });
        lock(&hub.slots).push(Arc::clone(&slot));
        Ok(Seat { hub, slot })
    }
}

impl Hub {
    fn open(listen: SocketAddr) -> io::Result<Arc<Self>> {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let local_addr = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let hub = Self { slots: Mutex::default(), local_addr, accepting: Mutex::default(), told: Mutex::default() };
        let hub = Arc::new(hub);
        let task = tokio::spawn(accept(listener, Arc::downgrade(&hub)));
        *lock(&hub.accepting) = Some(task.abort_handle());
        Ok(hub)
    }

    /// The slot of a connection that has said `bytes` so far; `Err(true)`: it may still say the right thing.
    fn slot(&self, bytes: &[u8]) -> Result<Arc<Slot>, bool> {
        let slots = lock(&self.slots);
        if let Some(slot) = slots.iter().find(|slot| bytes.starts_with(&slot.identity)) {
            return Ok(Arc::clone(slot));
        }
        Err(slots.iter().any(|slot| slot.identity.starts_with(bytes)))
    }

    fn tell(&self, peer: SocketAddr, bytes: &[u8], why: &str) {
        let mut told = lock(&self.told);
        if told.len() < TOLD_MAX && told.insert(bytes.to_vec()) {
            let text = bytes.escape_ascii().to_string();
            tracing::warn!(listen = %self.local_addr, peer = %peer, said = %text, "{why}");
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.accepting).take() {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, hub: Weak<Hub>) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Where too many say nothing, the new one is closed; a device comes again.
        let Ok(permit) = Arc::clone(&strangers).try_acquire_owned() else { continue };
        let hub = Weak::clone(&hub);
        tokio::spawn(async move {
            identify(stream, peer, hub).await;
            drop(permit);
        });
    }
}

/// Reads until it is clear who it is, and hands the connection over.
async fn identify(mut stream: TcpStream, peer: SocketAddr, hub: Weak<Hub>) {
    let deadline = Instant::now() + IDENTITY_LIMIT;
    let mut buffer = [0; IDENTITY_BYTES_MAX];
    let mut length = 0;
    let slot = loop {
        let said = buffer.get(..length).unwrap_or_default();
        match hub.upgrade().map(|hub| hub.slot(said)) {
            None => return,
            Some(Ok(slot)) => break slot,
            Some(Err(true)) if length < IDENTITY_BYTES_MAX => {}
            Some(Err(_)) => {
                if let Some(hub) = hub.upgrade() {
                    hub.tell(peer, said, "a device that no link knows has connected; give its first bytes as `registration` of a link");
                }
                return;
            }
        }
        let space = buffer.get_mut(length..).unwrap_or_default();
        match timeout_at(deadline, stream.read(space)).await {
            Ok(Ok(count)) if count > 0 => length = length.saturating_add(count),
            Ok(_) => return,
            Err(_) => {
                if let Some(hub) = hub.upgrade() {
                    hub.tell(peer, buffer.get(..length).unwrap_or_default(), "a device has connected and does not say who it is");
                }
                return;
            }
        }
    };
    *lock(&slot.arrived) = Some(stream);
    slot.notify.notify_one();
}

impl Seat {
    /// The newest connection of the device, once there is one. Cancel-safe.
    pub(super) async fn arrival(&self) -> TcpStream {
        loop {
            if let Some(stream) = lock(&self.slot.arrived).take() {
                return stream;
            }
            self.slot.notify.notified().await;
        }
    }

    /// Whether there is a newer connection.
    pub(super) fn is_replaced(&self) -> bool {
        lock(&self.slot.arrived).is_some()
    }

    /// Where it waits.
    #[cfg(test)]
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.hub.local_addr
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.hub.slots).retain(|slot| !Arc::ptr_eq(slot, &self.slot));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn dial(address: SocketAddr, text: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn devices_find_their_links_and_strangers_are_closed() {
        let listeners = Listeners::default();
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = probe.local_addr().unwrap();
        drop(probe);
        let (a, b) = (listeners.seat(address, b"DTU-A").unwrap(), listeners.seat(address, b"DTU-B").unwrap());
        assert_eq!(a.local_addr(), b.local_addr());
        let first = dial(address, b"DTU-A\r\n").await;
        let peer = a.arrival().await.peer_addr().unwrap();
        assert_eq!(peer, first.local_addr().unwrap());
        let mut slow = dial(address, b"DT").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        slow.write_all(b"U-B").await.unwrap();
        assert_eq!(b.arrival().await.peer_addr().unwrap(), slow.local_addr().unwrap());
        let mut stranger = dial(address, b"GET / HTTP/1.1\r\n\r\n").await;
        assert_eq!(stranger.read(&mut [0; 8]).await.unwrap_or(0), 0);

        // The newest connection of a device is the one that counts.
        let _old = dial(address, b"DTU-A").await;
        while !a.is_replaced() {
            tokio::task::yield_now().await;
        }
        let new = dial(address, b"DTU-A").await;
        loop {
            let arrived = a.arrival().await;
            if arrived.peer_addr().unwrap() == new.local_addr().unwrap() {
                break;
            }
        }

        // An address is given back with the last seat, and can be taken again.
        drop(a);
        drop(b);
        let again = loop {
            match listeners.seat(address, b"") {
                Ok(seat) => break seat,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let anyone = dial(address, b"").await;
        assert_eq!(again.arrival().await.peer_addr().unwrap(), anyone.local_addr().unwrap());
    }
}
