//! Units on a line in RTU frames: on a serial port, over TCP, or on a stream in memory. Notes when bytes came and went.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fault::{Fault, Faults, UnitMode};
use super::{Bank, Units};
use crate::protocol::modbus::rtu::{REQUEST_LENGTH, crc16};
use crate::protocol::modbus::{Function, identify};

/// Pause between the two pieces of a split answer.
const SPLIT_PAUSE: Duration = Duration::from_millis(2);
/// Bytes of a request for a device identification.
const IDENTIFY_LENGTH: usize = 7;

/// One piece of bytes on the line.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// When.
    pub time: Instant,
    /// From the master.
    pub received: bool,
    /// How many bytes.
    pub bytes: usize,
    /// The unit that the piece is from or to; `None` where it is no whole request.
    pub unit_id: Option<u8>,
}

/// Units that answer; they stop when this is dropped.
#[derive(Debug)]
pub struct RtuServer {
    local_addr: Option<SocketAddr>,
    line: Arc<SimLine>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

struct SimLine {
    units: Units,
    /// It is a connection, which can close.
    closes: bool,
    echo: AtomicBool,
    answer_us: AtomicU64,
    /// A piece that would go out later than so long after its request is not sent.
    limit_us: AtomicU64,
    stamps: Mutex<Vec<Stamp>>,
    identities: Mutex<BTreeMap<u8, [String; 3]>>,
    /// The connection that gets what the units say, whoever asked; `None`: each connection gets its own answers.
    newest: Option<Mutex<mpsc::Sender<Piece>>>,
}

impl std::fmt::Debug for SimLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimLine").finish_non_exhaustive()
    }
}

impl SimLine {
    fn new(bank: Bank, faults: Arc<Faults>, closes: bool) -> Self {
        let units = Units { bank, faults, requests: Arc::default(), connection: 0 };
        Self {
            units,
            closes,
            echo: AtomicBool::new(false),
            answer_us: AtomicU64::new(0),
            limit_us: AtomicU64::new(u64::MAX),
            stamps: Mutex::default(),
            identities: Mutex::default(),
            newest: None,
        }
    }

    fn stamp(&self, received: bool, bytes: usize, unit_id: Option<u8>) {
        let stamp = Stamp { time: Instant::now(), received, bytes, unit_id };
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner).push(stamp);
    }
}

impl RtuServer {
    /// Answers on a stream until it ends.
    pub fn on(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, bank: Bank, faults: Arc<Faults>) -> Self {
        let line = Arc::new(SimLine::new(bank, faults, false));
        let cancel = CancellationToken::new();
        let (serving, stopped) = (Arc::clone(&line), cancel.clone());
        let task = tokio::spawn(async move {
            let _ = stopped.run_until_cancelled(serve(stream, serving, 0)).await;
        });
        Self { local_addr: None, line, cancel, task }
    }

    /// Answers on each connection to `addr` (port 0: a free one).
    pub async fn listen(addr: SocketAddr, bank: Bank, faults: Arc<Faults>) -> io::Result<Self> {
        Self::listen_with(addr, SimLine::new(bank, faults, true)).await
    }

    /// The same as a converter does it that has one line behind it: what the units say goes to the newest connection, also
    /// when another one asked that is gone by then.
    pub async fn listen_as_converter(addr: SocketAddr, bank: Bank, faults: Arc<Faults>) -> io::Result<Self> {
        let nobody = mpsc::channel(1).0;
        let line = SimLine { newest: Some(Mutex::new(nobody)), ..SimLine::new(bank, faults, true) };
        Self::listen_with(addr, line).await
    }

    async fn listen_with(addr: SocketAddr, line: SimLine) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = Some(listener.local_addr()?);
        let line = Arc::new(line);
        let cancel = CancellationToken::new();
        let (serving, stopped) = (Arc::clone(&line), cancel.clone());
        let task = tokio::spawn(async move {
            let accept = async {
                let mut connection = 0;
                while let Ok((stream, _)) = listener.accept().await {
                    connection += 1;
                    let _ = stream.set_nodelay(true);
                    let (line, stopped) = (Arc::clone(&serving), stopped.clone());
                    tokio::spawn(async move {
                        let _ = stopped.run_until_cancelled(serve(stream, line, connection)).await;
                    });
                }
            };
            let _ = stopped.run_until_cancelled(accept).await;
        });
        Ok(Self { local_addr, line, cancel, task })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Requests received.
    pub fn requests(&self) -> u64 {
        self.line.units.requests.load(Ordering::Relaxed)
    }

    /// Whether the line gives back what the master sends.
    pub fn set_echo(&self, echo: bool) {
        self.line.echo.store(echo, Ordering::Relaxed);
    }

    /// From now on a unit says who made it: maker, product code, revision.
    pub fn set_identity(&self, unit_id: u8, identity: [&str; 3]) {
        self.line.identities.lock().unwrap_or_else(PoisonError::into_inner).insert(unit_id, identity.map(str::to_owned));
    }

    /// How long units take to answer.
    pub fn set_answer_time(&self, time: Duration) {
        self.line.answer_us.store(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Answers never come later than this after their request, even when the machine is slow: then they do not come.
    pub fn set_limit(&self, limit: Duration) {
        self.line.limit_us.store(u64::try_from(limit.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was on the line so far, which is forgotten.
    pub fn take_stamps(&self) -> Vec<Stamp> {
        std::mem::take(&mut *self.line.stamps.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops answering, and closes what was open.
    pub async fn stop(mut self) {
        self.cancel.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for RtuServer {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Bytes on their way out.
struct Piece {
    /// Not before.
    time: Instant,
    /// When the request came.
    asked: Instant,
    bytes: Vec<u8>,
}

/// Pieces on their way to the newest connection; of more the line loses the rest, as lines do.
const PIECES: usize = 1_024;

/// Serves one stream until it ends, or a fault closes it.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, line: Arc<SimLine>, connection: u64) {
    let units = Units { connection, ..line.units.clone() };
    let mut random = line.units.faults.random();
    let mut incoming: Vec<u8> = Vec::new();
    // Pieces with the time before which each is not sent, in that order, and the time of their request.
    let mut outgoing: Vec<Piece> = Vec::new();
    let (to_us, mut said) = mpsc::channel::<Piece>(PIECES);
    if let Some(newest) = &line.newest {
        *newest.lock().unwrap_or_else(PoisonError::into_inner) = to_us.clone();
    }
    let mut buffer = [0; 512];
    loop {
        let next = outgoing.first().map(|piece| piece.time);
        tokio::select! {
            biased;
            () = async { if let Some(time) = next { sleep_until(time).await } }, if next.is_some() => {
                let Piece { asked, bytes: piece, .. } = outgoing.remove(0);
                if asked.elapsed() > Duration::from_micros(line.limit_us.load(Ordering::Relaxed)) {
                    continue;
                }
                line.stamp(false, piece.len(), piece.first().copied());
                if stream.write_all(&piece).await.is_err() {
                    return;
                }
            }
            piece = said.recv() => {
                outgoing.extend(piece);
            }
            read = stream.read(&mut buffer) => {
                let Ok(count @ 1..) = read else { return };
                incoming.extend_from_slice(buffer.get(..count).unwrap_or_default());
                let mut requests = Vec::new();
                let mut identifies = Vec::new();
                loop {
                    let asks_who = incoming.get(1) == Some(&identify::FUNCTION);
                    if let Some(frame) = incoming.first_chunk::<IDENTIFY_LENGTH>().copied().filter(|frame| asks_who && crc16(frame) == 0) {
                        identifies.push(frame[0]);
                        incoming.drain(..IDENTIFY_LENGTH);
                    } else if let Some(frame) = incoming.first_chunk::<REQUEST_LENGTH>().copied() {
                        if crc16(&frame) == 0 {
                            requests.push(frame);
                            incoming.drain(..REQUEST_LENGTH);
                        } else {
                            incoming.remove(0);
                        }
                    } else {
                        break;
                    }
                }
                for unit_id in identifies {
                    let now = Instant::now();
                    if let Some(answer) = identity(&line, unit_id)
                        && !send(answer, now, &line, &mut random, &mut outgoing)
                    {
                        return;
                    }
                }
                line.stamp(true, count, requests.first().map(|frame| frame[0]));
                for request in requests {
                    let now = Instant::now();
                    if line.echo.load(Ordering::Relaxed) {
                        outgoing.push(Piece { time: now, asked: now, bytes: request.to_vec() });
                    }
                    if let Some(answer) = answer(&units, request)
                        && !send(answer, now, &line, &mut random, &mut outgoing)
                    {
                        return;
                    }
                    outgoing.sort_by_key(|piece| piece.time);
                    if line.newest.is_some() {
                        for piece in outgoing.drain(..) {
                            tokio::spawn(say(Arc::clone(&line), piece));
                        }
                    }
                }
            }
        }
    }
}

/// Who made a unit, without the CRC; an exception where nobody said so.
fn identity(line: &SimLine, unit_id: u8) -> Option<Vec<u8>> {
    if line.units.faults.unit(unit_id) == UnitMode::Silent {
        return None;
    }
    let identities = line.identities.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(texts) = identities.get(&unit_id) else { return Some(vec![unit_id, identify::FUNCTION | 0x80, 1]) };
    let mut answer = vec![unit_id, identify::FUNCTION, 0x0E, 1, 1, 0, 0, 3];
    for (id, text) in (0..).zip(texts) {
        answer.extend([id, u8::try_from(text.len()).unwrap_or(u8::MAX)]);
        answer.extend(text.bytes().take(u8::MAX.into()));
    }
    Some(answer)
}

/// Gives a piece to the newest connection when its time has come.
async fn say(line: Arc<SimLine>, piece: Piece) {
    sleep_until(piece.time).await;
    if let Some(newest) = &line.newest {
        let _ = newest.lock().unwrap_or_else(PoisonError::into_inner).try_send(piece);
    }
}

/// The right answer to a request, without its CRC.
fn answer(units: &Units, request: [u8; REQUEST_LENGTH]) -> Option<Vec<u8>> {
    units.requests.fetch_add(1, Ordering::Relaxed);
    let [unit_id, code, a1, a0, q1, q0, ..] = request;
    let (address, quantity) = (u16::from_be_bytes([a1, a0]), u16::from_be_bytes([q1, q0]));
    let read = Function::from_code(code).ok_or(1).and_then(|function| {
        let words = units.read(unit_id, function, address, quantity)?;
        Ok(words.map(|words| (function, words)))
    });
    match read {
        Ok(None) => None,
        Err(exception) => Some(vec![unit_id, code | 0x80, exception]),
        Ok(Some((function, words))) => {
            let data: Vec<u8> = if function.reads_bits() {
                words.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit != 0))).collect()
            } else {
                words.iter().flat_map(|word| word.to_be_bytes()).collect()
            };
            let mut frame = vec![unit_id, code, u8::try_from(data.len()).unwrap_or(u8::MAX)];
            frame.extend(data);
            Some(frame)
        }
    }
}

/// Puts an answer on its way, spoilt by the fault that hits it. False: the connection closes.
fn send(mut body: Vec<u8>, asked: Instant, line: &SimLine, random: &mut fastrand::Rng, outgoing: &mut Vec<Piece>) -> bool {
    let mut time = asked + Duration::from_micros(line.answer_us.load(Ordering::Relaxed));
    let fault = line.units.faults.draw(random);
    let cut = random.usize(1..=4);
    match (fault, body.as_mut_slice()) {
        (Some(Fault::Silence), _) => return true,
        (Some(Fault::Close), _) => return !line.closes,
        (Some(Fault::LateAnswer), _) => time += line.units.faults.late(),
        (Some(Fault::WrongByteCount), [_, _, count, ..]) => *count = count.wrapping_add(2),
        (Some(Fault::WrongFunction), [_, function, ..]) => *function ^= 0x01,
        (Some(Fault::WrongUnit), [unit_id, ..]) => *unit_id = unit_id.wrapping_add(1),
        (Some(Fault::Exception), [_, function, ..]) => {
            *function |= 0x80;
            body.truncate(2);
            body.push(6);
        }
        _ => {}
    }
    if fault == Some(Fault::ShortFrame) && body.len() > cut + 3 {
        body.truncate(body.len() - cut);
    }
    let mut frame = body;
    frame.extend(crc16(&frame).to_le_bytes());
    match fault {
        Some(Fault::WrongTransactionId) => {
            if let Some(last) = frame.last_mut() {
                *last ^= 0x55;
            }
        }
        Some(Fault::WrongProtocol) => frame.insert(0, random.u8(..)),
        Some(Fault::TruncatedFrame) => frame.truncate(frame.len() - cut),
        Some(Fault::Duplicate) => outgoing.push(Piece { time, asked, bytes: frame.clone() }),
        Some(Fault::Split) => {
            let rest = frame.split_off(random.usize(1..frame.len()));
            outgoing.push(Piece { time: time + SPLIT_PAUSE, asked, bytes: rest });
        }
        _ => {}
    }
    outgoing.push(Piece { time, asked, bytes: frame });
    true
}
