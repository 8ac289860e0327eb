//! Reads rejected messages again, by the present configuration: what can be read now goes the ordinary way and is marked
//! in the ring once it is durable.
//!
//! Only messages of MQTT links are in question; a rejected Modbus answer is history. A message without a time of its own
//! counts as of its arrival.

use std::path::Path;

use anyhow::{Result, bail};
use parkgate_collector::catalogue::Catalogue;
use parkgate_collector::driver::{Batch, LinkDevices, Message, Outcome, Outlet, mqtt};
use parkgate_collector::rejects::{self, Filter, StoredReject};
use tokio::sync::oneshot;

use crate::control::ReplayReport;

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
    for reject in listed.await?? {
        let Some(mut batch) = reread(catalogue, &reject) else {
            report.still_rejected += 1;
            continue;
        };
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
