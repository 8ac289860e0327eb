//! Repeats: the same reading again. Drops only what is surely a repeat; history merges the rest by its own rule.

use std::collections::{HashSet, VecDeque};

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

/// The last few of something, oldest first; costs nothing while empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recent<T, const LIMIT: usize>(VecDeque<T>);

impl<T, const LIMIT: usize> Default for Recent<T, LIMIT> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T, const LIMIT: usize> Recent<T, LIMIT> {
    pub(super) fn push(&mut self, item: T) {
        if self.0.len() >= LIMIT {
            self.0.pop_front();
        }
        self.0.push_back(item);
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &T> + DoubleEndedIterator {
        self.0.iter()
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecentDeliveries {
    /// Oldest first.
    ring: VecDeque<Delivery>,
    /// The packet ids in `ring`: an id that is not there, as mostly, costs no search.
    ids: HashSet<u16>,
}

impl RecentDeliveries {
    pub(super) fn contains(&self, delivery: &Delivery) -> bool {
        self.ids.contains(&delivery.packet_id) && self.ring.contains(delivery)
    }

    pub(super) fn push(&mut self, delivery: Delivery) {
        if !self.ids.insert(delivery.packet_id) {
            self.ring.retain(|known| known.packet_id != delivery.packet_id);
        } else if self.ring.len() >= DELIVERIES_REMEMBERED
            && let Some(oldest) = self.ring.pop_front()
        {
            self.ids.remove(&oldest.packet_id);
        }
        self.ring.push_back(delivery);
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Delivery> {
        self.ring.iter()
    }
}
