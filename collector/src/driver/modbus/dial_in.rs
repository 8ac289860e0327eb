//! Devices that connect to us: one listener per address for all links that share it, each with the device that it knows
//! by the first bytes of a connection. A new connection of a device replaces the one before.
//!
//! What connects and says something else, or nothing for [`IDENTITY_LIMIT`], is closed and told once per text. A text that
//! goes on as a word does is something else: `DTU-10` is not `DTU-1`.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::protocol::modbus::dial_in::{Likeness, likeness};

/// Longest wait for the bytes by which a device is known: heartbeats come once a minute or two.
const IDENTITY_LIMIT: Duration = Duration::from_secs(150);
/// Wait for what may follow the bytes by which a device is known, as far as it is of the same packet.
const SETTLE: Duration = Duration::from_millis(200);
/// The same where what came is also the beginning of what another device of the address says: the rest of that may have been
/// lost on the way and come again (RFC 6298: after a second, then after two more).
const SETTLE_LONG: Duration = Duration::from_secs(if cfg!(test) { 50 } else { 5 });
/// Bytes kept of what a connection says first.
const IDENTITY_BYTES_MAX: usize = 512;
/// Connections of an address that have not said who they are.
const STRANGERS_MAX: usize = 256;
/// Those of one peer address; the devices of a whole site may share one.
const STRANGERS_OF_ONE_MAX: usize = 64;
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
    heartbeat: Vec<u8>,
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
    /// Waits at `listen` for the device that begins with `identity` and may go on with `heartbeat`. Errors: the address cannot be listened on.
    pub(super) fn seat(&self, listen: SocketAddr, identity: &[u8], heartbeat: &[u8]) -> io::Result<Seat> {
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
        let (identity, heartbeat) = (identity.to_vec(), heartbeat.to_vec());
        let slot = Arc::new(Slot { identity, heartbeat, arrived: Mutex::new(None), notify: Notify::new() });
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

    /// The slot that a connection which has said `bytes` so far is likest to, how like, and how long to wait for more before
    /// that counts.
    fn slot(&self, bytes: &[u8]) -> (Likeness, Option<Arc<Slot>>, Duration) {
        let slots = lock(&self.slots);
        let like = |wanted| slots.iter().find(|slot| likeness(&slot.identity, &slot.heartbeat, bytes) == wanted);
        let settle = if like(Likeness::Unclear).is_some() { SETTLE_LONG } else { SETTLE };
        for wanted in [Likeness::Same, Likeness::SoFar, Likeness::Unclear] {
            if let Some(slot) = like(wanted) {
                return (wanted, Some(Arc::clone(slot)), settle);
            }
        }
        (Likeness::Other, None, settle)
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
    // Oldest first.
    let mut strangers: Vec<(IpAddr, AbortHandle)> = Vec::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        strangers.retain(|(_, task)| !task.is_finished());
        if let Some(index) = too_many(strangers.iter().map(|(address, _)| *address), peer.ip()) {
            strangers.remove(index).1.abort();
        }
        let task = tokio::spawn(identify(stream, peer, Weak::clone(&hub)));
        strangers.push((peer.ip(), task.abort_handle()));
    }
}

/// Which of those that have not said who they are, oldest first, has to go for a new one: who is a device says so soon.
fn too_many(strangers: impl ExactSizeIterator<Item = IpAddr> + Clone, new: IpAddr) -> Option<usize> {
    if strangers.clone().filter(|address| *address == new).count() >= STRANGERS_OF_ONE_MAX {
        return strangers.clone().position(|address| address == new);
    }
    (strangers.len() >= STRANGERS_MAX).then_some(0)
}

/// Reads until it is clear who it is, and hands the connection over.
async fn identify(mut stream: TcpStream, peer: SocketAddr, hub: Weak<Hub>) {
    let deadline = Instant::now() + IDENTITY_LIMIT;
    let mut buffer = [0; IDENTITY_BYTES_MAX];
    let mut length = 0;
    let slot = loop {
        let said = buffer.get(..length).unwrap_or_default();
        let Some((likeness, slot, settle)) = hub.upgrade().map(|hub| hub.slot(said)) else { return };
        let so_far = match (likeness, slot) {
            (Likeness::Same, Some(slot)) => break slot,
            (Likeness::SoFar, Some(slot)) => Some(slot),
            (Likeness::Unclear, _) if length < IDENTITY_BYTES_MAX => None,
            _ => {
                if let Some(hub) = hub.upgrade() {
                    let why = "a device that no link knows has connected; give what it says first, to the end of a word, as `registration` \
                               of a link";
                    hub.tell(peer, said, why);
                }
                return;
            }
        };
        let limit = if so_far.is_some() { Instant::now() + settle } else { deadline };
        let space = buffer.get_mut(length..).unwrap_or_default();
        match (timeout_at(limit, stream.read(space)).await, so_far) {
            (Ok(Ok(count)), _) if count > 0 => length = length.saturating_add(count),
            (Ok(_), _) => return,
            (Err(_), Some(slot)) => break slot,
            (Err(_), None) => {
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
        let (a, b) = (listeners.seat(address, b"DTU-A", b"").unwrap(), listeners.seat(address, b"DTU-B", b"").unwrap());
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
            match listeners.seat(address, b"", b"") {
                Ok(seat) => break seat,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let anyone = dial(address, b"").await;
        assert_eq!(again.arrival().await.peer_addr().unwrap(), anyone.local_addr().unwrap());
    }

    fn free_address() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn a_device_with_a_longer_name_does_not_take_the_place() {
        let (listeners, address) = (Listeners::default(), free_address());
        let seat = listeners.seat(address, b"DTU-1", b"PING").unwrap();
        let mut other = dial(address, b"DTU-10").await;
        assert_eq!(other.read(&mut [0; 8]).await.unwrap_or(0), 0);
        for text in [&b"DTU-1"[..], b"DTU-1PING"] {
            let right = dial(address, text).await;
            assert_eq!(seat.arrival().await.peer_addr().unwrap(), right.local_addr().unwrap());
        }
    }

    #[tokio::test]
    async fn a_longer_name_that_comes_in_pieces_does_not_take_the_place() {
        let (listeners, address) = (Listeners::default(), free_address());
        let short = listeners.seat(address, b"DTU-1", b"").unwrap();
        let long = listeners.seat(address, b"DTU-10", b"").unwrap();
        let mut pieces = dial(address, b"DTU-1").await;
        tokio::time::sleep(SETTLE * 2).await;
        assert!(!short.is_replaced(), "the rest may still come");
        pieces.write_all(b"0").await.unwrap();
        assert_eq!(long.arrival().await.peer_addr().unwrap(), pieces.local_addr().unwrap());
        let whole = dial(address, b"DTU-1\r\n").await;
        assert_eq!(short.arrival().await.peer_addr().unwrap(), whole.local_addr().unwrap());
    }

    #[test]
    fn the_oldest_stranger_goes_first() {
        let ip = |last: usize| IpAddr::from([192, 0, 2, u8::try_from(last % 256).unwrap()]);
        let crowd = |count: usize| (0..count).map(ip).collect::<Vec<_>>();
        let of_two = [vec![ip(1)], vec![ip(2); STRANGERS_OF_ONE_MAX]].concat();
        for (strangers, new, expected) in [
            (Vec::new(), ip(1), None),
            (crowd(STRANGERS_MAX - 1), ip(7), None),
            (crowd(STRANGERS_MAX), ip(7), Some(0)),
            (of_two.clone(), ip(1), None),
            (of_two, ip(2), Some(1)),
        ] {
            assert_eq!(too_many(strangers.iter().copied(), new), expected, "{} strangers", strangers.len());
        }
    }

    #[tokio::test]
    async fn silent_connections_do_not_lock_a_device_out() {
        let (listeners, address) = (Listeners::default(), free_address());
        let seat = listeners.seat(address, b"DTU-1", b"").unwrap();
        let mut silent = Vec::new();
        for _ in 0..=STRANGERS_OF_ONE_MAX {
            silent.push(dial(address, b"").await);
        }
        assert_eq!(silent[0].read(&mut [0; 8]).await.unwrap_or(0), 0, "the oldest is closed");
        let right = dial(address, b"DTU-1\r\n").await;
        assert_eq!(seat.arrival().await.peer_addr().unwrap(), right.local_addr().unwrap());
    }
}
