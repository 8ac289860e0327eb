//! What is carried from one window to the next, so that windows which overlap are not read anew at every step.

use std::collections::VecDeque;

/// Larger values are not summed up this way: a sum and what rounding took from it must stay finite.
const SUMMED_MAX: f64 = 1e290;

/// A window over a series' values that only moves forward, and one figure of it.
pub struct Slide {
    first: usize,
    next: usize,
    figure: Figure,
}

enum Figure {
    /// Sum of values.
    Sum(Running),
    /// What a counter lost by starting over.
    Lost(Running),
    /// Pairs of neighbours that differ.
    Changes(f64),
    /// Pairs of neighbours that fall.
    Resets(f64),
    /// Indices whose values are below, or above, all that follow; the first is the extreme.
    Extreme(VecDeque<usize>, fn(f64, f64) -> bool),
}

/// A sum from which values can be taken again: what rounding loses is kept beside it.
#[derive(Default)]
struct Running {
    sum: f64,
    lost: f64,
}

impl Running {
    fn add(&mut self, value: f64) {
        // Exact error of a sum (Knuth).
        let sum = self.sum + value;
        let part = sum - self.sum;
        self.lost += (self.sum - (sum - part)) + (value - part);
        self.sum = sum;
    }

    fn value(&self) -> f64 {
        self.sum + self.lost
    }
}

impl Slide {
    /// For a function of ranges; `None` when it needs its whole window, or these values do not allow it.
    pub fn new(name: &str, values: &[f64]) -> Option<Self> {
        let figure = match name {
            "sum_over_time" | "avg_over_time" => Figure::Sum(Running::default()),
            "rate" | "increase" => Figure::Lost(Running::default()),
            "changes" => Figure::Changes(0.0),
            "resets" => Figure::Resets(0.0),
            "min_over_time" => Figure::Extreme(VecDeque::new(), |a, b| a < b),
            "max_over_time" => Figure::Extreme(VecDeque::new(), |a, b| a > b),
            _ => return None,
        };
        values.iter().all(|value| value.abs() < SUMMED_MAX).then_some(Self { first: 0, next: 0, figure })
    }

    /// Moves to `[first, next)`, neither of which goes back, and gives the figure there.
    pub fn to(&mut self, values: &[f64], first: usize, next: usize) -> f64 {
        let value = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        if first >= self.next {
            // Nothing in common: begin anew.
            (self.first, self.next) = (first, first);
            match &mut self.figure {
                Figure::Sum(sum) | Figure::Lost(sum) => *sum = Running::default(),
                Figure::Changes(count) | Figure::Resets(count) => *count = 0.0,
                Figure::Extreme(indices, _) => indices.clear(),
            }
        }
        while self.next < next {
            let index = self.next;
            match &mut self.figure {
                Figure::Sum(sum) => sum.add(value(index)),
                Figure::Extreme(indices, beats) => {
                    while indices.back().is_some_and(|&last| !beats(value(last), value(index))) {
                        indices.pop_back();
                    }
                    indices.push_back(index);
                }
                _ if index > self.first => self.figure.pair(value(index - 1), value(index), 1.0),
                _ => {}
            }
            self.next += 1;
        }
        while self.first < first {
            let index = self.first;
            match &mut self.figure {
                Figure::Sum(sum) => sum.add(-value(index)),
                Figure::Extreme(indices, _) => {
                    if indices.front() == Some(&index) {
                        indices.pop_front();
                    }
                }
                _ => self.figure.pair(value(index), value(index + 1), -1.0),
            }
            self.first += 1;
        }
        match &self.figure {
            Figure::Sum(sum) | Figure::Lost(sum) => sum.value(),
            Figure::Changes(count) | Figure::Resets(count) => *count,
            Figure::Extreme(indices, _) => indices.front().map_or(f64::NAN, |&index| value(index)),
        }
    }
}

impl Figure {
    /// Counts a pair of neighbours in, or out.
    fn pair(&mut self, before: f64, after: f64, sign: f64) {
        match self {
            Self::Lost(sum) if after < before => sum.add(sign * before),
            Self::Changes(count) if after != before => *count += sign,
            Self::Resets(count) if after < before => *count += sign,
            _ => {}
        }
    }
}
