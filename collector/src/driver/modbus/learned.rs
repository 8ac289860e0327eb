//! What devices refused when it was read along with their points, remembered across restarts.
//!
//! The file is text. Line 1: `parkgate learned 1 CRC`, CRC-32 of all that follows in eight hexadecimal digits. Then one
//! line each: device, unit id, function code, first address, number of addresses (0: nothing, but no read may cross from
//! below the address to it). What a device reads by itself after all is taken out again. The file is replaced by write beside, sync, rename, sync of the directory. It can be deleted: then
//! devices are asked once more. One that is damaged is not used, and is replaced when there is something new to write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::modbus::{Function, RegisterName};

/// Beginning of the file.
const HEAD: &str = "parkgate learned 1 ";
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

type Entries = BTreeMap<(String, u8), BTreeSet<Gap>>;

/// The memory of all lines. Cheap to clone; without a file it lasts as long as the program.
#[derive(Clone, Debug, Default)]
pub struct Learned(Arc<Store>);

#[derive(Debug, Default)]
struct Store {
    path: Option<PathBuf>,
    entries: Mutex<Entries>,
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
        Self(Arc::new(Store { path: Some(path), entries: Mutex::new(entries), writing: Mutex::new(()) }))
    }

    /// What is known of a device under a unit id.
    pub(super) fn of(&self, device: &str, unit_id: u8) -> Vec<Gap> {
        let entries = self.0.lock();
        entries.get(&(device.to_owned(), unit_id)).map(|gaps| gaps.iter().copied().collect()).unwrap_or_default()
    }

    /// Remembers what is new, and writes it in the background.
    pub(super) fn add(&self, device: &str, unit_id: u8, gaps: &[Gap]) {
        {
            let mut entries = self.0.lock();
            let known = entries.entry((device.to_owned(), unit_id)).or_default();
            let before = known.len();
            known.extend(gaps.iter().take(ENTRIES_MAX.saturating_sub(before)));
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
            known.retain(|gap| !gaps.contains(gap));
            if known.len() == before {
                return;
            }
        }
        self.save();
    }

    /// Writes the file in the background.
    fn save(&self) {
        let store = Arc::clone(&self.0);
        let save = move || {
            let Some(path) = &store.path else { return };
            let _writing = store.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let text = format(&store.lock());
            if let Err(error) = replace(path, text.as_bytes()) {
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
}

fn format(entries: &Entries) -> String {
    let mut body = String::new();
    for ((device, unit_id), gaps) in entries {
        for gap in gaps {
            // Writing into a String cannot fail.
            let _ = writeln!(body, "{device} {unit_id} {} {} {}", gap.function.code(), gap.first, gap.length);
        }
    }
    format!("{HEAD}{:08x}\n{body}", crc32fast::hash(body.as_bytes()))
}

fn read(path: &Path) -> Result<Entries, String> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entries::new()),
        Err(error) => return Err(error.to_string()),
    };
    if length > BYTES_MAX {
        return Err(format!("{length} bytes are too many"));
    }
    parse(&std::fs::read_to_string(path).map_err(|error| error.to_string())?)
}

fn parse(text: &str) -> Result<Entries, String> {
    let (head, body) = text.split_once('\n').ok_or("it is cut off")?;
    let crc = head.strip_prefix(HEAD).ok_or("it is not of this format")?;
    if u32::from_str_radix(crc, 16) != Ok(crc32fast::hash(body.as_bytes())) {
        return Err("its checksum is wrong".into());
    }
    let mut entries = Entries::new();
    for line in body.lines() {
        let (device, unit_id, gap) = parse_line(line).ok_or_else(|| format!("`{line}` is no entry"))?;
        entries.entry((device, unit_id)).or_default().insert(gap);
    }
    Ok(entries)
}

fn parse_line(line: &str) -> Option<(String, u8, Gap)> {
    let mut words = line.split(' ');
    let (device, unit_id) = (words.next()?, words.next()?.parse().ok()?);
    let function = Function::from_code(words.next()?.parse().ok()?)?;
    let (first, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then(|| (device.to_owned(), unit_id, Gap { function, first, length }))
}

pub(in crate::driver) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
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
        learned.add("acme-1", 7, &[GAP, BORDER]);
        learned.add("acme-1", 7, &[GAP]);
        learned.add("b", 1, &[BORDER]);
        let again = Learned::open(path.clone());
        assert_eq!(again.of("acme-1", 7), [GAP, BORDER]);
        assert_eq!(again.of("b", 1), [BORDER]);
        assert!(again.of("b", 2).is_empty());
        again.remove("b", 1, &[BORDER]);
        again.remove("b", 2, &[BORDER]);
        assert!(Learned::open(path.clone()).of("b", 1).is_empty());
        again.add("b", 1, &[BORDER]);

        let text = std::fs::read_to_string(&path).unwrap();
        for broken in ["", "x", &text.replacen("10", "11", 1), &text.replace(HEAD, "parkgate learned 2 ")] {
            std::fs::write(&path, broken).unwrap();
            let learned = Learned::open(path.clone());
            assert!(learned.of("acme-1", 7).is_empty(), "{broken}");
            learned.add("c", 1, &[GAP]);
            assert_eq!(Learned::open(path.clone()).of("c", 1), [GAP]);
        }
    }
}
