//! What devices refused when it was read along with their points, remembered across restarts.
//!
//! The file is text, see [`kept`]. Line 1: `parkgate learned 2 CRC`. Then one line each: device, unit id, function code,
//! first address, number of addresses (0: nothing, but no read may cross from below the address to it), when it was learned
//! (milliseconds since 1970, or `-`). Version 1 had no such time. What a device reads by itself after all is taken out
//! again, and what was learned about one device can be forgotten by hand while its line is polled. The file can be deleted:
//! then devices are asked once more. One that is damaged is not used, and is replaced when there is something new to write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::driver::kept;
use crate::model::UtcMillis;
use crate::protocol::modbus::{Function, RegisterName};

/// Beginning of the file.
const HEAD: &str = "parkgate learned 2 ";
/// The same of a file without times.
const HEAD_1: &str = "parkgate learned 1 ";
/// Longest file that is read.
const BYTES_MAX: u64 = 16 << 20;
/// Most entries of one unit of a device; a device that refuses more is not worth merging.
const ENTRIES_MAX: usize = 1_000;

/// Addresses that are not read along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Gap {
    pub(super) function: Function,
    pub(super) first: u16,
    /// 0: a border only.
    pub(super) length: u16,
}

impl Gap {
    /// Whether reading `[start, end)` along would touch it, or cross it.
    pub(super) fn hits(&self, function: Function, start: u32, end: u32) -> bool {
        let first = u32::from(self.first);
        let last = first.saturating_add(u32::from(self.length));
        self.function == function && if self.length == 0 { start <= first && first <= end } else { first < end && last > start }
    }

    /// As manuals write it.
    pub(super) fn describe(&self) -> String {
        let name = RegisterName { function: self.function, address: self.first, quantity: self.length.max(1) };
        if self.length == 0 { format!("no read across the border before {name}") } else { format!("{name} cannot be read along") }
    }
}

/// By device and unit id, each with the time when it was learned, where that is known.
type Entries = BTreeMap<(String, u8), BTreeMap<Gap, Option<UtcMillis>>>;

/// One thing that was learned, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Stable id of the device.
    pub device: String,
    /// Its unit id then.
    pub unit_id: u8,
    /// What reads it.
    pub function: Function,
    /// First address that is not read along, from 0.
    pub address: u16,
    /// How many addresses; 0: only a border that no read may cross from below the address.
    pub quantity: u16,
    /// When it was learned; `None`: before that was written down.
    pub since: Option<UtcMillis>,
}

impl Entry {
    /// As manuals write it.
    pub fn describe(&self) -> String {
        Gap { function: self.function, first: self.address, length: self.quantity }.describe()
    }
}

/// The memory of all lines. Cheap to clone; without a file it lasts as long as the program.
#[derive(Clone, Debug, Default)]
pub struct Learned(Arc<Store>);

#[derive(Debug, Default)]
struct Store {
    path: Option<PathBuf>,
    entries: Mutex<Entries>,
    /// How often something was forgotten by hand.
    forgotten_count: AtomicU64,
    /// The number of its last forgetting, by device.
    forgotten: Mutex<BTreeMap<String, u64>>,
    /// Held while the file is written, so that the newest entries are written last.
    writing: Mutex<()>,
}

impl Learned {
    /// Reads what was learned before; a file that cannot be used is told and left alone until there is something new.
    pub fn open(path: PathBuf) -> Self {
        let entries = match read(&path) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %error, "what was learned about devices is not used; it is learned anew");
                Entries::new()
            }
        };
        Self(Arc::new(Store { path: Some(path), entries: Mutex::new(entries), ..Store::default() }))
    }

    /// What is known of a device under a unit id.
    pub(super) fn of(&self, device: &str, unit_id: u8) -> Vec<Gap> {
        let entries = self.0.lock();
        entries.get(&(device.to_owned(), unit_id)).map(|gaps| gaps.keys().copied().collect()).unwrap_or_default()
    }

    /// Remembers what is new at `now`, and writes it in the background.
    pub(super) fn add(&self, device: &str, unit_id: u8, gaps: &[Gap], now: UtcMillis) {
        {
            let mut entries = self.0.lock();
            let known = entries.entry((device.to_owned(), unit_id)).or_default();
            let before = known.len();
            for gap in gaps.iter().take(ENTRIES_MAX.saturating_sub(before)) {
                known.entry(*gap).or_insert(Some(now));
            }
            if known.len() == before {
                return;
            }
        }
        self.save();
    }

    /// Forgets what is not so any more.
    pub(super) fn remove(&self, device: &str, unit_id: u8, gaps: &[Gap]) {
        {
            let mut entries = self.0.lock();
            let Some(known) = entries.get_mut(&(device.to_owned(), unit_id)) else { return };
            let before = known.len();
            known.retain(|gap, _| !gaps.contains(gap));
            if known.len() == before {
                return;
            }
        }
        self.save();
    }

    /// Forgets all that was learned about a device; its line asks for it again from the next poll on. What that was, once
    /// the file is without it. Errors: it is forgotten, but the file still has it. Blocks.
    pub fn forget(&self, device: &str) -> io::Result<Vec<Entry>> {
        let forgotten = {
            let mut entries = self.0.lock();
            let forgotten = told(entries.iter().filter(|((id, _), _)| id == device));
            entries.retain(|(id, _), _| id != device);
            forgotten
        };
        if !forgotten.is_empty() {
            let mut devices = self.0.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
            let count = self.0.forgotten_count.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            devices.insert(device.to_owned(), count);
            drop(devices);
            self.0.write()?;
        }
        Ok(forgotten)
    }

    /// How often something was forgotten by hand.
    pub(super) fn forgotten_count(&self) -> u64 {
        self.0.forgotten_count.load(Ordering::Relaxed)
    }

    /// The devices of which all was forgotten after that count was `before`.
    pub(super) fn forgotten_since(&self, before: u64) -> BTreeSet<String> {
        let devices = self.0.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        devices.iter().filter(|(_, count)| **count > before).map(|(device, _)| device.clone()).collect()
    }

    /// Writes the file in the background.
    fn save(&self) {
        let store = Arc::clone(&self.0);
        let save = move || {
            if let Err(error) = store.write() {
                let path = store.path.as_deref().unwrap_or(Path::new(""));
                tracing::warn!(path = %path.display(), error = %error, "what was learned about devices is not on disk");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(save)),
            Err(_) => save(),
        }
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the file, where there is one.
    fn write(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let body = body(&self.lock());
        kept::write(path, HEAD, &body)
    }
}

/// What a file holds, by device, unit id and address; nothing where there is none. Errors say what is wrong with the file.
pub fn list(path: &Path) -> Result<Vec<Entry>, String> {
    Ok(told(read(path)?.iter()))
}

fn told<'a>(entries: impl Iterator<Item = (&'a (String, u8), &'a BTreeMap<Gap, Option<UtcMillis>>)>) -> Vec<Entry> {
    let each = entries.flat_map(|((device, unit_id), gaps)| {
        gaps.iter().map(|(gap, since)| {
            let Gap { function, first: address, length: quantity } = *gap;
            Entry { device: device.clone(), unit_id: *unit_id, function, address, quantity, since: *since }
        })
    });
    each.collect()
}

fn body(entries: &Entries) -> String {
    let mut body = String::new();
    for ((device, unit_id), gaps) in entries {
        for (gap, since) in gaps {
            let since = since.map_or_else(|| "-".to_owned(), |since| since.0.to_string());
            // Writing into a String cannot fail.
            let _ = writeln!(body, "{device} {unit_id} {} {} {} {since}", gap.function.code(), gap.first, gap.length);
        }
    }
    body
}

fn read(path: &Path) -> Result<Entries, String> {
    let Some((head, body)) = kept::read(path, &[HEAD, HEAD_1], BYTES_MAX)? else { return Ok(Entries::new()) };
    let has_times = head == HEAD;
    let mut entries = Entries::new();
    for line in body.lines() {
        let (device, unit_id, gap, since) = parse_line(line, has_times).ok_or_else(|| format!("`{line}` is no entry"))?;
        entries.entry((device, unit_id)).or_default().insert(gap, since);
    }
    Ok(entries)
}

fn parse_line(line: &str, has_time: bool) -> Option<(String, u8, Gap, Option<UtcMillis>)> {
    let mut words = line.split(' ');
    let (device, unit_id) = (words.next()?, words.next()?.parse().ok()?);
    let function = Function::from_code(words.next()?.parse().ok()?)?;
    let (first, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let since = match if has_time { words.next()? } else { "-" } {
        "-" => None,
        time => Some(UtcMillis(time.parse().ok()?)),
    };
    words.next().is_none().then(|| (device.to_owned(), unit_id, Gap { function, first, length }, since))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Gap = Gap { function: Function::HoldingRegisters, first: 10, length: 3 };
    const BORDER: Gap = Gap { function: Function::InputRegisters, first: 10, length: 0 };

    #[test]
    fn gaps_and_borders_are_hit() {
        for (gap, function, start, end, hit) in [
            (GAP, Function::HoldingRegisters, 5, 11, true),
            (GAP, Function::HoldingRegisters, 12, 20, true),
            (GAP, Function::HoldingRegisters, 5, 10, false),
            (GAP, Function::HoldingRegisters, 13, 20, false),
            (GAP, Function::InputRegisters, 5, 20, false),
            (BORDER, Function::InputRegisters, 10, 10, true),
            (BORDER, Function::InputRegisters, 8, 12, true),
            (BORDER, Function::InputRegisters, 11, 12, false),
        ] {
            assert_eq!(gap.hits(function, start, end), hit, "{gap:?} {start} {end}");
        }
    }

    #[test]
    fn what_is_learned_survives_and_damage_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("modbus.learned");
        let learned = Learned::open(path.clone());
        learned.add("acme-1", 7, &[GAP, BORDER], UtcMillis(1));
        learned.add("acme-1", 7, &[GAP], UtcMillis(2));
        learned.add("b", 1, &[BORDER], UtcMillis(3));
        let again = Learned::open(path.clone());
        assert_eq!(again.of("acme-1", 7), [GAP, BORDER]);
        assert_eq!(again.of("b", 1), [BORDER]);
        assert!(again.of("b", 2).is_empty());
        again.remove("b", 1, &[BORDER]);
        again.remove("b", 2, &[BORDER]);
        assert!(Learned::open(path.clone()).of("b", 1).is_empty());
        again.add("b", 1, &[BORDER], UtcMillis(4));

        let text = std::fs::read_to_string(&path).unwrap();
        for broken in ["", "x", &text.replacen("10", "11", 1), &text.replace(HEAD, "parkgate learned 3 ")] {
            std::fs::write(&path, broken).unwrap();
            let learned = Learned::open(path.clone());
            assert!(learned.of("acme-1", 7).is_empty(), "{broken}");
            learned.add("c", 1, &[GAP], UtcMillis(5));
            assert_eq!(Learned::open(path.clone()).of("c", 1), [GAP]);
        }
    }

    #[test]
    fn one_device_is_forgotten_and_a_file_without_times_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("modbus.learned");
        assert_eq!(list(&path), Ok(Vec::new()), "no file is no fault");
        let body = "a 7 3 10 3\na 8 4 10 0\nb 1 3 10 3\n";
        std::fs::write(&path, kept::with_crc(HEAD_1, body)).unwrap();
        let learned = Learned::open(path.clone());
        learned.add("b", 1, &[BORDER], UtcMillis(5));
        let before = learned.forgotten_count();
        let forgotten = learned.forget("a").unwrap();
        assert_eq!(forgotten.iter().map(|entry| (entry.unit_id, entry.since)).collect::<Vec<_>>(), [(7, None), (8, None)]);
        assert!(learned.of("a", 7).is_empty() && learned.of("a", 8).is_empty());
        assert_eq!(learned.forgotten_since(before), BTreeSet::from(["a".to_owned()]));
        assert!(learned.forgotten_since(learned.forgotten_count()).is_empty());
        assert!(learned.forget("a").unwrap().is_empty(), "once");
        let left = list(&path).unwrap();
        let left: Vec<_> = left.iter().map(|entry| (entry.device.as_str(), entry.quantity, entry.since)).collect();
        assert_eq!(left, [("b", 3, None), ("b", 0, Some(UtcMillis(5)))]);
        std::fs::write(&path, "x").unwrap();
        assert_eq!(list(&path), Err("it is cut off".to_owned()));
    }
}
