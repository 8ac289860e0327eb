//! What the sessions at the brokers may have subscribed, remembered across restarts: no broker tells a client its own
//! subscriptions, and a shared one does not show in the topics that come by it.
//!
//! The file is text, see [`kept`]. Line 1: `parkgate subscribed 1 CRC`. Then one JSON array a session: host, port, client
//! id, filters. A filter is written before it is subscribed, and taken out once the broker has answered that it is given up.
//! The file can be deleted: then subscriptions that the configuration has no more are found only by the messages that come
//! by them. One that is damaged is not used, and is replaced when there is something new to write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::catalogue::MqttSettings;
use crate::driver::kept;

/// Beginning of the file.
const HEAD: &str = "parkgate subscribed 1 ";
/// Longest file that is read.
const BYTES_MAX: u64 = 256 << 20;

/// Host and port of a broker, and the client id there.
type Key = (String, u16, String);
type Entries = BTreeMap<Key, BTreeSet<String>>;

/// The memory of all sessions. Cheap to clone; without a file it lasts as long as the program.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<Store>);

#[derive(Debug, Default)]
struct Store {
    path: Option<PathBuf>,
    entries: Mutex<Entries>,
    /// Held while the file is written, so that the newest entries are written last.
    writing: Mutex<()>,
}

impl Sessions {
    /// Reads what was subscribed before; a file that cannot be used is told and left alone until there is something new.
    pub fn open(path: PathBuf) -> Self {
        let entries = match read(&path) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %error, "what was subscribed before is not known");
                Entries::new()
            }
        };
        Self(Arc::new(Store { path: Some(path), entries: Mutex::new(entries), writing: Mutex::new(()) }))
    }

    /// These are going to be subscribed; what the session may have besides.
    pub(super) async fn begin(&self, settings: &MqttSettings, filters: &[(String, u8)]) -> Vec<String> {
        let wanted = names(filters);
        let (former, is_new) = {
            let mut entries = self.0.lock();
            let known = entries.entry(key(settings)).or_default();
            let former = known.difference(&wanted).cloned().collect();
            let before = known.len();
            known.extend(wanted);
            (former, known.len() != before)
        };
        if is_new {
            self.save().await;
        }
        former
    }

    /// The session has no others than these.
    pub(super) async fn settle(&self, settings: &MqttSettings, filters: &[(String, u8)]) {
        let wanted = names(filters);
        let before = self.0.lock().insert(key(settings), wanted.clone());
        if before != Some(wanted) {
            self.save().await;
        }
    }

    /// Writes the file.
    async fn save(&self) {
        let store = Arc::clone(&self.0);
        let save = move || {
            let Some(path) = &store.path else { return };
            let _writing = store.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let body = body(&store.lock());
            if let Err(error) = kept::write(path, HEAD, &body) {
                tracing::warn!(path = %path.display(), error = %error, "what is subscribed is not on disk");
            }
        };
        // Fails only by a panic of the closure, which has none.
        let _ = tokio::task::spawn_blocking(save).await;
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(settings: &MqttSettings) -> Key {
    (settings.host.clone(), settings.port, settings.client_id.clone())
}

fn names(filters: &[(String, u8)]) -> BTreeSet<String> {
    filters.iter().map(|(filter, _)| filter.clone()).collect()
}

fn body(entries: &Entries) -> String {
    let lines = entries.iter().map(|((host, port, client_id), filters)| serde_json::json!([host, port, client_id, filters]));
    lines.map(|line| format!("{line}\n")).collect()
}

fn read(path: &Path) -> Result<Entries, String> {
    let Some((_, body)) = kept::read(path, &[HEAD], BYTES_MAX)? else { return Ok(Entries::new()) };
    let entry = |line| serde_json::from_str(line).map(|(host, port, id, filters): (_, _, _, _)| ((host, port, id), filters));
    body.lines().map(entry).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(client_id: &str) -> MqttSettings {
        MqttSettings::new("192.0.2.1".into(), 1883, client_id.into())
    }

    fn filters(names: &[&str]) -> Vec<(String, u8)> {
        names.iter().map(|name| (String::from(*name), 1)).collect()
    }

    #[tokio::test]
    async fn what_is_no_more_wanted_is_known_until_it_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mqtt.subscribed");
        let odd = "a \"b\"\t€/#";
        assert!(Sessions::open(path.clone()).begin(&of("one"), &filters(&["$share/g/x", odd])).await.is_empty());
        for _ in 0..2 {
            let again = Sessions::open(path.clone());
            assert_eq!(again.begin(&of("one"), &filters(&["y"])).await, ["$share/g/x", odd]);
            assert!(again.begin(&of("two"), &filters(&["y"])).await.is_empty());
        }
        Sessions::open(path.clone()).settle(&of("one"), &filters(&["y"])).await;
        assert!(Sessions::open(path.clone()).begin(&of("one"), &filters(&["y"])).await.is_empty());

        let text = std::fs::read_to_string(&path).unwrap();
        for broken in ["", "x", &text.replacen("1883", "1884", 1), &text.replace(HEAD, "parkgate subscribed 2 ")] {
            std::fs::write(&path, broken).unwrap();
            let sessions = Sessions::open(path.clone());
            assert!(sessions.begin(&of("one"), &filters(&["z"])).await.is_empty(), "{broken}");
            assert_eq!(Sessions::open(path.clone()).begin(&of("one"), &[]).await, ["z"]);
        }
    }
}
