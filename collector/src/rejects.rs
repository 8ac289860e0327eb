//! The rejects ring: input that could not be decoded or mapped, kept raw on disk until there is newer.
//!
//! In go [`Rejected`]s, by [`Sink::offer`], which never waits, or [`Sink::offer_all`], which waits a second; [`list`] reads them back, also beside a running writer;
//! replayed ones are marked by id. Written soon, but not synced: a power cut may cost the newest. Bounded by bytes: the
//! oldest file goes first. Damaged entries are skipped and counted. It never decides what is rejected.
//!
//! # Files, format version 1
//!
//! `<first id, 20 digits>.rej`: a header and frames as in the journal ([`crate::journal`]), but the magic is
//! `pkrjct\r\n`, the sequence is the id, and `unsynced` is 0. Bodies (numbers as in [`crate::journal::codec`]):
//!
//! - 1 reject: received time zigzag; device 1 byte (0 unknown, 1 known), when known text; source text; class text;
//!   reason text; length of the payload as it came varint; payload, of at most 64 KiB, with its length as varint before.
//! - 2 replayed: id of the reject varint.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::warn;

use crate::journal::codec::{CodecError, Input, put_bytes, put_text, put_varint, put_zigzag};
use crate::journal::file::{Disk, FileHandle, FileLayer as _};
use crate::journal::frame::{self, HEADER_BYTES, Header, padded};
use crate::journal::scan::{Found, Scan};
use crate::metrics::Metrics;
use crate::model::{Rejected, UtcMillis};

const MAGIC: [u8; 8] = *b"pkrjct\r\n";
const VERSION: u16 = 1;
const ENDING: &str = ".rej";
const KIND_REJECT: u8 = 1;
const KIND_REPLAYED: u8 = 2;
/// Longer payloads are cut; a cut one can be looked at, but not replayed.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Rejects on their way to the ring's thread; further ones wait or are dropped and counted.
const QUEUE_MAX: usize = 256;
/// Longest that [`Sink::offer_all`] waits for room, for all its rejects together.
const OFFER_WAIT: Duration = Duration::from_secs(1);
/// How often it looks for room.
const OFFER_LOOK: Duration = Duration::from_millis(1);
/// Written at once when so much has gathered; else when the queue is empty.
const BUFFER_BYTES: usize = 256 * 1024;

/// Size of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingSettings {
    /// Size of one file; it grows beyond by one buffer at most.
    pub file_bytes: u64,
    /// Size of all; at least two files. When reached, the oldest file is deleted.
    pub budget_bytes: u64,
}

impl Default for RingSettings {
    /// Files of 4 MiB, 32 MiB in all.
    fn default() -> Self {
        Self { file_bytes: 4 << 20, budget_bytes: 32 << 20 }
    }
}

/// The writing side. One per directory; calls block on file I/O.
#[derive(Debug)]
pub struct Ring {
    directory: PathBuf,
    settings: RingSettings,
    metrics: Metrics,
    /// Older files and the present one: first id, bytes.
    files: VecDeque<(u64, u64)>,
    current: Option<Arc<dyn FileHandle>>,
    next_id: u64,
    /// Frames not yet written, and how many of them.
    buffer: Vec<u8>,
    waiting: u64,
}

impl Ring {
    /// Opens or creates the ring in `directory`.
    ///
    /// # Errors
    /// The directory cannot be used, or a newer program made its files. Damage is no error.
    pub fn open(directory: &Path, mut settings: RingSettings, metrics: Metrics) -> io::Result<Self> {
        settings.budget_bytes = settings.budget_bytes.max(settings.file_bytes.saturating_mul(2));
        Disk.create_dir(directory)?;
        let mut ring = Self {
            directory: directory.to_owned(),
            settings,
            metrics,
            files: VecDeque::new(),
            current: None,
            next_id: 1,
            buffer: Vec::new(),
            waiting: 0,
        };
        for first in firsts(directory)? {
            ring.files.push_back((first, open_file(directory, first)?.1));
        }
        if let Some((first, bytes)) = ring.files.pop_back() {
            let file = Disk.open(&path_of(directory, first), true)?;
            let mut scan = Scan::new(Arc::clone(&file), first, bytes);
            let mut end = HEADER_BYTES as u64;
            ring.next_id = first;
            while let Found::Entry { frame, offset, .. } = scan.next(1) {
                ring.next_id = frame.sequence.saturating_add(1);
                end = offset.saturating_add(padded(frame.bytes()) as u64);
            }
            file.set_len(end)?;
            ring.files.push_back((first, end));
            ring.current = Some(file);
        }
        ring.publish();
        Ok(ring)
    }

    /// Adds a reject; it is in the file after [`Self::flush`] at the latest. Gives its id.
    ///
    /// # Errors
    /// The disk refused; what was not yet written is lost and counted.
    pub fn append(&mut self, rejected: &Rejected) -> io::Result<u64> {
        self.add(|out| {
            out.push(KIND_REJECT);
            put_zigzag(out, rejected.received_time.0);
            out.push(u8::from(rejected.device.is_some()));
            if let Some(device) = &rejected.device {
                put_text(out, device);
            }
            put_text(out, &rejected.source);
            put_text(out, rejected.class);
            put_text(out, &rejected.reason);
            put_varint(out, rejected.payload.len() as u64);
            put_bytes(out, rejected.payload.get(..PAYLOAD_BYTES_MAX).unwrap_or(&rejected.payload));
        })
    }

    /// Notes that a reject was replayed: [`list`] leaves it out unless asked.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn mark_replayed(&mut self, id: u64) -> io::Result<()> {
        self.add(|out| {
            out.push(KIND_REPLAYED);
            put_varint(out, id);
        })
        .map(|_| ())
    }

    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<u64> {
        let start = self.buffer.len();
        frame::open_frame(&mut self.buffer, write).map_err(|bytes| io::Error::other(format!("{bytes} bytes are too many")))?;
        let id = self.next_id;
        if let Some(frame) = self.buffer.get_mut(start..) {
            frame::seal(frame, id, 0);
        }
        self.next_id = id.saturating_add(1);
        self.waiting = self.waiting.saturating_add(1);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(id)
    }

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let result = self.write_out();
        self.buffer.clear();
        let waiting = std::mem::take(&mut self.waiting);
        if result.is_err() {
            // What lies in this file now is unknown: go on in a new one.
            self.current = None;
            self.metrics.rejects_dropped.inc_by(waiting);
        }
        self.publish();
        result
    }

    fn write_out(&mut self) -> io::Result<()> {
        let full = self.files.back().is_some_and(|&(_, bytes)| bytes >= self.settings.file_bytes);
        let file = match self.current.take().filter(|_| !full) {
            Some(file) => file,
            None => self.new_file()?,
        };
        let Some((_, bytes)) = self.files.back_mut() else { return Ok(()) };
        file.write_at(&self.buffer, *bytes)?;
        *bytes = bytes.saturating_add(self.buffer.len() as u64);
        self.current = Some(file);
        Ok(())
    }

    /// Starts the next file, with room made for it.
    fn new_file(&mut self) -> io::Result<Arc<dyn FileHandle>> {
        while self.bytes().saturating_add(self.settings.file_bytes) > self.settings.budget_bytes {
            let Some((oldest, _)) = self.files.pop_front() else { break };
            match Disk.remove(&path_of(&self.directory, oldest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let first = frame::Frame::parse(&self.buffer).map_or(self.next_id, |frame| frame.sequence);
        let path = path_of(&self.directory, first);
        let file = Disk.create(&path)?;
        if let Err(error) = file.write_at(&Header { version: VERSION, first, created: 0 }.to_bytes(MAGIC), 0) {
            let _ = Disk.remove(&path);
            return Err(error);
        }
        self.files.push_back((first, HEADER_BYTES as u64));
        Ok(file)
    }

    fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, &(_, bytes)| sum.saturating_add(bytes))
    }

    fn publish(&self) {
        self.metrics.rejects_bytes.set(i64::try_from(self.bytes()).unwrap_or(i64::MAX));
    }
}

enum Order {
    Keep(Rejected),
    Replayed(u64),
    Flush(SyncSender<()>),
}

/// Takes rejects from async tasks to the ring's own thread. Cheap to clone; the thread ends with [`Self::close`] or with
/// the last clone.
#[derive(Clone, Debug)]
pub struct Sink {
    queue: SyncSender<Order>,
    metrics: Metrics,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Sink {
    /// Starts the thread that writes `ring`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(ring: Ring) -> io::Result<Self> {
        let (queue, orders) = sync_channel(QUEUE_MAX);
        let metrics = ring.metrics.clone();
        let thread = std::thread::Builder::new().name("rejects".to_owned()).spawn(move || work(ring, &orders))?;
        Ok(Self { queue, metrics, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Keeps a reject. Returns at once; when the queue is full it is dropped and counted.
    pub fn offer(&self, mut rejected: Rejected) {
        rejected.payload.shrink_to_fit();
        self.send(Order::Keep(rejected));
    }

    /// Keeps many rejects, as of one batch, which may be more than the queue holds. Blocks while the queue is full, for
    /// a second in all; what finds no room by then is dropped and counted, so that a disk that hangs stops nothing else.
    pub fn offer_all(&self, all: Vec<Rejected>) {
        let mut since: Option<Instant> = None;
        for mut rejected in all {
            rejected.payload.shrink_to_fit();
            let mut order = Order::Keep(rejected);
            while let Err(error) = self.queue.try_send(order) {
                let waited = since.get_or_insert_with(Instant::now).elapsed();
                match error {
                    TrySendError::Full(back) if waited < OFFER_WAIT => order = back,
                    TrySendError::Full(_) | TrySendError::Disconnected(_) => {
                        self.metrics.rejects_dropped.inc();
                        break;
                    }
                }
                std::thread::sleep(OFFER_LOOK);
            }
        }
    }

    /// Notes that a reject was replayed. Returns at once; when the queue is full the note is dropped, and the reject may
    /// be replayed again.
    pub fn mark_replayed(&self, id: u64) {
        self.send(Order::Replayed(id));
    }

    fn send(&self, order: Order) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(order) {
            self.metrics.rejects_dropped.inc();
        }
    }

    /// Waits until what was offered before is in the files. Blocks.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Order::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    /// Writes what waits and ends the thread once no clone is left; this one gives itself up. Blocks.
    pub fn close(self) {
        self.flush();
        let Self { queue, thread, .. } = self;
        drop(queue);
        let thread = Arc::into_inner(thread).and_then(|thread| thread.into_inner().unwrap_or_else(PoisonError::into_inner));
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn work(mut ring: Ring, orders: &Receiver<Order>) {
    let mut refused = false;
    while let Ok(mut order) = orders.recv() {
        let mut result = Ok(());
        let mut flushed = Vec::new();
        loop {
            let one = match order {
                Order::Keep(rejected) => ring.append(&rejected).map(|_| ()),
                Order::Replayed(id) => ring.mark_replayed(id),
                Order::Flush(done) => {
                    flushed.push(done);
                    Ok(())
                }
            };
            result = result.and(one);
            let Ok(next) = orders.try_recv() else { break };
            order = next;
        }
        result = result.and(ring.flush());
        for done in flushed {
            let _ = done.send(());
        }
        if let (Err(error), false) = (&result, refused) {
            warn!(directory = %ring.directory.display(), error = %error, "rejects cannot be kept");
        }
        refused = result.is_err();
    }
}

/// A reject as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReject {
    /// Its number in the ring: ascending, not without gaps.
    pub id: u64,
    /// See [`Rejected::received_time`].
    pub received_time: UtcMillis,
    /// See [`Rejected::device`].
    pub device: Option<String>,
    /// See [`Rejected::source`].
    pub source: String,
    /// See [`Rejected::class`].
    pub class: String,
    /// See [`Rejected::reason`].
    pub reason: String,
    /// The raw bytes, at most [`PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
    /// Bytes of the payload as it came: more than there are when it was cut.
    pub payload_bytes: u64,
    /// Whether it was replayed.
    pub replayed: bool,
}

impl StoredReject {
    /// Whether the payload was cut: such a one cannot be replayed.
    pub fn is_cut(&self) -> bool {
        self.payload_bytes > self.payload.len() as u64
    }

    /// For `--json`: all fields by name, the payload as `payload` where it is UTF-8, else as `payload_hex`.
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "id": self.id,
            "received_time": self.received_time.to_string(),
            "device": self.device,
            "source": self.source,
            "class": self.class,
            "reason": self.reason,
            "payload_bytes": self.payload_bytes,
            "replayed": self.replayed,
        });
        let (key, text) = match std::str::from_utf8(&self.payload) {
            Ok(text) => ("payload", text.to_owned()),
            Err(_) => ("payload_hex", self.payload.iter().map(|byte| format!("{byte:02x}")).collect()),
        };
        if let Some(fields) = value.as_object_mut() {
            fields.insert(key.to_owned(), Value::String(text));
        }
        value
    }
}

/// Which rejects to list; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this device.
    pub device: Option<String>,
    /// Of this class of reason.
    pub class: Option<String>,
    /// Received at this time or later.
    pub since: Option<UtcMillis>,
    /// With exactly these ids.
    pub ids: Option<BTreeSet<u64>>,
    /// Also those that were replayed.
    pub with_replayed: bool,
}

impl Filter {
    fn takes(&self, reject: &StoredReject) -> bool {
        self.device.as_ref().is_none_or(|device| reject.device.as_ref() == Some(device))
            && self.class.as_ref().is_none_or(|class| reject.class == *class)
            && self.since.is_none_or(|since| reject.received_time >= since)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&reject.id))
            && (self.with_replayed || !reject.replayed)
    }
}

/// The rejects in `directory` that `filter` takes, oldest first. Reads only; works beside a running writer. Blocks, the
/// iterator too. A directory that is not there is empty.
///
/// # Errors
/// The directory cannot be read, or a newer program made its files.
pub fn list(directory: &Path, filter: Filter) -> io::Result<List> {
    let files = match firsts(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let mut walk = Walk { directory: directory.to_owned(), files: files.clone().into(), scan: None, damaged: 0 };
    let mut replayed = BTreeSet::new();
    while let Some(entry) = walk.next()? {
        if let Entry::Replayed(id) = entry {
            replayed.insert(id);
        }
    }
    let damaged = walk.damaged;
    let walk = Walk { directory: directory.to_owned(), files: files.into(), scan: None, damaged: 0 };
    Ok(List { walk, replayed, filter, damaged })
}

/// See [`list`].
#[derive(Debug)]
pub struct List {
    walk: Walk,
    replayed: BTreeSet<u64>,
    filter: Filter,
    damaged: u64,
}

impl List {
    /// Damaged places in the files; what lay there is left out.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }
}

impl Iterator for List {
    type Item = StoredReject;

    fn next(&mut self) -> Option<StoredReject> {
        loop {
            // What could be read a moment ago and now cannot was deleted by the writer: the list ends.
            if let Entry::Reject(mut reject) = self.walk.next().ok()?? {
                reject.replayed = self.replayed.contains(&reject.id);
                if self.filter.takes(&reject) {
                    return Some(reject);
                }
            }
        }
    }
}

enum Entry {
    Reject(StoredReject),
    Replayed(u64),
}

/// Goes through the entries of all files.
#[derive(Debug)]
struct Walk {
    directory: PathBuf,
    files: VecDeque<u64>,
    scan: Option<Scan>,
    damaged: u64,
}

impl Walk {
    fn next(&mut self) -> io::Result<Option<Entry>> {
        loop {
            let Some(scan) = &mut self.scan else {
                let Some(first) = self.files.pop_front() else { return Ok(None) };
                match open_file(&self.directory, first) {
                    Ok((file, bytes)) => self.scan = Some(Scan::new(file, first, bytes)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                continue;
            };
            match scan.next(1) {
                Found::Entry { frame, offset, garbage } => {
                    self.damaged = self.damaged.saturating_add(u64::from(garbage > 0));
                    match decode(frame.sequence, scan.body(&frame, offset)) {
                        Ok(entry) => return Ok(Some(entry)),
                        Err(_) => self.damaged = self.damaged.saturating_add(1),
                    }
                }
                Found::End { garbage } => {
                    self.damaged = self.damaged.saturating_add(u64::from(garbage > 0));
                    self.scan = None;
                }
            }
        }
    }
}

fn decode(id: u64, body: &[u8]) -> Result<Entry, CodecError> {
    let mut input = Input(body);
    Ok(match input.byte()? {
        KIND_REJECT => Entry::Reject(StoredReject {
            id,
            received_time: input.time()?,
            device: if input.byte()? == 0 { None } else { Some(input.text()?) },
            source: input.text()?,
            class: input.text()?,
            reason: input.text()?,
            payload_bytes: input.varint()?,
            payload: input.bytes()?.to_vec(),
            replayed: false,
        }),
        KIND_REPLAYED => Entry::Replayed(input.varint()?),
        _ => return Err(CodecError::Bad("kind")),
    })
}

/// What `tests/fuzz` calls, and nothing else does.
#[cfg(fuzzing)]
pub mod fuzz {
    /// The body of an entry: what can be read can be shown.
    pub fn entry(body: &[u8]) {
        if let Ok(super::Entry::Reject(reject)) = super::decode(1, body) {
            assert!(reject.payload.len() <= body.len() && !reject.to_json().to_string().is_empty());
        }
    }
}

fn path_of(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}{ENDING}"))
}

fn firsts(directory: &Path) -> io::Result<Vec<u64>> {
    let names = Disk.list(directory)?;
    let mut firsts: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(ENDING)?.parse().ok()).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// A file for reading, and its length.
fn open_file(directory: &Path, first: u64) -> io::Result<(Arc<dyn FileHandle>, u64)> {
    let path = path_of(directory, first);
    let file = Disk.open(&path, false)?;
    let mut header = [0; HEADER_BYTES];
    let _ = file.read_at(&mut header, 0);
    if let Some(header) = Header::parse(&header, MAGIC).filter(|header| header.version > VERSION) {
        let text = format!("{} has format version {}, this program reads up to {VERSION}", path.display(), header.version);
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let length = file.length()?;
    Ok((file, length))
}
