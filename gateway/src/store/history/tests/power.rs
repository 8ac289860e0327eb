//! Power cuts while history writes, with SQLite as it is.
//!
//! A process of its own ([`workload`]) writes checkpoints, merges, closes and opens its files and makes a new `state.db`,
//! watched by `strace`. The calls it made ([`Call`]) are made again on a disk in memory that forgets, reorders and tears
//! what was not synced, up to a call of choice. What is left of it goes to a folder, and history is opened there: it
//! starts, nothing counts as damaged, and with the journal behind its position every sample is there once.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use parkgate_collector::journal::file::sim::SimDisk;
use parkgate_collector::journal::file::{FileHandle, FileLayer as _};

use super::damage::{all, expected, journal};
use super::*;

/// Names the folder of [`workload`]; without it the workload does nothing.
const FOLDER: &str = "PARKGATE_POWER_CUT_FOLDER";
/// Power cuts.
const CUTS: usize = 300;
/// System calls by which the workload changes files, and those that tell which file is meant.
const CALLS: &str = "openat,close,lseek,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat";

fn settings() -> HistorySettings {
    HistorySettings::default()
}

/// What is watched. After each checkpoint the position that it promised goes to the file `acknowledged`.
#[test]
#[ignore = "run by power_cuts_under_sqlite_lose_nothing_that_was_acknowledged"]
fn workload() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut acknowledged = File::create(folder.join("acknowledged")).unwrap();
    let open = || History::open(&folder.join("history"), settings(), odd()).unwrap();
    let mut history = open();
    for (index, entry) in journal().iter().enumerate() {
        history.apply_samples(Sequence(index as u64 + 1), entry);
        if index % 130 == 0 {
            // Small blocks, to be merged.
            history.inner.head().close_windows(|_| true);
        }
        if index % 45 == 44 {
            // A new state, as after damage.
            history.inner.writer.lock().unwrap().renew = [404, 629].contains(&index);
            let upto = history.checkpoint().unwrap();
            acknowledged.write_all(format!("{}\n", upto.0).as_bytes()).unwrap();
        }
        if index == 500 {
            while history.maintain(UtcMillis(NOVEMBER - 1)).unwrap() {}
        }
        if index % 225 == 224 {
            drop(history);
            history = open();
        }
    }
}

/// One call that changes files, on files by their place in the order of opening.
#[derive(Clone, Debug)]
enum Call {
    Open {
        file: usize,
        path: PathBuf,
        create: bool,
        truncate: bool,
    },
    Write {
        file: usize,
        offset: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        file: usize,
        length: u64,
    },
    Sync {
        file: usize,
    },
    SyncFolder,
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    /// The process told that all up to this journal entry is safe.
    Acknowledged(u64),
}

/// Runs the workload under `strace`; the calls that it made on files in its folder `history`.
fn recorded() -> Vec<Call> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let trace = root.join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-xx", "-s", "1048576", "-e", "signal=none", "-e", &format!("trace={CALLS}"), "-o"]).arg(&trace);
    command.arg(std::env::current_exe().unwrap());
    command.args(["store::history::tests::power::workload", "--exact", "--ignored", "--test-threads=1"]);
    let output = command.env(FOLDER, &root).output().expect("strace is installed: `make tools` does it, or apt-get install strace");
    let told = || String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "the workload under strace failed; strace needs leave to trace (ptrace):\n{}", told());
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{}", told());
    let text = fs::read_to_string(trace).unwrap();
    let mut reader = TraceReader { root, files: HashMap::new(), opened: 0, calls: Vec::new() };
    for line in text.lines() {
        reader.line(line);
    }
    reader.calls
}

struct TraceReader {
    root: PathBuf,
    files: HashMap<i64, Open>,
    opened: usize,
    calls: Vec<Call>,
}

/// What a descriptor is.
enum Open {
    File { number: usize, place: u64 },
    Folder,
    Acknowledgements,
}

impl TraceReader {
    /// `PID call(argument, ...) = result`, strings as `"\x2f..."`.
    fn line(&mut self, line: &str) {
        assert!(!line.contains("unfinished ...") && !line.contains(" resumed>"), "calls of two threads at once: {line:.200}");
        // Short calls are padded before the sign.
        let Some((call, result)) = line.rsplit_once(" = ") else { return };
        let Some(call) = call.trim_end().strip_suffix(')') else { return };
        let Some((name, arguments)) = call.split_once('(') else { return };
        let name = name.rsplit(' ').next().unwrap_or(name);
        let result: i64 = result.split_whitespace().next().unwrap().parse().unwrap_or(-1);
        if result < 0 {
            return;
        }
        let arguments: Vec<&str> = arguments.split(", ").collect();
        let number = |index: usize| arguments[index].parse::<i64>().unwrap();
        match name {
            "openat" => self.open(result, &text(arguments[1]), arguments[2]),
            "close" => drop(self.files.remove(&number(0))),
            "lseek" => {
                if let Some(Open::File { place, .. }) = self.files.get_mut(&number(0)) {
                    *place = result as u64;
                }
            }
            "write" | "pwrite64" => {
                let bytes = unescaped(arguments[1]);
                assert_eq!(bytes.len() as i64, result, "a write in part");
                match self.files.get_mut(&number(0)) {
                    Some(Open::File { number: file, place }) => {
                        let offset = if name == "write" { *place } else { number(3) as u64 };
                        if name == "write" {
                            *place += bytes.len() as u64;
                        }
                        self.calls.push(Call::Write { file: *file, offset, bytes });
                    }
                    Some(Open::Acknowledgements) => {
                        let text = String::from_utf8(bytes).unwrap();
                        self.calls.push(Call::Acknowledged(text.trim().parse().unwrap()));
                    }
                    _ => {}
                }
            }
            "ftruncate" => {
                if let Some(Open::File { number: file, .. }) = self.files.get(&number(0)) {
                    self.calls.push(Call::Truncate { file: *file, length: number(1) as u64 });
                }
            }
            "fsync" | "fdatasync" => match self.files.get(&number(0)) {
                Some(Open::File { number: file, .. }) => self.calls.push(Call::Sync { file: *file }),
                Some(Open::Folder) => self.calls.push(Call::SyncFolder),
                _ => {}
            },
            "rename" => self.rename(&text(arguments[0]), &text(arguments[1])),
            "renameat" | "renameat2" => self.rename(&text(arguments[1]), &text(arguments[3])),
            "unlink" => self.remove(&text(arguments[0])),
            "unlinkat" => self.remove(&text(arguments[1])),
            _ => panic!("{name}"),
        }
    }

    /// The name within the folder `history`, if it is there.
    fn within(&self, path: &str) -> Option<PathBuf> {
        let name = Path::new(path).strip_prefix(self.root.join("history")).ok()?;
        // What SQLite shares between processes is memory, and is made anew after a restart.
        (!path.ends_with("-shm")).then(|| Path::new("h").join(name))
    }

    fn open(&mut self, descriptor: i64, path: &str, flags: &str) {
        if Path::new(path) == self.root.join("acknowledged") {
            self.files.insert(descriptor, Open::Acknowledgements);
        } else if Path::new(path) == self.root.join("history") {
            self.files.insert(descriptor, Open::Folder);
        } else if let Some(path) = self.within(path) {
            let (create, truncate) = (flags.contains("O_CREAT"), flags.contains("O_TRUNC"));
            assert!(!flags.contains("O_APPEND"), "{flags}");
            self.calls.push(Call::Open { file: self.opened, path, create, truncate });
            self.files.insert(descriptor, Open::File { number: self.opened, place: 0 });
            self.opened += 1;
        } else {
            self.files.remove(&descriptor);
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        if let (Some(from), Some(to)) = (self.within(from), self.within(to)) {
            self.calls.push(Call::Rename { from, to });
        }
    }

    fn remove(&mut self, path: &str) {
        if let Some(path) = self.within(path) {
            self.calls.push(Call::Remove { path });
        }
    }
}

/// A string of strace's, in hexadecimal as `-xx` writes it.
fn unescaped(argument: &str) -> Vec<u8> {
    let quoted = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_else(|| panic!("cut off: {argument:.80}"));
    quoted.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

fn text(argument: &str) -> String {
    String::from_utf8(unescaped(argument)).unwrap()
}

/// The calls made again on a disk in memory, one after the other.
struct Replay {
    disk: SimDisk,
    files: HashMap<usize, Arc<dyn FileHandle>>,
    acknowledged: u64,
    /// Syncs are left out, as on a disk that lies.
    lies: bool,
}

impl Replay {
    fn new(lies: bool) -> Self {
        Self { disk: SimDisk::new(1 << 30), files: HashMap::new(), acknowledged: 0, lies }
    }

    fn make(&mut self, call: &Call) {
        match call {
            Call::Open { file, path, create, truncate } => {
                let handle = match self.disk.open(path, true) {
                    Ok(handle) if *truncate => handle.set_len(0).map(|()| handle),
                    Err(_) if *create => self.disk.create(path),
                    opened => opened,
                };
                self.files.insert(*file, handle.unwrap_or_else(|error| panic!("{call:?}: {error}")));
            }
            Call::Write { file, offset, bytes } => self.files[file].write_at(bytes, *offset).unwrap(),
            Call::Truncate { file, length } => self.files[file].set_len(*length).unwrap(),
            Call::Sync { .. } | Call::SyncFolder if self.lies => {}
            Call::Sync { file } => self.files[file].sync_data().unwrap(),
            Call::SyncFolder => self.disk.sync_dir(Path::new("h")).unwrap(),
            Call::Rename { from, to } => self.disk.rename(from, to).unwrap(),
            Call::Remove { path } => self.disk.remove(path).unwrap(),
            Call::Acknowledged(position) => self.acknowledged = *position,
        }
    }

    /// The folder as it is found after the power was cut here.
    fn cut(&self, random: &mut fastrand::Rng) -> tempfile::TempDir {
        // In memory where that can be had: opening syncs a lot, and nothing here has to last.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let disk = self.disk.fork();
        disk.power_cut(random);
        for path in disk.paths() {
            let file = disk.open(&path, false).unwrap();
            let mut bytes = vec![0; file.length().unwrap() as usize];
            file.read_at(&mut bytes, 0).unwrap();
            fs::write(folder.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
        folder
    }
}

/// Opens what a power cut left; what is wrong with it. `again`: also after the next checkpoint.
fn verdict(folder: &Path, acknowledged: u64, again: bool) -> Result<(), String> {
    let journal = journal();
    let open = || History::open(folder, settings(), odd()).map_err(|error| format!("does not start: {error}"));
    let history = open()?;
    let (position, damaged) = (history.position().0, history.stats().damaged);
    if position < acknowledged || damaged > 0 {
        return Err(format!("position {position} after {acknowledged} was acknowledged, {damaged} damaged"));
    }
    for (index, entry) in journal.iter().enumerate().skip(position as usize) {
        history.apply_samples(Sequence(index as u64 + 1), entry);
    }
    let whole = |history: &History| (1..=3).all(|point| all(history, point) == expected(&journal, point));
    if !whole(&history) {
        return Err("samples are missing or double".to_owned());
    }
    if again {
        history.checkpoint().map_err(|error| format!("no further checkpoint: {error}"))?;
        drop(history);
        let history = open()?;
        if history.position().0 != journal.len() as u64 || !whole(&history) {
            return Err("samples are missing or double after the next checkpoint".to_owned());
        }
    }
    Ok(())
}

/// Cuts the power at `cuts` calls all over the trace; what went wrong, by call.
fn outcomes(calls: &[Call], cuts: usize, lies: bool) -> Vec<(usize, Result<(), String>)> {
    let mut random = fastrand::Rng::with_seed(cuts as u64);
    let mut at: BTreeSet<usize> = BTreeSet::new();
    while at.len() < cuts.min(calls.len()) {
        at.insert(random.usize(0..calls.len()));
    }
    let mut replay = Replay::new(lies);
    let mut outcomes = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        replay.make(call);
        if at.contains(&index) {
            let folder = replay.cut(&mut random);
            outcomes.push((index, verdict(folder.path(), replay.acknowledged, outcomes.len() % 8 == 0)));
        }
    }
    outcomes
}

#[test]
fn power_cuts_under_sqlite_lose_nothing_that_was_acknowledged() {
    let calls = recorded();
    let count = |wanted: fn(&Call) -> bool| calls.iter().filter(|call| wanted(call)).count();
    let promised = count(|call| matches!(call, Call::Acknowledged(_)));
    let syncs = count(|call| matches!(call, Call::Sync { .. }));
    assert_eq!(promised, journal().len() / 45);
    assert!(syncs > 3 * promised && count(|call| matches!(call, Call::Rename { .. })) >= 6, "{syncs} syncs of {promised} checkpoints");
    for (index, outcome) in outcomes(&calls, CUTS, false) {
        if let Err(wrong) = outcome {
            panic!("power cut after call {index} of {}: {wrong}\n{:.200}", calls.len(), format!("{:?}", calls[index]));
        }
    }
    // The same without the syncs: if nothing went wrong then, this test could not see a sync that is missing.
    let lost = outcomes(&calls, 24, true).into_iter().filter(|(_, outcome)| outcome.is_err()).count();
    assert!(lost >= 12, "a disk that syncs nothing loses something in {lost} of 24 cuts only");
}
