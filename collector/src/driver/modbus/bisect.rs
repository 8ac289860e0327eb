//! Which address of a refused read it was: halves are asked until the readable points are known. Pure.
//!
//! A device that refuses a read (exception 2, or 3) says nothing about the address. The points of the read are halved
//! at borders between points, each half is asked by itself, and so on. Two halves that are readable where the whole was
//! not have the address between them; one point that is refused by itself is it.

/// Points `from..to` of a block, in order of their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) from: usize,
    pub(super) to: usize,
}

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// What lies between the point before this one and this one cannot be read along.
    Before(usize),
    /// These cannot be read at all.
    Unreadable(Part),
}

/// A block being taken apart.
#[derive(Clone, Debug)]
pub(super) struct Bisect {
    /// Index of the block.
    pub(super) block: usize,
    /// Parts still to be asked for; the first one is last.
    queue: Vec<Part>,
    tried: Vec<Tried>,
}

#[derive(Clone, Copy, Debug)]
struct Tried {
    part: Part,
    /// The border it was halved at.
    border: Option<usize>,
    good: bool,
}

impl Bisect {
    /// The whole of block number `block` was refused; `borders` are the points before which it can be cut.
    pub(super) fn new(block: usize, whole: Part, borders: &[usize]) -> Self {
        let mut bisect = Self { block, queue: Vec::new(), tried: Vec::new() };
        bisect.refused(whole, borders);
        bisect
    }

    /// The part to be asked for next.
    pub(super) fn next(&self) -> Option<Part> {
        self.queue.last().copied()
    }

    /// That part was asked for.
    pub(super) fn asked(&mut self) {
        self.queue.pop();
    }

    /// A part was read.
    pub(super) fn read(&mut self, part: Part) {
        self.tried.push(Tried { part, border: None, good: true });
    }

    /// A part was refused; returns whether it will be halved, else its points cannot be read.
    pub(super) fn refused(&mut self, part: Part, borders: &[usize]) -> bool {
        let border = borders.get(borders.len() / 2).copied();
        self.tried.push(Tried { part, border, good: false });
        if let Some(border) = border {
            self.queue.push(Part { from: border, to: part.to });
            self.queue.push(Part { from: part.from, to: border });
        }
        border.is_some()
    }

    /// Parts that were not asked for.
    pub(super) fn left(&mut self) -> Vec<Part> {
        std::mem::take(&mut self.queue)
    }

    /// No part of it could be read: that says nothing about addresses, the device refuses everything just now.
    pub(super) fn is_all_refused(&self) -> bool {
        self.tried.iter().all(|tried| !tried.good)
    }

    /// What can be told once nothing is left to be asked for.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let good = |part: Part| self.tried.iter().any(|tried| tried.part == part && tried.good);
        self.tried
            .iter()
            .filter(|tried| !tried.good)
            .filter_map(|tried| match tried.border {
                None => Some(Finding::Unreadable(tried.part)),
                Some(border) => {
                    let halves = [Part { from: tried.part.from, to: border }, Part { from: border, to: tried.part.to }];
                    halves.into_iter().all(good).then_some(Finding::Before(border))
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points of one register at these addresses, of which a read fails when it touches one of `bad`.
    fn run(addresses: &[u16], bad: &[u16]) -> (Vec<Finding>, usize) {
        let whole = Part { from: 0, to: addresses.len() };
        let borders = |part: Part| (part.from + 1..part.to).collect::<Vec<_>>();
        let mut bisect = Bisect::new(0, whole, &borders(whole));
        let mut asked = 1;
        while let Some(part) = bisect.next() {
            bisect.asked();
            asked += 1;
            let range = addresses[part.from]..=addresses[part.to - 1];
            if bad.iter().any(|address| range.contains(address)) {
                bisect.refused(part, &borders(part));
            } else {
                bisect.read(part);
            }
        }
        (bisect.findings(), asked)
    }

    #[test]
    fn the_gap_is_found() {
        let addresses: Vec<u16> = (0..20).map(|index| index * 2).collect();
        for gap in 1..20u16 {
            let (findings, asked) = run(&addresses, &[gap * 2 - 1]);
            assert_eq!(findings, [Finding::Before(usize::from(gap))]);
            assert!(asked <= 11, "{asked}");
        }
    }

    #[test]
    fn a_point_that_is_refused_is_found_alone() {
        for bad in 0..9u16 {
            let addresses: Vec<u16> = (0..9).collect();
            let (findings, _) = run(&addresses, &[bad]);
            let bad = usize::from(bad);
            assert_eq!(findings, [Finding::Unreadable(Part { from: bad, to: bad + 1 })]);
        }
        assert_eq!(run(&[5], &[5]).0, [Finding::Unreadable(Part { from: 0, to: 1 })]);
    }

    #[test]
    fn several_are_found_sooner_or_later() {
        let (findings, _) = run(&[0, 2, 4, 6, 8, 10], &[1, 6, 9]);
        assert!(findings.contains(&Finding::Before(1)) && findings.contains(&Finding::Unreadable(Part { from: 3, to: 4 })), "{findings:?}");
    }
}
