//! A small HTTP server that answers as a scenario says: right, wrong, late or not at all. And a proxy made of it, behind
//! which a real server seems to do so.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How often a waiting thread looks whether the server ended.
const LOOK: Duration = Duration::from_millis(10);
/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST`.
    pub method: String,
    /// Path with its query.
    pub path: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// As sent, gzip included.
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

/// What the server does about a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers.
    Answer {
        /// Status.
        status: u16,
        /// Headers beside length and connection.
        headers: Vec<(&'static str, String)>,
        /// Body.
        body: Vec<u8>,
    },
    /// Says nothing until the client gives up.
    Hang,
    /// Closes the connection without a word.
    Close,
}

impl Reply {
    /// A status with a text.
    pub fn text(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }
}

/// A server of its own for each scenario; ends on drop.
pub struct HttpServer {
    port: u16,
    ended: Arc<AtomicBool>,
}

impl HttpServer {
    /// Starts on a free port; `handle` is called for each request, from several threads.
    pub fn start(handle: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (port, ended, handle) = (listener.local_addr()?.port(), Arc::new(AtomicBool::new(false)), Arc::new(handle));
        let its_end = Arc::clone(&ended);
        std::thread::spawn(move || {
            while !its_end.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (handle, ended) = (Arc::clone(&handle), Arc::clone(&its_end));
                        std::thread::spawn(move || serve(stream, &*handle, &ended));
                    }
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        });
        Ok(Self { port, ended })
    }

    /// The address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

fn serve(mut stream: TcpStream, handle: &dyn Fn(&Request) -> Reply, ended: &AtomicBool) {
    let _ = stream.set_nonblocking(false);
    let Ok(request) = read_request(&mut stream) else { return };
    match handle(&request) {
        Reply::Close => {}
        Reply::Hang => {
            let _ = stream.set_read_timeout(Some(LOOK));
            // Until the client closes: then a read gives 0.
            while !ended.load(Ordering::SeqCst) && !matches!(stream.read(&mut [0; 64]), Ok(0)) {}
        }
        Reply::Answer { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} Whatever\r\nConnection: close\r\n");
            if status != 204 {
                head.push_str(&format!("Content-Length: {}\r\n", body.len()));
            }
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            let _ = stream.write_all(head.as_bytes());
            if status != 204 {
                let _ = stream.write_all(&body);
            }
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Result<Request> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        anyhow::ensure!(bytes.len() < HEAD_BYTES_MAX, "a head without an end");
        let count = stream.read(&mut buffer)?;
        anyhow::ensure!(count > 0, "ends within a head");
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
    };
    let body = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes)?;
    let mut lines = head.lines();
    let mut first = lines.next().context("no request line")?.split(' ').map(str::to_owned);
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    let mut request = Request { method, path, headers, body };
    let length: usize = request.header("content-length").map_or(Ok(0), str::parse)?;
    while request.body.len() < length {
        let count = stream.read(&mut buffer)?;
        anyhow::ensure!(count > 0, "ends within a body");
        request.body.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    Ok(request)
}

/// A proxy before a server. What it does instead of passing requests on is set while it runs.
pub struct Proxy {
    server: HttpServer,
    instead: Arc<Mutex<Option<Reply>>>,
}

impl Proxy {
    /// Before the server at `upstream`, an address without a slash at the end.
    pub fn start(upstream: String) -> Result<Self> {
        let instead: Arc<Mutex<Option<Reply>>> = Arc::default();
        let its_own = Arc::clone(&instead);
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30))).build().into();
        let server = HttpServer::start(move |request| {
            if let Some(reply) = its_own.lock().unwrap_or_else(PoisonError::into_inner).clone() {
                return reply;
            }
            pass_on(&agent, &upstream, request).unwrap_or(Reply::Close)
        })?;
        Ok(Self { server, instead })
    }

    /// The address, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// From now on does this instead of passing requests on; `None`: passes them on.
    pub fn set(&self, instead: Option<Reply>) {
        *self.instead.lock().unwrap_or_else(PoisonError::into_inner) = instead;
    }
}

fn pass_on(agent: &ureq::Agent, upstream: &str, request: &Request) -> Result<Reply> {
    let url = format!("{upstream}{}", request.path);
    let mut answer = if request.method == "GET" {
        agent.get(&url).call()?
    } else {
        let mut sent = agent.post(&url);
        for name in ["content-type", "content-encoding", "authorization"] {
            if let Some(value) = request.header(name) {
                sent = sent.header(name, value);
            }
        }
        sent.send(request.body.as_slice())?
    };
    let status = answer.status().as_u16();
    Ok(Reply::Answer { status, headers: Vec::new(), body: answer.body_mut().with_config().limit(64 << 20).read_to_vec()? })
}
