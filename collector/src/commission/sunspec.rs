//! Walks the SunSpec models of a device.

use std::fmt::Write as _;

use serde::Serialize;

use crate::driver::modbus::{Asker, Unanswered};
use crate::protocol::modbus::sunspec::{BASES, COMMON, COMMON_ID, Common, HEAD, Head, MODELS_MAX, Model, common, head, is_marker};
use crate::protocol::modbus::{Function, Request};

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SunSpec {
    /// 0-based address of the marker.
    pub base: u16,
    /// Its models, in order.
    pub models: Vec<Model>,
    /// Who made it, by its first common model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common: Option<Common>,
    /// Whether the chain came to its end.
    pub is_whole: bool,
}

impl SunSpec {
    /// The models as a person reads them, one a line.
    pub fn text(&self) -> String {
        let mut text = format!("SunSpec models, marker at {}:", self.base);
        for model in &self.models {
            let name = model.name().map_or(String::new(), |name| format!(" ({name})"));
            let profile = model.profile().map_or(String::new(), |profile| format!(": profile {profile}"));
            let _ = write!(text, "\n  {}{name} at {}, {} registers{profile}", model.id, model.address, model.length);
        }
        if !self.is_whole {
            text.push_str("\n  the chain breaks off here");
        }
        text
    }

    /// The profile that fits a model of the device, if one does.
    pub fn profile(&self) -> Option<&'static str> {
        self.models.iter().find_map(Model::profile)
    }
}

/// Holding registers of one unit.
pub(super) trait Registers {
    /// Reads some: `Ok(None)` when the unit refuses, `Err` when it does not answer.
    async fn read(&mut self, address: u16, quantity: u16) -> Result<Option<Vec<u8>>, ()>;
}

/// Looks for the marker and walks the models behind it; `None`: it is no SunSpec device, or does not answer.
pub(super) async fn walk(registers: &mut impl Registers) -> Option<SunSpec> {
    for base in BASES {
        match registers.read(base, HEAD).await {
            Ok(Some(bytes)) if is_marker(&bytes) => return Some(chain(registers, base).await),
            Ok(_) => {}
            // Some devices say nothing where others refuse: the other places would only cost as much time.
            Err(()) => return None,
        }
    }
    None
}

async fn chain(registers: &mut impl Registers, base: u16) -> SunSpec {
    let mut found = SunSpec { base, models: Vec::new(), common: None, is_whole: false };
    let mut at = base.checked_add(HEAD);
    while let (Some(address), true) = (at, found.models.len() < MODELS_MAX) {
        let Ok(Some(bytes)) = registers.read(address, HEAD).await else { break };
        match head(address, &bytes) {
            Head::Model(model) => {
                if let (COMMON_ID, None, Some(points)) = (model.id, &found.common, address.checked_add(HEAD)) {
                    let bytes = registers.read(points, model.length.min(COMMON)).await;
                    found.common = bytes.ok().flatten().map(|bytes| common(&bytes));
                }
                found.models.push(model);
                at = model.next();
            }
            Head::End => {
                found.is_whole = true;
                break;
            }
            Head::Broken => break,
        }
    }
    found
}

/// Through a connection that a probe has.
pub(super) struct Asked<'a> {
    pub(super) asker: &'a mut Asker,
    pub(super) unit_id: u8,
    pub(super) check_unit: bool,
}

impl Registers for Asked<'_> {
    async fn read(&mut self, address: u16, quantity: u16) -> Result<Option<Vec<u8>>, ()> {
        let request = Request { unit_id: self.unit_id, function: Function::HoldingRegisters, address, quantity };
        match self.asker.ask(&request, self.check_unit).await {
            Ok(data) => Ok(Some(data)),
            Err(Unanswered::Exception(_)) => Ok(None),
            Err(_) => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Registers in memory; others are refused, or nothing is said.
    struct Memory(BTreeMap<u16, u16>, bool);

    impl Registers for Memory {
        async fn read(&mut self, address: u16, quantity: u16) -> Result<Option<Vec<u8>>, ()> {
            let words: Option<Vec<u16>> =
                (address..address.saturating_add(quantity)).map(|address| self.0.get(&address).copied()).collect();
            match words {
                None if self.1 => Err(()),
                words => Ok(words.map(|words| words.iter().flat_map(|word| word.to_be_bytes()).collect())),
            }
        }
    }

    fn device(base: u16, models: &[(u16, u16)], end: bool) -> BTreeMap<u16, u16> {
        let mut words = BTreeMap::from([(base, 0x5375), (base + 1, 0x6E53)]);
        let mut at = base + 2;
        for &(id, length) in models {
            words.extend([(at, id), (at + 1, length)]);
            words.extend((0..length).map(|offset| (at + 2 + offset, if id == 1 && offset == 0 { 0x4142 } else { 0 })));
            at += 2 + length;
        }
        if end {
            words.extend([(at, 0xFFFF), (at + 1, 0)]);
        }
        words
    }

    #[tokio::test]
    async fn models_are_found_wherever_the_chain_begins() {
        for base in BASES {
            let found = walk(&mut Memory(device(base, &[(1, 65), (203, 105), (160, 8)], true), false)).await.unwrap();
            let models: Vec<_> = found.models.iter().map(|model| (model.id, model.length, model.address)).collect();
            assert_eq!(models, [(1, 65, base + 2), (203, 105, base + 69), (160, 8, base + 176)]);
            assert!(found.is_whole && found.base == base);
            assert_eq!(found.common.unwrap().maker, "AB");
        }
        for (words, silent, expected) in [
            (device(40_000, &[(1, 66), (103, 50)], false), false, Some((2, false, Some("sunspec-103-40070")))),
            (device(40_000, &[(1, 66), (103, 50)], false), true, Some((2, false, Some("sunspec-103-40070")))),
            (device(40_000, &[], true), false, Some((0, true, None))),
            (BTreeMap::from([(40_000, 1), (40_001, 2)]), false, None),
            (BTreeMap::new(), false, None),
            // Nothing is said to the first place: the others are not asked.
            (device(0, &[(1, 65)], true), true, None),
        ] {
            let found = walk(&mut Memory(words, silent)).await;
            assert_eq!(found.map(|found| (found.models.len(), found.is_whole, found.profile())), expected);
        }
    }

    #[test]
    fn models_in_words() {
        let model = |id, length, address| Model { id, length, address };
        let found = SunSpec {
            base: 40_000,
            models: vec![model(1, 65, 40_002), model(203, 105, 40_069), model(160, 8, 40_176)],
            common: None,
            is_whole: false,
        };
        let expected = "SunSpec models, marker at 40000:\n  1 (common) at 40002, 65 registers\n  203 (meter, wye-connect three phase) at 40069, 105 registers: \
             profile sunspec-203-40069\n  160 at 40176, 8 registers\n  the chain breaks off here";
        assert_eq!(found.text(), expected);
    }
}
