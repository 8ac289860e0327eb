//! The control socket `<data>/control.sock`: how a command that changes something reaches the running gateway, which
//! alone holds the lock on the data directory.
//!
//! One JSON object per line each way. Request `{"command": "replay_rejects", "device": "gas-1"}`; answer the command's
//! result, or `{"error": "..."}`. The socket is only for the user that runs the gateway (mode 0600).

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::access::Token;
use crate::access::tokens::NewToken;
use crate::gaps::GapRow;
use crate::transfer::import::{Imported, Values};

/// Longest request line accepted, in bytes; a longer one ends the connection.
const REQUEST_BYTES: u64 = 4 * 1024 * 1024;
/// How long a command waits for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// What the running gateway can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Read rejected messages again.
    ReplayRejects {
        /// Only those of this device.
        device: Option<String>,
    },
    /// Tell the last durable journal entry.
    Position {
        /// After a checkpoint of history.
        checkpoint: bool,
    },
    /// Make values durable.
    Import(Values),
    /// Create a token.
    CreateToken {
        /// What it is to be.
        token: NewToken,
        /// User of the operating system that asks; the socket is for the gateway's own user and root alone.
        who: String,
    },
    /// Revoke a token.
    RevokeToken {
        /// Its name or number.
        which: String,
        /// User of the operating system that asks.
        who: String,
    },
    /// Forget what a Modbus device refused to have read along; it is asked again.
    ForgetGaps {
        /// Stable id of the device.
        device: String,
    },
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// See [`Request::ReplayRejects`].
    Replayed(ReplayReport),
    /// See [`Request::Position`].
    Position {
        /// The last durable journal entry.
        durable: u64,
    },
    /// See [`Request::Import`].
    Imported(Imported),
    /// See [`Request::CreateToken`].
    Created {
        /// The token.
        token: Token,
        /// Its text, shown this once.
        secret: String,
    },
    /// See [`Request::RevokeToken`].
    Revoked {
        /// The token.
        token: Token,
    },
    /// See [`Request::ForgetGaps`].
    Forgotten {
        /// What it was.
        gaps: Vec<GapRow>,
    },
    /// It could not be done.
    Error {
        /// Why, for a person.
        error: String,
    },
}

/// What became of rejected messages that were read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// Messages that can be read now and are durable.
    pub replayed: u64,
    /// Messages still rejected; they stay in the ring.
    pub still_rejected: u64,
}

/// A request on its way to the part that does it.
pub type Asked = (Request, oneshot::Sender<Answer>);

/// Where the socket of a data directory is.
pub fn socket_path(data_directory: &Path) -> PathBuf {
    data_directory.join("control.sock")
}

/// Opens the socket; a left-over of a killed gateway is replaced (the caller holds the lock on the directory).
pub fn listen(data_directory: &Path) -> std::io::Result<UnixListener> {
    let path = socket_path(data_directory);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers requests until `cancel`; each is handed to `asked`, one at a time.
pub async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>, cancel: CancellationToken) {
    loop {
        let stream = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(error = %error, "control socket could not accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            outcome = answer(stream, &asked) => if let Err(error) = outcome {
                debug!(error = %error, "control connection ended");
            }
        }
    }
}

async fn answer(stream: UnixStream, asked: &mpsc::Sender<Asked>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(read.take(REQUEST_BYTES)).lines();
    let line = tokio::time::timeout(Duration::from_secs(5), lines.next_line()).await.map_err(std::io::Error::other)??;
    let answer = match serde_json::from_str::<Request>(line.as_deref().unwrap_or_default()) {
        Err(error) => Answer::Error { error: format!("request not understood: {error}") },
        Ok(request) => {
            let (sender, receiver) = oneshot::channel();
            match asked.send((request, sender)).await {
                Err(_) => Answer::Error { error: "the gateway is stopping".into() },
                Ok(()) => receiver.await.unwrap_or(Answer::Error { error: "the gateway stopped before it was done".into() }),
            }
        }
    };
    let mut line = serde_json::to_vec(&answer).map_err(std::io::Error::other)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// Whether a gateway runs on `data_directory`.
pub fn is_running(data_directory: &Path) -> bool {
    BlockingUnixStream::connect(socket_path(data_directory)).is_ok()
}

/// Asks the gateway that runs on `data_directory`; `None` when none does. Blocks.
pub fn ask(data_directory: &Path, request: &Request) -> std::io::Result<Option<Answer>> {
    let mut stream = match BlockingUnixStream::connect(socket_path(data_directory)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut line = serde_json::to_vec(request).map_err(std::io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    serde_json::from_str(&answer).map(Some).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_command_reaches_the_gateway_and_gets_its_answer() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(ask(directory.path(), &Request::ReplayRejects { device: None }).unwrap(), None);
        let listener = listen(directory.path()).unwrap();
        let (sender, mut receiver) = mpsc::channel::<Asked>(1);
        let cancel = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, sender, cancel.clone()));
        let path = directory.path().to_owned();
        let asking = tokio::task::spawn_blocking(move || ask(&path, &Request::ReplayRejects { device: Some("gas-1".into()) }));
        let (request, reply) = receiver.recv().await.unwrap();
        assert_eq!(request, Request::ReplayRejects { device: Some("gas-1".into()) });
        reply.send(Answer::Replayed(ReplayReport { replayed: 3, still_rejected: 1 })).unwrap();
        assert_eq!(asking.await.unwrap().unwrap(), Some(Answer::Replayed(ReplayReport { replayed: 3, still_rejected: 1 })));

        let path = socket_path(directory.path());
        let garbage = tokio::task::spawn_blocking(move || {
            let mut stream = BlockingUnixStream::connect(path).unwrap();
            stream.write_all(b"{\"command\":\"explode\"}\n").unwrap();
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer).unwrap();
            answer
        });
        assert!(garbage.await.unwrap().contains("not understood"));
        cancel.cancel();
        serving.await.unwrap();
    }

    #[test]
    fn a_socket_left_by_a_killed_gateway_is_no_gateway() {
        let directory = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(socket_path(directory.path())).unwrap());
        assert_eq!(ask(directory.path(), &Request::ReplayRejects { device: None }).unwrap(), None);
    }
}
