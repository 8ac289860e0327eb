//! Reads rejected messages again, by the present configuration: what can be read now goes the ordinary way and is marked
//! in the ring once it is durable.
//!
//! Only messages of MQTT links are in question; a rejected Modbus answer is history. A message without a time of its own
//! counts as of its arrival: its readings get as source time the first millisecond from there on at which history has no
//! other sample of the point. The normaliser's next free millisecond would be about now, and one chosen without a look
//! into history may be that of a sample that came live. Replayed once more, as after a power cut that cost the mark, a
//! message finds its own samples by their received time and takes the same milliseconds again.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::driver::{Batch, LinkDevices, Message, Outcome, Outlet, mqtt};
use parkgate_collector::journal::Journal;
use parkgate_collector::model::{PointId, Sample, UtcMillis};
use parkgate_collector::rejects::{self, Filter, StoredReject};
use tokio::sync::oneshot;

use crate::control::ReplayReport;
use crate::store::{History, RecordView, reader};

/// How far from its arrival a place is looked for: what a live source time may be ahead by default.
const SEARCH_MS: i64 = 60_000;
/// Part of it that is read from history at a time.
const SEARCH_STEP_MS: usize = 1_000;
/// Longest wait for history.
const FOLLOW_LIMIT: Duration = Duration::from_secs(60);

/// Milliseconds given to readings by this replay; as many as it replays readings, which the ring's size bounds.
type Taken = HashSet<(PointId, UtcMillis)>;

/// Reads the rejects in `directory` again, all or those of one device.
///
/// # Errors
/// The ring cannot be read, or what was read again could not be made durable.
pub async fn replay(
    catalogue: &Catalogue,
    outlet: &Outlet,
    sink: &rejects::Sink,
    directory: &Path,
    device: Option<String>,
    (journal, history): (&Journal, &History),
) -> Result<ReplayReport> {
    let (sink, path) = (sink.clone(), directory.to_owned());
    let listed = tokio::task::spawn_blocking({
        let sink = sink.clone();
        move || {
            sink.flush();
            rejects::list(&path, Filter { device, ..Filter::default() }).map(Iterator::collect::<Vec<StoredReject>>)
        }
    });
    let mut report = ReplayReport::default();
    let listed = listed.await??;
    follow(journal, history).await?;
    let mut taken = Taken::new();
    for reject in listed {
        let Some(batch) = reread(catalogue, &reject) else {
            report.still_rejected += 1;
            continue;
        };
        let history = history.clone();
        let placed = tokio::task::spawn_blocking(move || place(&history, &mut taken, batch).map(|batch| (batch, taken)));
        let mut batch;
        (batch, taken) = placed.await??;
        let (done, outcome) = oneshot::channel();
        batch.done = Some(done);
        if outlet.send(Message::Batch(batch)).await.is_err() {
            bail!("the gateway is stopping");
        }
        match outcome.await {
            Ok(Outcome::Durable) => {
                sink.mark_replayed(reject.id);
                report.replayed += 1;
            }
            _ => bail!("not durable; what was replayed so far is marked, replay again for the rest"),
        }
    }
    tokio::task::spawn_blocking(move || sink.flush()).await?;
    Ok(report)
}

/// Waits until history has what is durable now, so that a look into it misses nothing.
async fn follow(journal: &Journal, history: &History) -> Result<()> {
    tokio::time::timeout(FOLLOW_LIMIT, reader::caught_up(journal, history))
        .await
        .context("history does not follow the journal; nothing was replayed")
}

/// Gives readings without a time of their own one that no other sample of their point has. Blocks.
fn place(history: &dyn RecordView, taken: &mut Taken, mut batch: Batch) -> Result<Batch> {
    for reading in batch.readings.iter_mut().filter(|reading| reading.source_time.is_none()) {
        reading.source_time = Some(free(history, taken, reading.point, batch.received_time)?);
    }
    Ok(batch)
}

/// The first free millisecond of `point` from `arrived` on.
fn free(history: &dyn RecordView, taken: &mut Taken, point: PointId, arrived: UtcMillis) -> Result<UtcMillis> {
    for start in (0..SEARCH_MS).step_by(SEARCH_STEP_MS) {
        let from = arrived.plus(start);
        let to = from.plus(SEARCH_STEP_MS as i64);
        let samples = history.scan(point, from, to, usize::MAX)?;
        let is_own = |sample: &Sample| sample.received_time == arrived && sample.source_time == Some(sample.record_time);
        let others: HashSet<UtcMillis> = samples.iter().filter(|sample| !is_own(sample)).map(|sample| sample.record_time).collect();
        let free = (from.0..to.0).map(UtcMillis).find(|at| !others.contains(at) && !taken.contains(&(point, *at)));
        if let Some(free) = free {
            taken.insert((point, free));
            return Ok(free);
        }
    }
    bail!("no free millisecond within {SEARCH_MS} ms of {arrived} for a message without a time")
}

/// The batch a rejected message makes now, `None` when it still cannot be read.
fn reread(catalogue: &Catalogue, reject: &StoredReject) -> Option<Batch> {
    let (link, topic) = reject.source.split_once(' ')?;
    let link = catalogue.links.iter().find(|candidate| candidate.id == link)?;
    let devices = catalogue.devices.iter().filter(|device| device.link.key == link.key).cloned().collect();
    let devices = LinkDevices { link: link.clone(), devices };
    if reject.is_cut() {
        return None;
    }
    mqtt::reread(&devices, topic, &reject.payload, reject.received_time)
}

#[cfg(test)]
mod tests {
    use parkgate_collector::journal::Sequence;
    use parkgate_collector::model::{LinkKey, Number, Origin, Quality, Reading, Reason, Status, Step};

    use super::*;
    use crate::store::HistorySettings;

    /// Rejected at 1000, 1001 and 1002, beside a live sample that came with them and others a little later: what is
    /// replayed replaces nothing, and replayed once more it replaces only itself.
    #[test]
    fn replayed_messages_without_a_time_take_milliseconds_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(directory.path(), HistorySettings::default(), std::sync::Arc::new(|_| false)).unwrap();
        let point = PointId(1);
        let sample = |value, source_time: Option<UtcMillis>, received: i64, record_time| Sample {
            point,
            status: Status::new(Quality::Good, Reason::None, Origin::Metered, Step::None),
            value,
            source_time,
            received_time: UtcMillis(received),
            record_time,
        };
        let live = [1000, 1001, 1004].map(|at| sample(at, None, 1000, UtcMillis(at)));
        history.apply_samples(Sequence(1), &live);
        let replay = |sequence, arrivals: &[i64]| {
            let mut taken = Taken::new();
            let replayed: Vec<Sample> = arrivals
                .iter()
                .map(|&arrived| {
                    let number = Number::Missing(Reason::NotAvailable);
                    let readings = vec![Reading { point, number, source_time: None }];
                    let batch = Batch {
                        link: LinkKey::of("l"),
                        received_time: UtcMillis(arrived),
                        readings,
                        origin: Origin::Metered,
                        deliveries: vec![],
                        rejected: vec![],
                        done: None,
                    };
                    let at = place(&history, &mut taken, batch).unwrap().readings[0].source_time.unwrap();
                    sample(-arrived, Some(at), arrived, at)
                })
                .collect();
            history.apply_samples(Sequence(sequence), &replayed);
        };
        let all = || -> Vec<(i64, i64)> {
            let samples = history.scan(point, UtcMillis(0), UtcMillis(5000), 100).unwrap();
            samples.iter().map(|sample| (sample.record_time.0, sample.value)).collect()
        };
        replay(2, &[1000, 1001, 1002]);
        let expected = [(1000, 1000), (1001, 1001), (1002, -1000), (1003, -1001), (1004, 1004), (1005, -1002)];
        assert_eq!(all(), expected);
        replay(3, &[1002]);
        replay(4, &[1000, 1001, 1002]);
        assert_eq!(all(), expected);
    }
}
