//! Modbus servers that can misbehave: over TCP the server half of tokio-modbus, over a transport that spoils its answers;
//! in RTU frames a server of our own on any stream ([`rtu`]).
//!
//! [`fault`] which faults, how often, and what was done; [`transport`] does them to the answers on their way out;
//! [`meter`] registers of a meter that counts, jumps, rolls over and is reset. Loopback only, never part of a plain build.

pub mod fault;
pub mod meter;
pub mod rtu;
mod transport;

use std::cell::Cell;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_modbus::server::{Service, tcp::Server};
use tokio_modbus::{ExceptionCode, Request, Response, SlaveRequest};
use tokio_util::sync::CancellationToken;

pub use fault::{Fault, Faults, UnitMode};
pub use rtu::RtuServer;

use crate::protocol::modbus::Function;
use transport::Transport;

thread_local! {
    static CONNECTION: Cell<u64> = const { Cell::new(0) };
}

/// For a [`Bank`] while it is asked: number of the connection that asks, in order of acceptance; 0 on a serial line.
pub fn connection() -> u64 {
    CONNECTION.get()
}

/// What units answer: (unit id, function, address, quantity) -> one word per register (per bit: 0 or 1), or an exception
/// code.
pub type Bank = Arc<dyn Fn(u8, Function, u16, u16) -> Result<Vec<u16>, u8> + Send + Sync>;

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub struct SimServer {
    local_addr: SocketAddr,
    faults: Arc<Faults>,
    requests: Arc<AtomicU64>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl SimServer {
    /// Listens on `addr` (port 0: a free one) and answers from `bank`, spoilt by `faults`.
    pub async fn start(addr: SocketAddr, bank: Bank, faults: Arc<Faults>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let local_addr = listener.local_addr()?;
        let server = Server::new(listener);
        let requests = Arc::new(AtomicU64::new(0));
        let cancel = CancellationToken::new();
        let service = Units { bank, faults: Arc::clone(&faults), requests: Arc::clone(&requests), connection: 0 };
        let (connection_faults, stopped) = (Arc::clone(&faults), cancel.clone());
        let task = tokio::spawn(async move {
            let connections = AtomicU64::new(0);
            let on_connected = |stream: TcpStream, _: SocketAddr| {
                let connection = connections.fetch_add(1, Ordering::Relaxed);
                let (service, faults) = (Units { connection, ..service.clone() }, Arc::clone(&connection_faults));
                async move {
                    stream.set_nodelay(true)?;
                    Ok(Some((service, Transport::new(stream, faults))))
                }
            };
            // Connections end with the server: their tasks hang on the future that is dropped here.
            let _ = stopped.run_until_cancelled(server.serve(&on_connected, |_| {})).await;
        });
        Ok(Self { local_addr, faults, requests, cancel, task })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Its faults, to be changed while it runs.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// Requests received.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Closes every connection and stops listening.
    pub async fn stop(mut self) {
        self.cancel.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for SimServer {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[derive(Clone)]
struct Units {
    bank: Bank,
    faults: Arc<Faults>,
    requests: Arc<AtomicU64>,
    connection: u64,
}

impl Units {
    fn answer(&self, unit_id: u8, request: &Request<'_>) -> Result<Option<Response>, u8> {
        let (function, address, quantity) = match *request {
            Request::ReadCoils(address, quantity) => (Function::Coils, address, quantity),
            Request::ReadDiscreteInputs(address, quantity) => (Function::DiscreteInputs, address, quantity),
            Request::ReadHoldingRegisters(address, quantity) => (Function::HoldingRegisters, address, quantity),
            Request::ReadInputRegisters(address, quantity) => (Function::InputRegisters, address, quantity),
            _ => return Err(1),
        };
        let Some(words) = self.read(unit_id, function, address, quantity)? else { return Ok(None) };
        let bits = || words.iter().map(|&word| word != 0).collect();
        Ok(Some(match function {
            Function::Coils => Response::ReadCoils(bits()),
            Function::DiscreteInputs => Response::ReadDiscreteInputs(bits()),
            Function::HoldingRegisters => Response::ReadHoldingRegisters(words),
            Function::InputRegisters => Response::ReadInputRegisters(words),
        }))
    }

    /// The words of an answer, none of a silent unit, or an exception code.
    fn read(&self, unit_id: u8, function: Function, address: u16, quantity: u16) -> Result<Option<Vec<u16>>, u8> {
        match self.faults.unit(unit_id) {
            UnitMode::Answers => {}
            UnitMode::Silent => return Ok(None),
            UnitMode::Exception(code) => return Err(code),
        }
        if quantity == 0 || quantity > function.quantity_max() {
            return Err(3);
        }
        let last = address.checked_add(quantity.saturating_sub(1)).ok_or(2u8)?;
        if self.faults.is_illegal(unit_id, function, address, last) {
            return Err(2);
        }
        CONNECTION.set(self.connection);
        (self.bank)(unit_id, function, address, quantity).map(Some)
    }
}

impl Service for Units {
    type Request = SlaveRequest<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Self::Response, Self::Exception>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        self.requests.fetch_add(1, Ordering::Relaxed);
        ready(self.answer(request.slave, &request.request).map_err(ExceptionCode::new))
    }
}
