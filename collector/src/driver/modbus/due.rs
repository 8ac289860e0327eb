//! Answers that may still come on a line in RTU frames, by whichever connection. Pure but for its lock.
//!
//! Nothing in an RTU frame says which request it answers. What a unit, a converter or a DTU still holds when a connection
//! ends it hands to the next one; so this belongs to the line, not to the connection. An answer is due until its deadline
//! and the late window are over, unless it came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::modbus::{Function, Request};

/// What an answer is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// `None`: an answer of any unit is taken.
    unit_id: Option<u8>,
    function: Function,
    data_length: usize,
}

impl Shape {
    pub(super) fn of(request: &Request, check_unit: bool) -> Self {
        let unit_id = check_unit.then_some(request.unit_id);
        Self { unit_id, function: request.function, data_length: request.data_length() }
    }

    fn same_unit(self, other: Self) -> bool {
        self.unit_id.is_none() || other.unit_id.is_none() || self.unit_id == other.unit_id
    }

    /// Whether the answer to one could be taken for the answer to the other.
    fn is_like(self, other: Self) -> bool {
        self.same_unit(other) && self.function == other.function && self.data_length == other.data_length
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With its answer.
    Answered,
    /// With an exception, which has no length to tell it from that of a request before.
    Refused,
    /// With nothing, or the beginning of something, when its time was over.
    Silence,
    /// With an answer to something else.
    Foreign,
    /// With damaged bytes, or a broken connection: they may not have been the answer.
    Damaged,
}

/// The memory of one line. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct DueAnswers(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    late_window: Duration,
    /// How long someone who had the line before us may wait for an answer.
    stranger: Duration,
    opened: bool,
    silent_until: Option<Instant>,
    /// The request on the line and its deadline.
    flight: Option<(Shape, Instant)>,
    last: Option<Last>,
    /// What may still come, and until when.
    due: Vec<(Shape, Instant)>,
}

/// The request before.
#[derive(Clone, Copy, Debug)]
struct Last {
    shape: Shape,
    end: Instant,
    answered: bool,
}

impl DueAnswers {
    /// Of a line that we know nothing of yet.
    pub(super) fn new(timeout: Duration, late_window: Duration) -> Self {
        let stranger = timeout.saturating_add(late_window);
        let table = Table { late_window, stranger, opened: false, silent_until: None, flight: None, last: None, due: Vec::new() };
        Self(Arc::new(Mutex::new(table)))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a new connection. Before the first one someone else may have asked: we ourselves before a restart.
    pub(super) fn opened(&self, now: Instant) {
        let mut table = self.lock();
        if !std::mem::replace(&mut table.opened, true) {
            table.silent_until = table.silent_until.max(Some(now + table.stranger));
        }
        if let Some((shape, deadline)) = table.flight.take() {
            table.last = Some(Last { shape, end: now, answered: false });
            table.add(shape, deadline.max(now));
        }
    }

    /// Nothing that was asked is answered after it; `None` where nothing was asked.
    fn over(&self) -> Option<Instant> {
        let table = self.lock();
        let flight = table.flight.iter().map(|(_, deadline)| *deadline + table.late_window);
        let last = table.last.iter().map(|last| last.end + table.late_window);
        let due = table.due.iter().map(|(_, over)| *over);
        flight.chain(last).chain(due).chain(table.silent_until).max()
    }

    /// Nothing may be sent before.
    pub(super) fn silent_until(&self) -> Option<Instant> {
        self.lock().silent_until
    }

    /// A request goes out, or has gone out; its answer is waited for until `deadline`.
    pub(super) fn sent(&self, shape: Shape, deadline: Instant) {
        self.lock().flight = Some((shape, deadline));
    }

    /// The exchange is over.
    pub(super) fn ended(&self, now: Instant, end: End) {
        let mut table = self.lock();
        let Some((shape, deadline)) = table.flight.take() else { return };
        table.due.retain(|(_, over)| *over > now);
        let from = deadline.max(now);
        table.silent_until = match end {
            End::Answered | End::Refused | End::Damaged => None,
            End::Silence => Some(now + table.late_window),
            End::Foreign => Some(from + table.late_window),
        };
        let answered = match end {
            End::Answered => true,
            End::Refused => !table.due.iter().any(|(due, _)| due.same_unit(shape) && due.function == shape.function),
            End::Silence | End::Foreign | End::Damaged => false,
        };
        if !answered {
            table.add(shape, from);
        }
        table.last = Some(Last { shape, end: now, answered: end == End::Answered });
    }

    /// See [`super::wire::Wire::conflict`].
    pub(super) fn conflict(&self, shape: Shape, now: Instant) -> Option<Instant> {
        let table = self.lock();
        let last = table.last.filter(|last| last.shape.is_like(shape));
        let after_last = last.map(|last| last.end + table.late_window);
        let due = table.due.iter().filter(|(due, _)| due.is_like(shape)).map(|(_, over)| *over);
        let over = due.chain(after_last).max().filter(|over| *over > now);
        // After a request without answer longer, as far as it costs no time: who knows how late one can be.
        over.or(after_last.filter(|_| last.is_some_and(|last| !last.answered)))
    }
}

/// The memories of all lines by what they are reached by. Cheap to clone; all clones are one.
///
/// A line that a changed configuration begins anew may have other settings; what was asked before is answered by the old.
#[derive(Clone, Debug, Default)]
pub struct DueLines(Arc<Mutex<HashMap<String, DueAnswers>>>);

impl DueLines {
    /// The memory of a line that begins: it is silent until nothing of the one before it on `port` can come.
    pub(super) fn begin(&self, port: String, fresh: DueAnswers) -> DueAnswers {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = lines.insert(port, fresh.clone()) {
            let over = before.over();
            fresh.lock().silent_until = over;
        }
        fresh
    }
}

impl Table {
    /// An answer whose time is over at `from` may still come.
    fn add(&mut self, shape: Shape, from: Instant) {
        let over = from + self.late_window;
        match self.due.iter_mut().find(|(due, _)| *due == shape) {
            Some((_, known)) => *known = over.max(*known),
            None => self.due.push((shape, over)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(100);
    const WINDOW: Duration = Duration::from_millis(50);

    fn shape(unit_id: u8, registers: u16) -> Shape {
        Shape::of(&Request { unit_id, function: Function::HoldingRegisters, address: 0, quantity: registers }, true)
    }

    fn any_unit(registers: u16) -> Shape {
        Shape { unit_id: None, ..shape(1, registers) }
    }

    #[test]
    fn what_may_still_come_is_kept_apart_until_it_cannot() {
        let ms = Duration::from_millis;
        // How it ended after 10 ms; silence from the beginning; until when an answer of that shape is kept apart.
        for (end, silence, over) in [
            (End::Answered, None, 60),
            (End::Refused, None, 60),
            (End::Silence, Some(60), 150),
            (End::Foreign, Some(150), 150),
            (End::Damaged, None, 150),
        ] {
            let due = DueAnswers::new(TIMEOUT, WINDOW);
            let start = Instant::now();
            due.sent(shape(1, 2), start + TIMEOUT);
            due.ended(start + ms(10), end);
            assert_eq!(due.silent_until(), silence.map(|silence| start + ms(silence)), "{end:?}");
            let at = |time| due.conflict(shape(1, 2), start + ms(time));
            assert_eq!((at(10), at(over - 1)), (Some(start + ms(over)), Some(start + ms(over))), "{end:?}");
            // Later another request would only be better.
            assert_eq!(at(over), (end != End::Answered).then_some(start + ms(60)), "{end:?}");
            for other in [shape(2, 2), shape(1, 3)] {
                assert_eq!(due.conflict(other, start + ms(10)), None, "{end:?}");
            }
            assert!(due.conflict(any_unit(2), start + ms(10)).is_some());

            // Another unit's answer in between changes that only where the first one has its answer.
            due.sent(shape(2, 2), start + ms(120));
            due.ended(start + ms(20), End::Answered);
            let still = matches!(end, End::Silence | End::Foreign | End::Damaged);
            assert_eq!(due.conflict(shape(1, 2), start + ms(30)).is_some(), still, "{end:?}");
            assert_eq!(due.conflict(shape(1, 2), start + ms(150)), None, "{end:?}");
        }
    }

    #[test]
    fn a_refusal_may_be_that_of_a_request_before() {
        let due = DueAnswers::new(TIMEOUT, WINDOW);
        let start = Instant::now();
        due.sent(shape(1, 2), start + TIMEOUT);
        due.ended(start, End::Damaged);
        due.sent(shape(1, 3), start + TIMEOUT);
        due.ended(start, End::Refused);
        due.sent(shape(2, 3), start + TIMEOUT);
        due.ended(start, End::Refused);
        assert!(due.conflict(shape(1, 3), start).is_some());
        due.sent(shape(3, 1), start + TIMEOUT);
        due.ended(start, End::Answered);
        assert!(due.conflict(shape(1, 3), start).is_some() && due.conflict(shape(2, 3), start).is_none());
    }

    #[test]
    fn a_new_connection_knows_what_the_one_before_left_behind() {
        let due = DueAnswers::new(TIMEOUT, WINDOW);
        let start = Instant::now();
        due.opened(start);
        assert_eq!(due.silent_until(), Some(start + TIMEOUT + WINDOW), "who had the line before us?");
        due.sent(shape(1, 2), start + TIMEOUT);
        due.opened(start);
        assert_eq!(due.conflict(shape(1, 2), start), Some(start + TIMEOUT + WINDOW));
        assert_eq!(due.conflict(shape(1, 3), start), None);
    }

    #[test]
    fn a_line_begun_anew_waits_for_what_was_asked_by_the_old_settings() {
        let (lines, start) = (DueLines::default(), Instant::now());
        let fresh = || DueAnswers::new(TIMEOUT, WINDOW);
        let long = TIMEOUT * 50;
        let before = lines.begin("a".into(), DueAnswers::new(long, long));
        before.opened(start - long * 2);
        assert_eq!(before.silent_until(), Some(start));
        // Cut off with the request on the line, or ended without an answer.
        before.sent(shape(1, 2), start + long);
        let other = lines.begin("b".into(), fresh());
        other.opened(start);
        assert_eq!(other.silent_until(), Some(start + TIMEOUT + WINDOW), "another line");
        let after = lines.begin("a".into(), fresh());
        after.opened(start);
        assert_eq!(after.silent_until(), Some(start + long * 2));
        // Begun once more before that was over.
        let again = lines.begin("a".into(), fresh());
        again.opened(start);
        assert_eq!(again.silent_until(), Some(start + long * 2));
        for (end, over) in [(End::Answered, long), (End::Silence, long * 2), (End::Damaged, long * 2)] {
            let before = lines.begin("c".into(), DueAnswers::new(long, long));
            before.sent(shape(1, 2), start + long);
            before.ended(start, end);
            let after = lines.begin("c".into(), fresh());
            after.opened(start);
            assert_eq!(after.silent_until(), Some(start + over), "{end:?}");
        }
    }
}
