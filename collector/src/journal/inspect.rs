//! The journal for people: [`verify`] checks every segment, [`dump`] prints entries, [`read`] gives them to a program.
//! All only read, and work beside a running writer; what it has written and not yet synced may then show as a torn end.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::file::{Disk, FileHandle, FileLayer as _};
use super::frame::{HEADER_BYTES, Header, MAGIC, VERSION, padded};
use super::scan::{Found, Scan};
use super::segment::{segment_firsts, segment_path};
use super::{Record, SampleRecord, Sequence, codec};
use crate::model::{PointId, UtcMillis};

/// What [`verify`] found. `damaged` and `undecodable` are what matters: the rest is information.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Each segment, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Entries that can be read.
    pub entries: u64,
    /// Samples in them.
    pub samples: u64,
    /// Ranges of entries that are lost though they had been synced.
    pub damaged: Vec<Lost>,
    /// Ranges that a torn write left out: nobody was told that they were durable.
    pub torn: Vec<Lost>,
    /// Entries whose bytes are as written, but which this program cannot read.
    pub undecodable: u64,
}

impl Report {
    /// Whether everything that was acknowledged can be read.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.undecodable == 0 && self.segments.iter().all(|segment| segment.header == "good")
    }
}

/// Entries `from..to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// First one lost.
    pub from: u64,
    /// First one after.
    pub to: u64,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentReport {
    /// File name.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// `good`, `damaged`, or `version N` of a newer program.
    pub header: String,
    /// First readable entry; 0 without one.
    pub first: u64,
    /// Last readable entry; 0 without one.
    pub last: u64,
    /// Readable entries.
    pub entries: u64,
    /// Bytes that are neither zero nor part of a good entry.
    pub garbage_bytes: u64,
}

/// Reads every segment of the journal in `directory` from end to end.
///
/// # Errors
/// The directory or a segment cannot be opened. Damage is no error: it is in the report.
pub fn verify(directory: &Path) -> io::Result<Report> {
    let mut report = Report::default();
    let mut record = Record::Samples(SampleRecord::default());
    walk(directory, Sequence(0), |event| {
        match event {
            Event::Segment { file, bytes, header } => {
                report.segments.push(SegmentReport { file, bytes, header, first: 0, last: 0, entries: 0, garbage_bytes: 0 })
            }
            Event::Garbage(bytes) => {
                if let Some(segment) = report.segments.last_mut() {
                    segment.garbage_bytes = segment.garbage_bytes.saturating_add(bytes);
                }
            }
            Event::Lost { lost, synced } => if synced { &mut report.damaged } else { &mut report.torn }.push(lost),
            Event::Entry { sequence, body } => {
                report.entries = report.entries.saturating_add(1);
                if let Some(segment) = report.segments.last_mut() {
                    segment.first = if segment.first == 0 { sequence } else { segment.first };
                    segment.last = sequence;
                    segment.entries = segment.entries.saturating_add(1);
                }
                match codec::decode_into(body, &mut record) {
                    Err(_) => report.undecodable = report.undecodable.saturating_add(1),
                    Ok(()) => {
                        if let Record::Samples(record) = &record {
                            report.samples = report.samples.saturating_add(record.samples.len() as u64);
                        }
                    }
                }
            }
        }
        true
    })?;
    Ok(report)
}

/// Gives up to `limit` entries from `from` on to `line`, each as one JSON object; where entries are lost or cannot be
/// read, an object with `damaged` stands in their place.
///
/// Keys: `sequence`, `kind`, and those of the record, in snake_case; times are RFC 3339; values are mantissas as text.
/// Points are numbers in the journal; `id_of` tells the stable id, `null` where it does not know one.
///
/// # Errors
/// As [`verify`].
pub fn dump(
    directory: &Path,
    from: Sequence,
    limit: u64,
    id_of: impl Fn(PointId) -> Option<String>,
    mut line: impl FnMut(String),
) -> io::Result<()> {
    let mut left = limit;
    walk(directory, from, |event| {
        let value = match event {
            Event::Entry { sequence, .. } if sequence < from.0 => return true,
            Event::Entry { .. } if left == 0 => return false,
            Event::Entry { sequence, body } => {
                left = left.saturating_sub(1);
                match codec::decode(body) {
                    Ok(record) => to_json(sequence, &record, &id_of),
                    Err(error) => json!({ "damaged": { "from": sequence, "to": sequence.saturating_add(1) }, "error": error.to_string() }),
                }
            }
            Event::Lost { lost, .. } if lost.to > from.0 && left > 0 => json!({ "damaged": lost }),
            _ => return true,
        };
        line(value.to_string());
        left > 0
    })
}

/// Gives the entries from `from` on to `visit`, in order, without a writer being asked. What is lost or cannot be read is
/// passed over.
///
/// # Errors
/// As [`verify`].
pub fn read(directory: &Path, from: Sequence, mut visit: impl FnMut(Sequence, &Record)) -> io::Result<()> {
    let mut record = Record::Samples(SampleRecord::default());
    walk(directory, from, |event| {
        if let Event::Entry { sequence, body } = event
            && sequence >= from.0
            && codec::decode_into(body, &mut record).is_ok()
        {
            visit(Sequence(sequence), &record);
        }
        true
    })
}

/// The segments of the journal in `directory`, oldest first: first entry and file.
///
/// # Errors
/// The directory cannot be read.
pub fn segments(directory: &Path) -> io::Result<Vec<(Sequence, PathBuf)>> {
    let firsts = segment_firsts(&Disk.list(directory)?);
    Ok(firsts.into_iter().map(|first| (Sequence(first), segment_path(directory, first))).collect())
}

/// Length of the part of a segment that holds its entries up to `upto`. Once they are durable it does not change any
/// more, while the rest is being written.
pub fn bytes_upto(file: Arc<dyn FileHandle>, first: Sequence, upto: Sequence) -> u64 {
    let limit = file.length().unwrap_or(0);
    let mut scan = Scan::new(file, first.0, limit);
    let mut end = limit.min(HEADER_BYTES as u64);
    while let Found::Entry { frame, offset, .. } = scan.next(first.0)
        && frame.sequence <= upto.0
    {
        end = offset.saturating_add(padded(frame.bytes()) as u64);
    }
    end.min(limit)
}

enum Event<'a> {
    Segment { file: String, bytes: u64, header: String },
    Garbage(u64),
    Lost { lost: Lost, synced: bool },
    Entry { sequence: u64, body: &'a [u8] },
}

/// Goes through the segments that can hold `from` and later entries, until `visit` says no.
fn walk(directory: &Path, from: Sequence, mut visit: impl FnMut(Event<'_>) -> bool) -> io::Result<()> {
    let firsts = segment_firsts(&Disk.list(directory)?);
    let mut expected = None;
    for (index, &first) in firsts.iter().enumerate() {
        let below = firsts.get(index.saturating_add(1)).copied();
        if below.is_some_and(|below| below <= from.0) {
            continue;
        }
        let path = segment_path(directory, first);
        let file = match Disk.open(&path, false) {
            // Released by the running writer since the listing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let length = file.length()?;
        if !visit(Event::Segment { file: name, bytes: length, header: header_state(file.as_ref(), first) }) {
            return Ok(());
        }
        // Where the next segment starts is told by its name: what is missing before it was synced before it was made.
        let mut next = *expected.get_or_insert(first);
        if next < first && !visit(Event::Lost { lost: Lost { from: next, to: first }, synced: true }) {
            return Ok(());
        }
        next = next.max(first);
        let mut scan = Scan::new(Arc::clone(&file), first, length).ending_below(below);
        loop {
            match scan.next(first) {
                Found::Entry { frame, offset, garbage } => {
                    if garbage > 0 && !visit(Event::Garbage(garbage)) {
                        return Ok(());
                    }
                    if frame.sequence > next {
                        let synced = frame.sequence.saturating_sub(u64::from(frame.unsynced)) >= next;
                        if !visit(Event::Lost { lost: Lost { from: next, to: frame.sequence }, synced }) {
                            return Ok(());
                        }
                    }
                    if !visit(Event::Entry { sequence: frame.sequence, body: scan.body(&frame, offset) }) {
                        return Ok(());
                    }
                    next = frame.sequence.saturating_add(1);
                }
                Found::End { garbage } => {
                    if garbage > 0 && !visit(Event::Garbage(garbage)) {
                        return Ok(());
                    }
                    break;
                }
            }
        }
        expected = Some(next);
    }
    Ok(())
}

fn header_state(file: &dyn FileHandle, first: u64) -> String {
    let mut bytes = [0; HEADER_BYTES];
    let _ = file.read_at(&mut bytes, 0);
    match Header::parse(&bytes, MAGIC) {
        Some(header) if header.version > VERSION => format!("version {}", header.version),
        Some(header) if header.first == first => "good".to_owned(),
        _ => "damaged".to_owned(),
    }
}

fn to_json(sequence: u64, record: &Record, id_of: &dyn Fn(PointId) -> Option<String>) -> Value {
    let time = |time: UtcMillis| time.to_string();
    match record {
        Record::Samples(record) => json!({
            "sequence": sequence,
            "kind": "samples",
            "catalogue_version": record.catalogue_version,
            "boot_id": record.boot_id.to_string(),
            "monotonic_ms": record.monotonic_ms,
            "link": record.link.0,
            "deliveries": record.deliveries.iter().map(|d| json!({ "packet_id": d.packet_id, "hash": d.hash })).collect::<Vec<_>>(),
            "samples": record.samples.iter().map(|sample| json!({
                "point": sample.point.0,
                "id": id_of(sample.point),
                "value": sample.number().map(|value| value.to_string()),
                "quality": sample.status.quality(),
                "reason": sample.status.reason(),
                "origin": sample.status.origin(),
                "step": sample.status.step(),
                "source_time": sample.source_time.map(time),
                "received_time": time(sample.received_time),
                "record_time": time(sample.record_time),
            })).collect::<Vec<_>>(),
        }),
        Record::Link(record) => json!({
            "sequence": sequence, "kind": "link", "link": record.link.0, "device": record.device, "up": record.up,
            "why": record.why, "time": time(record.time),
        }),
        Record::Catalogue(record) => json!({
            "sequence": sequence, "kind": "catalogue", "version": record.version, "time": time(record.time),
        }),
        Record::Clock(record) => json!({
            "sequence": sequence, "kind": "clock", "boot_id": record.boot_id.to_string(),
            "monotonic_ms": record.monotonic_ms, "expected": time(record.expected), "found": time(record.found),
        }),
        Record::Declared(record) => json!({
            "sequence": sequence, "kind": "declared", "statement": record.kind, "time": time(record.time), "body": record.body,
        }),
    }
}
