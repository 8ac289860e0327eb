//! Repeats: the same reading again. Drops only what is surely a repeat; history merges the rest by its own rule.

use std::collections::{HashMap, VecDeque};

use crate::model::{DELIVERIES_REMEMBERED, Delivery, Sample};

/// Stamped readings remembered per point; when full the oldest is forgotten and history finds its repeat.
pub(super) const RECENT_PER_POINT: usize = 8;

/// What makes two stamped readings of one point the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) source_time: i64,
    pub(super) value: i64,
    /// Reason and "no number" of the status.
    pub(super) tag: u16,
}

impl Seen {
    /// `None` without a source time: such readings are never repeats by value.
    pub(super) fn of(sample: &Sample) -> Option<Self> {
        let tag = if sample.status.has_number() { 0 } else { u16::from(sample.status.reason().code()).saturating_add(1) };
        Some(Self { source_time: sample.source_time?.0, value: sample.value, tag })
    }
}

/// The last few of something, oldest first; costs a pointer while empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::box_collection, reason = "most points of a park never have one: a word instead of four")]
pub(super) struct Recent<T, const LIMIT: usize>(Option<Box<VecDeque<T>>>);

impl<T, const LIMIT: usize> Default for Recent<T, LIMIT> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T, const LIMIT: usize> Recent<T, LIMIT> {
    pub(super) fn push(&mut self, item: T) {
        let items = self.0.get_or_insert_default();
        if items.len() >= LIMIT {
            items.pop_front();
        }
        items.push_back(item);
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |items| items.len())
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.0.iter().flat_map(|items| items.iter())
    }
}

impl RecentReadings {
    /// Whether the newest reading of that time says the same. An older one does not count: with a value in between, this
    /// one takes it back.
    pub(super) fn repeats(&self, seen: &Seen) -> bool {
        self.iter().rev().find(|known| known.source_time == seen.source_time) == Some(seen)
    }
}

/// Stamped readings of a point.
pub(super) type RecentReadings = Recent<Seen, RECENT_PER_POINT>;
/// Messages of a link without a time, at most one per packet id: an id that is used again was acknowledged, so what it
/// stood for before does not come again.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentDeliveries {
    /// Oldest first, each with its number. One whose packet id was used again is no longer in `known`.
    ring: VecDeque<(u64, Delivery)>,
    /// Packet id -> number and hash.
    known: HashMap<u16, (u64, u32)>,
    next: u64,
}

impl RecentDeliveries {
    pub(super) fn contains(&self, delivery: &Delivery) -> bool {
        self.known.get(&delivery.packet_id).is_some_and(|(_, hash)| *hash == delivery.hash)
    }

    pub(super) fn push(&mut self, delivery: Delivery) {
        self.known.insert(delivery.packet_id, (self.next, delivery.hash));
        self.ring.push_back((self.next, delivery));
        self.next = self.next.wrapping_add(1);
        while self.known.len() > DELIVERIES_REMEMBERED
            && let Some((number, oldest)) = self.ring.pop_front()
        {
            if self.known.get(&oldest.packet_id).is_some_and(|(newest, _)| *newest == number) {
                self.known.remove(&oldest.packet_id);
            }
        }
        if self.ring.len() > DELIVERIES_REMEMBERED.saturating_mul(2) {
            let known = &self.known;
            self.ring.retain(|(number, delivery)| known.get(&delivery.packet_id).is_some_and(|(newest, _)| newest == number));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Delivery> {
        let is_known = |number: &u64, delivery: &Delivery| self.known.get(&delivery.packet_id).is_some_and(|(newest, _)| newest == number);
        self.ring.iter().filter(move |(number, delivery)| is_known(number, delivery)).map(|(_, delivery)| delivery)
    }
}

impl PartialEq for RecentDeliveries {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
