//! One batch on its way: what to send next, what an answer means for each line. Pure: no socket, no clock.
//!
//! A request that is not accepted is halved until the lines that are meant stand alone. A line that is refused alone is
//! not dead yet: a sink, or a proxy before it, that refuses everything must not cost a single value. So a line that the
//! sink took before, the *probe*, is sent again. Only when the probe is taken and the line is refused three times in turn
//! is the line a dead letter. When the probe is refused too, the sink as such refuses us, and all waits.
//!
//! Sending a line twice does no harm: sinks keep one value per series and time.

use std::ops::Range;

use super::verdict::Verdict;

/// How often a line is refused, each time with the probe taken after it, before it is dead.
const REFUSALS: u32 = 3;
/// Lines refused alone, one after the other with none taken and no probe known, until the sink counts as refusing all.
const REFUSED_IN_A_ROW_MAX: u32 = 16;

/// Requests taken after which one may be twice as long again, once the sink found one too large.
const GROW_AFTER: u32 = 300;

/// Lines of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    bytes: Vec<u8>,
    /// End of each line in `bytes`.
    ends: Vec<usize>,
}

impl Lines {
    /// Number of lines.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Appends what `write` writes, one line with its line feed.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Takes all lines out, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The bytes of some lines.
    pub fn get(&self, range: &Range<usize>) -> &[u8] {
        let start = range.start.checked_sub(1).map_or(0, |before| self.ends.get(before).copied().unwrap_or(0));
        let end = range.end.checked_sub(1).map_or(0, |last| self.ends.get(last).copied().unwrap_or(0));
        self.bytes.get(start..end).unwrap_or_default()
    }
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// These lines.
    Lines(Range<usize>),
    /// The line that was taken before.
    Probe,
}

/// What to do after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Go on.
    Next,
    /// Wait a little, then go on: the sink is busy or away.
    Later {
        /// What happened.
        why: String,
        /// When the sink wants to be asked again.
        after: Option<std::time::Duration>,
    },
    /// Wait longer, then go on: somebody must act.
    Refused {
        /// The sink's words.
        why: String,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Delivery {
    /// What is left to send, the next one last.
    left: Vec<Range<usize>>,
    /// The line at the end of `left` is being told apart from a sink that refuses everything.
    suspect: Option<Suspect>,
    dead: Vec<(usize, String)>,
    probe: Option<Vec<u8>>,
    /// Lines refused alone since the last one was taken, while there is no probe.
    refused_in_a_row: u32,
    /// Most lines that one request may have after what the sink said of sizes; `None` while it said nothing.
    smaller: Option<usize>,
    /// Requests of lines that the sink took.
    taken: u32,
}

#[derive(Debug)]
struct Suspect {
    refusals: u32,
    why: String,
    probing: bool,
}

impl Delivery {
    /// A batch of `lines` lines, at most `request_lines` in one request. `probe` is a line that the sink took before.
    pub fn new(lines: usize, request_lines: usize, probe: Option<Vec<u8>>) -> Self {
        let step = request_lines.max(1);
        let left = (0..lines).step_by(step).map(|start| start..start.saturating_add(step).min(lines)).rev().collect();
        Self { left, suspect: None, dead: Vec::new(), probe, refused_in_a_row: 0, smaller: None, taken: 0 }
    }

    /// What to send now; `None` when the sink has all but the dead.
    pub fn request(&self) -> Option<Request> {
        match (&self.suspect, self.left.last()) {
            (Some(suspect), Some(_)) if suspect.probing => Some(Request::Probe),
            (_, Some(range)) => Some(Request::Lines(range.clone())),
            (_, None) => None,
        }
    }

    /// The bytes of a request.
    pub fn body<'a>(&'a self, lines: &'a Lines, request: &Request) -> &'a [u8] {
        match request {
            Request::Lines(range) => lines.get(range),
            Request::Probe => self.probe.as_deref().unwrap_or_default(),
        }
    }

    /// Takes the answer to what [`Self::request`] gave.
    pub fn answered(&mut self, lines: &Lines, verdict: Verdict) -> Then {
        let probing = self.suspect.as_ref().is_some_and(|suspect| suspect.probing);
        match verdict {
            Verdict::Later { why, after } => Then::Later { why, after },
            Verdict::Refused { why } => Then::Refused { why },
            // A probe that is too old by now was read all the same.
            Verdict::Taken | Verdict::Split { all: true, .. } if probing => self.probe_taken(),
            Verdict::Split { why, size, .. } if probing => {
                self.suspect = None;
                if size {
                    // One line was too much that was not before: size is not the matter.
                    self.smaller = None;
                }
                Then::Refused { why }
            }
            Verdict::Taken => {
                if let Some(range) = self.left.pop() {
                    let last = range.end.saturating_sub(1);
                    self.probe = Some(lines.get(&(last..range.end)).to_vec());
                }
                self.suspect = None;
                self.refused_in_a_row = 0;
                self.taken = self.taken.saturating_add(1);
                Then::Next
            }
            Verdict::Split { why, all, size } => self.split(why, all, size),
        }
    }

    fn split(&mut self, why: String, all: bool, size: bool) -> Then {
        let Some(range) = self.left.pop() else { return Then::Next };
        if all {
            self.suspect = None;
            self.dead.extend(range.map(|line| (line, why.clone())));
            return Then::Next;
        }
        if range.len() > 1 {
            let middle = range.start.saturating_add(range.len() / 2);
            if size {
                self.smaller = Some(range.len() / 2);
            }
            self.left.push(middle..range.end);
            self.left.push(range.start..middle);
            return Then::Next;
        }
        if size {
            // A line alone says nothing of how many fit.
            self.smaller = None;
        }
        if self.probe.is_some() {
            let refusals = self.suspect.take().map_or(0, |suspect| suspect.refusals).saturating_add(1);
            self.suspect = Some(Suspect { refusals, why, probing: true });
            self.left.push(range);
            return Then::Next;
        }
        // Nothing was ever taken: the others first, any of them may become the probe.
        self.left.insert(0, range);
        self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
        if self.refused_in_a_row > REFUSED_IN_A_ROW_MAX || usize::try_from(self.refused_in_a_row).is_ok_and(|row| row >= self.left.len()) {
            self.refused_in_a_row = 0;
            return Then::Refused { why };
        }
        Then::Next
    }

    fn probe_taken(&mut self) -> Then {
        let Some(mut suspect) = self.suspect.take() else { return Then::Next };
        if suspect.refusals >= REFUSALS {
            if let Some(range) = self.left.pop() {
                self.dead.extend(range.map(|line| (line, suspect.why.clone())));
            }
        } else {
            suspect.probing = false;
            self.suspect = Some(suspect);
        }
        Then::Next
    }

    /// Lines that the sink will never take, with its words.
    pub fn dead(&self) -> &[(usize, String)] {
        &self.dead
    }

    /// A line that the sink took, to be the probe of the next batch.
    pub fn into_probe(self) -> Option<Vec<u8>> {
        self.probe
    }
}

/// How many lines a request may have: fewer after one that the sink found too large, and more again as it takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestSize {
    most: usize,
    now: usize,
    /// Requests taken since it changed.
    taken: u32,
}

impl RequestSize {
    /// `most` lines, until the sink says otherwise.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), now: most.max(1), taken: 0 }
    }

    /// Most lines of a request now.
    pub fn lines(&self) -> usize {
        self.now
    }

    /// Learns from a batch that was delivered.
    pub fn learn(&mut self, delivery: &Delivery) {
        if let Some(smaller) = delivery.smaller {
            (self.now, self.taken) = (smaller.max(1), 0);
            return;
        }
        self.taken = self.taken.saturating_add(delivery.taken);
        while self.now < self.most && self.taken >= GROW_AFTER {
            self.taken = self.taken.saturating_sub(GROW_AFTER);
            self.now = self.now.saturating_mul(2).min(self.most);
        }
        if self.now == self.most {
            self.taken = 0;
        }
    }
}

#[cfg(test)]
mod tests;
