//! Damage on disk: one file of a stopped gateway's data is flipped, zeroed or cut at a random place. The gateway then
//! starts, or refuses and names the file; it never panics and never shows a value that was not there; what lies outside
//! the damage is still answered. `facts.db` is left out: it is restored from a backup.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_tests::gateway::Gateway;
use parkgate_tests::mosquitto::{Mosquitto, Options};
use parkgate_tests::numbered::{self, Meters};
use parkgate_tests::{Stopwatch, copy_tree, number_from, random, wait_for};
use serde_json::Value;

/// Damages, unless `PARKGATE_ROUNDS` says otherwise.
const ROUNDS: u64 = 60;
const MESSAGES: u64 = 3_000;
/// Longest until it is ready or has refused.
const LIMIT: Duration = Duration::from_secs(30);
/// Which files are damaged in turn: all below these names.
const KINDS: [&str; 5] = ["journal", "history", "normalise.state", "rejects", "VERSION"];
const SMALL: &str = "[gateway.journal]\nsegment_megabytes = 1\n[gateway.history]\ncheckpoint_seconds = 1\n";

/// All samples by point.
type Recorded = BTreeMap<String, Vec<Value>>;

#[test]
fn damage_stays_where_it_is() -> Result<()> {
    let _stopwatch = Stopwatch::start("damage");
    let rounds = number_from("PARKGATE_ROUNDS")?.unwrap_or(ROUNDS);
    let mut random = random()?;
    let original = tempfile::tempdir()?;
    let (config, expected) = record(original.path())?;
    let mut outcomes: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for (round, kind) in (0..rounds).zip(KINDS.iter().cycle()) {
        let copy = tempfile::tempdir()?;
        copy_tree(original.path(), copy.path())?;
        let (file, how) = damage(&copy.path().join(kind), &mut random)?;
        let outcome =
            one(copy.path(), &config, &expected, kind, &file).with_context(|| format!("round {round}: {}, {how}", file.display()))?;
        let name = file.strip_prefix(copy.path())?.display().to_string();
        *outcomes.entry((name, outcome)).or_default() += 1;
    }
    println!("{outcomes:?}");
    Ok(())
}

/// Fills `data` with a small record, rejects included; gives the configuration and what is recorded.
fn record(data: &Path) -> Result<(String, Recorded)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _guard = runtime.enter();
    let broker = Mosquitto::start(&Options::default())?;
    let config = format!("{}\n{SMALL}", numbered::config(broker.port()));
    let mut gateway = Gateway::prepare(Some(data))?;
    gateway.configure(&config)?;
    gateway.restart()?;
    let mut meters = Meters::open(&runtime, &broker, &gateway)?;
    let mut publisher = broker.publisher("bad");
    runtime.block_on(async {
        for _ in 0..50 {
            publisher.publish("meters/t0", "{\"n\": no number").await?;
        }
        publisher.flush().await
    })?;
    for _ in 0..3 {
        runtime.block_on(meters.publish(MESSAGES / 3))?;
        numbered::each_once(&gateway, meters.sent(), LIMIT)?;
        // So that a checkpoint falls between.
        std::thread::sleep(Duration::from_millis(1_100));
    }
    let recorded = recorded(&gateway)?;
    ensure!(gateway.stop()?.success(), "did not stop cleanly");
    // The broker is gone: a damaged copy gets nothing new.
    Ok((config, recorded))
}

fn recorded(gateway: &Gateway) -> Result<Recorded> {
    let points = gateway.get("/api/v1/points")?;
    let ids = points["items"].as_array().context("no items")?.iter().filter_map(|point| point["id"].as_str());
    ids.map(|id| Ok((id.to_owned(), gateway.samples(id)?))).collect()
}

/// Damages a random file of `place` (a file or a folder) at a random place; gives which, and how.
fn damage(place: &Path, random: &mut fastrand::Rng) -> Result<(PathBuf, String)> {
    let mut files = Vec::new();
    if place.is_dir() {
        for entry in std::fs::read_dir(place)? {
            files.push(entry?.path());
        }
        files.retain(|file| file.is_file() && file.metadata().is_ok_and(|data| data.len() > 0));
        files.sort();
    } else {
        files.push(place.to_owned());
    }
    let file = random.choice(files).with_context(|| format!("no file in {}", place.display()))?;
    let mut bytes = std::fs::read(&file)?;
    // Not in the preallocated rest, where nothing is.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let at = random.usize(..used);
    let how = match random.u8(..3) {
        0 => {
            let bit = random.u8(..8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        1 => {
            let end = used.min(at + random.usize(1..512));
            bytes[at..end].fill(0);
            format!("bytes {at} to {end} zeroed")
        }
        _ => {
            bytes.truncate(at);
            format!("cut at byte {at}")
        }
    };
    std::fs::write(&file, bytes)?;
    Ok((file, format!("{how} of {used}")))
}

/// Starts on damaged data; gives what became of it.
fn one(data: &Path, config: &str, expected: &Recorded, kind: &str, file: &Path) -> Result<&'static str> {
    let mut gateway = Gateway::prepare(Some(data))?;
    gateway.configure(config)?;
    gateway.spawn()?;
    let mut said = String::new();
    let ended = wait_for("readiness or refusal", LIMIT, || {
        if let Some(status) = gateway.ended()? {
            return Ok(Some(Some(status)));
        }
        let Ok((status, text)) = gateway.get_text("/readyz") else { return Ok(None) };
        said = text;
        Ok((status == 200).then_some(None))
    });
    let ended = ended.with_context(|| said)?;
    let log = || std::fs::read_to_string(gateway.log());
    ensure!(!log()?.contains("panicked"), "it panicked");
    if let Some(status) = ended {
        let name = file.file_name().and_then(|name| name.to_str()).context("a file without a name")?;
        // The number in VERSION may have become that of a newer program, which is refused as such.
        let named = log()?.contains(name) || kind == "VERSION" && log()?.contains("has version");
        ensure!(status.code() == Some(2) && named, "it ended with {status} and does not name {name}");
        gateway.forget();
        return Ok("refused");
    }
    let (found, mut missing) = (recorded(&gateway)?, 0);
    for (point, samples) in expected {
        let found = found.get(point).map_or(&[][..], Vec::as_slice);
        if let Some(wrong) = found.iter().find(|sample| !samples.contains(sample)) {
            anyhow::bail!("{point} has {wrong}, which was never recorded");
        }
        missing += usize::from(found.len() < samples.len());
    }
    ensure!(missing == 0 || kind == "history", "{missing} points lost samples by damage to {kind}");
    ensure!(gateway.stop()?.code() == Some(0), "did not stop cleanly");
    ensure!(!std::fs::read_to_string(gateway.log())?.contains("panicked"), "it panicked");
    Ok(match missing {
        0 => "all answered",
        1 => "one point lost samples",
        _ => "several points lost samples",
    })
}
