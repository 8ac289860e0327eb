//! From the journal to history: reads entries, applies them, checkpoints when due, releases segments, does the nightly
//! work. A blocking loop for a thread of its own; it never writes to the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parkgate_collector::clock::Clock;
use parkgate_collector::journal::{AppendError, Journal, Next, Reader, Record, Sequence};
use parkgate_collector::model::{Now, UtcMillis};
use tokio_util::sync::CancellationToken;

use super::history::History;

/// Entries between two looks at the clock.
const ENTRIES_PER_LOOK: u32 = 256;
/// Longest wait for news of the journal; then checkpoints and nightly work are looked at again.
const WAIT: Duration = Duration::from_secs(1);
/// Wait after the journal could not be read, and least time between two attempts at a failing checkpoint.
const RETRY_MS: u64 = 5_000;
/// Between two looks at the disk's free space, and two months deleted for want of it.
const RELIEF_MS: u64 = 1_000;
/// The nightly work begins at the first minute of this hour, UTC: 03:00 in China.
const NIGHT_HOUR_UTC: i64 = 19;

/// How often [`caught_up`] looks.
const CAUGHT_UP_LOOK: Duration = Duration::from_millis(10);

/// What the loop met, for metrics.
#[derive(Debug, Default)]
pub struct ReaderStats {
    /// Journal entries that were gone before they were read.
    pub gone: AtomicU64,
    /// Journal entries that were damaged.
    pub damaged: AtomicU64,
    /// Errors of reading the journal.
    pub errors: AtomicU64,
    /// The next entry to read.
    pub next: AtomicU64,
}

/// Where journal entries come from, and who is told that they are not needed any more.
trait Source {
    fn next(&mut self) -> Result<Next, AppendError>;
    /// Bytes that the last entry took in the journal.
    fn entry_bytes(&self) -> u64;
    /// Whether the disk has hardly more room than the journal keeps free.
    fn is_short(&self) -> bool;
    /// Goes on with another entry.
    fn seek(&mut self, from: Sequence);
    fn release(&self, upto: Sequence);
    /// Returns when there may be news, or after `timeout`, or when cancelled.
    fn wait(&mut self, timeout: Duration);
}

struct FromJournal {
    journal: Journal,
    reader: Reader,
    durable: tokio::sync::watch::Receiver<Sequence>,
    floor: Floor,
    cancel: CancellationToken,
    runtime: tokio::runtime::Runtime,
}

/// The last entry that others than history have no more use for; segments beyond it stay.
pub type Floor = Box<dyn Fn() -> Sequence + Send>;

impl Source for FromJournal {
    fn next(&mut self) -> Result<Next, AppendError> {
        // Marked as seen before reading, so that what grows meanwhile wakes the next wait.
        self.durable.borrow_and_update();
        self.reader.next()
    }

    fn entry_bytes(&self) -> u64 {
        self.reader.entry_bytes()
    }

    fn is_short(&self) -> bool {
        self.journal.is_short_of_space()
    }

    fn seek(&mut self, from: Sequence) {
        self.reader = self.journal.reader(from);
    }

    fn release(&self, upto: Sequence) {
        self.journal.release(upto.min(Sequence((self.floor)().0.saturating_add(1))));
    }

    fn wait(&mut self, timeout: Duration) {
        let (durable, cancel) = (&mut self.durable, &self.cancel);
        self.runtime.block_on(async {
            let changed = async {
                if durable.changed().await.is_err() {
                    // The journal is closed: nothing will change, but the loop still ends only when cancelled.
                    std::future::pending::<()>().await;
                }
            };
            let news = async {
                tokio::select! { () = changed => {}, () = cancel.cancelled() => {} }
            };
            let _ = tokio::time::timeout(timeout, news).await;
        });
    }
}

/// Reads the journal into history until `cancel`, then what is durable by then, and ends with a checkpoint. Blocks: for
/// a thread of its own, outside any runtime.
///
/// # Errors
/// When the thread's timer cannot be made, before anything was read. Later troubles are logged, counted and tried again.
pub fn run(
    journal: Journal,
    history: History,
    clock: Arc<dyn Clock>,
    stats: Arc<ReaderStats>,
    floor: Floor,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let durable = journal.subscribe();
    let reader = journal.reader(Sequence(history.position().0 + 1));
    let source = FromJournal { journal, reader, durable, floor, cancel: cancel.clone(), runtime };
    follow(source, &history, &*clock, &stats, &cancel);
    Ok(())
}

/// Returns when `history` has taken in what was durable in `journal` at the call.
pub async fn caught_up(journal: &Journal, history: &History) {
    let durable = journal.durable();
    while history.position() < durable {
        tokio::time::sleep(CAUGHT_UP_LOOK).await;
    }
}

fn follow(mut source: impl Source, history: &History, clock: &dyn Clock, stats: &ReaderStats, cancel: &CancellationToken) {
    let mut chores = Chores::new(clock.now());
    loop {
        let mut at_end = false;
        for _ in 0..ENTRIES_PER_LOOK {
            let expected = history.position().0 + 1;
            match source.next() {
                Ok(Next::Entry(sequence, record)) => {
                    if let Record::Samples(record) = record {
                        history.apply(sequence, &record);
                    }
                    history.skip_to(sequence);
                    history.journal_read(source.entry_bytes());
                    stats.next.store(sequence.0 + 1, Ordering::Relaxed);
                }
                Ok(Next::Gone { oldest }) => {
                    let gone = oldest.0.saturating_sub(expected);
                    tracing::error!(from = expected, to = oldest.0, "journal entries are gone before history read them");
                    stats.gone.fetch_add(gone, Ordering::Relaxed);
                    history.skip_to(Sequence(oldest.0.saturating_sub(1)));
                    source.seek(oldest);
                }
                Ok(Next::Damaged { from, to }) => {
                    tracing::error!(from = from.0, to = to.0, "journal entries are damaged and lost to history");
                    stats.damaged.fetch_add(to.0.saturating_sub(from.0), Ordering::Relaxed);
                    history.skip_to(Sequence(to.0.saturating_sub(1)));
                }
                Ok(Next::End) => {
                    at_end = true;
                    break;
                }
                Err(error) => {
                    tracing::error!(error = %error, "journal cannot be read");
                    stats.errors.fetch_add(1, Ordering::Relaxed);
                    if !cancel.is_cancelled() {
                        source.wait(Duration::from_millis(RETRY_MS));
                    }
                    at_end = true;
                    break;
                }
            }
        }
        if cancel.is_cancelled() && at_end {
            break;
        }
        let busy = chores.step(&source, history, clock.now());
        if at_end && !busy {
            source.wait(WAIT);
        }
    }
    checkpoint(&source, history);
}

/// Makes a checkpoint and releases the journal up to it; whether it worked.
fn checkpoint(source: &impl Source, history: &History) -> bool {
    match history.checkpoint() {
        Ok(upto) => {
            source.release(upto);
            true
        }
        Err(error) => {
            tracing::error!(error = %error, "checkpoint of history failed; everything stays in the journal and it is tried again");
            false
        }
    }
}

/// What is done beside reading.
struct Chores {
    checkpoint_not_before_ms: u64,
    relief_not_before_ms: u64,
    /// The night, as a number of days, whose work is done or begun.
    night: i64,
    at_work: bool,
}

impl Chores {
    fn new(now: Now) -> Self {
        Self { checkpoint_not_before_ms: 0, relief_not_before_ms: 0, night: night_of(now.utc), at_work: false }
    }

    /// Does what is due; whether there is more at once.
    fn step(&mut self, source: &impl Source, history: &History, now: Now) -> bool {
        if now.monotonic_ms >= self.checkpoint_not_before_ms && history.checkpoint_due(now) && !checkpoint(source, history) {
            self.checkpoint_not_before_ms = now.monotonic_ms.saturating_add(RETRY_MS);
        }
        if now.monotonic_ms >= self.relief_not_before_ms {
            self.relief_not_before_ms = now.monotonic_ms.saturating_add(RELIEF_MS);
            if source.is_short()
                && let Err(error) = history.relieve(now.utc)
            {
                tracing::error!(error = %error, "no month could be deleted although the disk is short");
                self.relief_not_before_ms = now.monotonic_ms.saturating_add(RETRY_MS);
            }
        }
        // Also back, so that a night begun by a clock that ran ahead does not keep off those to come.
        let night = night_of(now.utc);
        self.at_work |= night > self.night;
        self.night = night;
        if self.at_work {
            self.at_work = history.maintain(now.utc).unwrap_or_else(|error| {
                tracing::error!(error = %error, "nightly work of history failed; it is tried again tomorrow");
                false
            });
        }
        self.at_work
    }
}

fn night_of(now: UtcMillis) -> i64 {
    now.plus(-NIGHT_HOUR_UTC * 3_600_000).0.div_euclid(86_400_000)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use parkgate_collector::clock::ManualClock;
    use parkgate_collector::journal::SampleRecord;
    use parkgate_collector::model::PointId;

    use super::super::RecordView;
    use super::super::history::{HistorySettings, testing};
    use super::*;

    /// A journal made of a list; at its end the loop is cancelled.
    struct Listed {
        entries: std::vec::IntoIter<Next>,
        seeks: Vec<Sequence>,
        is_short: bool,
        released: Rc<RefCell<Vec<Sequence>>>,
        cancel: CancellationToken,
    }

    impl Source for Listed {
        fn next(&mut self) -> Result<Next, AppendError> {
            Ok(self.entries.next().unwrap_or(Next::End))
        }
        fn entry_bytes(&self) -> u64 {
            100
        }
        fn is_short(&self) -> bool {
            self.is_short
        }
        fn seek(&mut self, from: Sequence) {
            self.seeks.push(from);
        }
        fn release(&self, upto: Sequence) {
            self.released.borrow_mut().push(upto);
        }
        fn wait(&mut self, _: Duration) {
            self.cancel.cancel();
        }
    }

    #[test]
    fn entries_become_history_and_losses_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path(), HistorySettings::default(), testing::odd()).unwrap();
        let entry = |sequence: u64| {
            let sample = testing::sample(1, testing::NOVEMBER + sequence as i64 * 1000, sequence as i64);
            Next::Entry(Sequence(sequence), Record::Samples(SampleRecord { samples: vec![sample], ..SampleRecord::default() }))
        };
        let cancel = CancellationToken::new();
        let released = Rc::default();
        let entries =
            vec![Next::Gone { oldest: Sequence(5) }, entry(5), entry(6), Next::Damaged { from: Sequence(7), to: Sequence(9) }, entry(9)];
        let source = Listed {
            entries: entries.into_iter(),
            seeks: Vec::new(),
            is_short: false,
            released: Rc::clone(&released),
            cancel: cancel.clone(),
        };
        let stats = ReaderStats::default();
        follow(source, &history, &ManualClock::new(UtcMillis(testing::NOVEMBER)), &stats, &cancel);
        assert_eq!(stats.gone.load(Ordering::Relaxed), 4);
        assert_eq!(stats.damaged.load(Ordering::Relaxed), 2);
        assert_eq!(*released.borrow(), [Sequence(9)]);
        let values = history.scan(PointId(1), UtcMillis(0), UtcMillis(i64::MAX), 10).unwrap();
        assert_eq!(values.iter().map(|sample| sample.value).collect::<Vec<_>>(), [5, 6, 9]);
    }

    #[test]
    fn a_short_disk_makes_the_oldest_months_go_one_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path(), HistorySettings::default(), testing::odd()).unwrap();
        // Two days of each month from 2026-07 to 2026-11, of a point that is no compliance point.
        let mut sequence = 0;
        for day in [-120, -90, -60, -30, 0] {
            for i in 0..400 {
                sequence += 1;
                let sample = testing::sample(2, testing::NOVEMBER + (day + 1) * 86_400_000 + i * 300_000, i);
                history.apply_samples(Sequence(sequence), &[sample]);
            }
        }
        history.checkpoint().unwrap();
        let mut source = Listed {
            entries: Vec::new().into_iter(),
            seeks: Vec::new(),
            is_short: false,
            released: Rc::default(),
            cancel: CancellationToken::new(),
        };
        let mut chores = Chores::new(Now { utc: UtcMillis(testing::NOVEMBER), monotonic_ms: 0 });
        let mut gone = |source: &Listed, monotonic_ms: u64| {
            chores.step(source, &history, Now { utc: UtcMillis(testing::NOVEMBER + 3 * 86_400_000), monotonic_ms });
            history.stats().files_relieved
        };
        assert_eq!(gone(&source, 0), 0);
        source.is_short = true;
        assert_eq!([gone(&source, 1_000), gone(&source, 1_001), gone(&source, 2_000)], [1, 1, 2]);
        source.is_short = false;
        assert_eq!(gone(&source, 3_000), 2, "there is room again");
        source.is_short = true;
        assert_eq!([gone(&source, 4_000), gone(&source, 5_000)], [3, 3], "the last two stay");
    }

    #[test]
    fn nights_go_on_after_a_clock_that_ran_ahead() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path(), HistorySettings::default(), testing::odd()).unwrap();
        let source = Listed {
            entries: Vec::new().into_iter(),
            seeks: Vec::new(),
            is_short: false,
            released: Rc::default(),
            cancel: CancellationToken::new(),
        };
        let now = |utc: i64| Now { utc: UtcMillis(utc), monotonic_ms: 0 };
        let mut chores = Chores::new(now(testing::NOVEMBER));
        let mut begins = |utc: i64| {
            let begun = chores.step(&source, &history, now(utc));
            while chores.step(&source, &history, now(utc)) {}
            begun
        };
        let (day, century) = (86_400_000, 100 * 365 * 86_400_000);
        assert!(begins(testing::NOVEMBER + century));
        assert!(!begins(testing::NOVEMBER + 1));
        assert!(begins(testing::NOVEMBER + day));
    }

    #[test]
    fn a_night_begins_at_three_in_china() {
        let at = |hour: i64| night_of(UtcMillis(testing::NOVEMBER + hour * 3_600_000));
        assert_eq!((at(18), at(19), at(42)), (at(0), at(0) + 1, at(0) + 1));
        assert_eq!(at(43), at(0) + 2);
    }
}
