//! The chain of SunSpec models in a device's holding registers: a marker, then models one after the other, each with its id
//! and length, up to one that says it is the end. Source: SunSpec Device Information Model Specification 1.1 (marker,
//! base addresses, end model); the points of models: sunspec/models, json.

use serde::Serialize;

/// Where the marker may be, as 0-based addresses; the most usual first.
pub const BASES: [u16; 3] = [40_000, 50_000, 0];
/// Registers of the marker, and of the head of a model.
pub const HEAD: u16 = 2;
/// Registers of the common model that are of use here, its head left out: maker to serial number.
pub const COMMON: u16 = 64;
/// Models of one device that are looked at.
pub const MODELS_MAX: usize = 64;
/// "SunS".
const MARKER: [u8; 4] = *b"SunS";
/// Id of the model that ends the chain.
const END: u16 = 0xFFFF;
/// Id of the model that says who made the device.
pub const COMMON_ID: u16 = 1;

/// Models that are known here, by the labels of sunspec/models.
const NAMES: &[(u16, &str)] = &[
    (1, "common"),
    (101, "inverter, single phase"),
    (102, "inverter, split phase"),
    (103, "inverter, three phase"),
    (111, "inverter, single phase, float"),
    (112, "inverter, split phase, float"),
    (113, "inverter, three phase, float"),
    (201, "meter, single phase"),
    (202, "meter, split single phase"),
    (203, "meter, wye-connect three phase"),
    (204, "meter, delta-connect three phase"),
    (211, "meter, single phase, float"),
    (212, "meter, split single phase, float"),
    (213, "meter, wye-connect three phase, float"),
    (214, "meter, delta-connect three phase, float"),
];

/// One model of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Its id.
    pub id: u16,
    /// Registers behind its head.
    pub length: u16,
    /// 0-based address of its head, which its points are counted from.
    pub address: u16,
}

impl Model {
    /// What it is, where that is known.
    pub fn name(&self) -> Option<&'static str> {
        NAMES.iter().find(|(id, _)| *id == self.id).map(|(_, name)| *name)
    }

    /// Address of the next head; `None` beyond the last register.
    pub fn next(&self) -> Option<u16> {
        self.address.checked_add(HEAD)?.checked_add(self.length)
    }

    /// The profile that comes with the program and fits, if one does.
    pub fn profile(&self) -> Option<&'static str> {
        match (self.id, self.address) {
            (101..=103, 40_069) => Some("sunspec-103-40069"),
            (101..=103, 40_070) => Some("sunspec-103-40070"),
            (201..=204, 40_069) => Some("sunspec-203-40069"),
            (201..=204, 40_070) => Some("sunspec-203-40070"),
            _ => None,
        }
    }
}

/// Whether these are the bytes of the marker.
pub fn is_marker(bytes: &[u8]) -> bool {
    bytes == MARKER
}

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// A model.
    Model(Model),
    /// The chain ends here.
    End,
    /// No head of a model.
    Broken,
}

/// Reads the four bytes of a head.
pub fn head(address: u16, bytes: &[u8]) -> Head {
    let &[i1, i0, l1, l0] = bytes else { return Head::Broken };
    match (u16::from_be_bytes([i1, i0]), u16::from_be_bytes([l1, l0])) {
        (END, _) => Head::End,
        // 0 is no model, and one of no length would be asked for again and again.
        (0, _) | (_, 0) => Head::Broken,
        (id, length) => Head::Model(Model { id, length, address }),
    }
}

/// Who made a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Common {
    /// Maker.
    pub maker: String,
    /// Model.
    pub model: String,
    /// Version.
    pub version: String,
    /// Serial number.
    pub serial: String,
}

/// Reads the points of a common model from what follows its head: Mn 16 registers, Md 16, Opt 8, Vr 8, SN 16
/// (sunspec/models json/model_1.json).
pub fn common(bytes: &[u8]) -> Common {
    let text = |first: usize, registers: usize| {
        let (from, length) = (first.saturating_mul(2), registers.saturating_mul(2));
        let bytes = bytes.get(from..from.saturating_add(length)).unwrap_or_default();
        let text: String = String::from_utf8_lossy(bytes).chars().filter(|letter| !letter.is_control()).collect();
        text.trim().to_owned()
    };
    Common { maker: text(0, 16), model: text(16, 16), version: text(40, 8), serial: text(48, 16) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_told_apart() {
        let model = |id, length| Head::Model(Model { id, length, address: 40_069 });
        for (bytes, expected) in [
            (&[0, 103, 0, 50][..], model(103, 50)),
            (&[0xFF, 0xFF, 0, 0], Head::End),
            (&[0xFF, 0xFF, 0, 9], Head::End),
            (&[0, 0, 0, 1], Head::Broken),
            (&[0, 1, 0, 0], Head::Broken),
            (&[0, 1, 0], Head::Broken),
        ] {
            assert_eq!(head(40_069, bytes), expected, "{bytes:?}");
        }
        assert!(is_marker(&[0x53, 0x75, 0x6E, 0x53]) && !is_marker(b"Suns") && !is_marker(b"SunSS"));
        let at = |address, length| Model { id: 1, length, address }.next();
        assert_eq!((at(40_002, 65), at(40_002, 66), at(65_000, 600)), (Some(40_069), Some(40_070), None));
    }

    #[test]
    fn the_common_model_says_who_made_it() {
        let mut bytes = vec![0; 128];
        for (first, text) in [(0, "Acme"), (32, "M-4 "), (80, "2.11"), (96, "0007")] {
            bytes[first..first + text.len()].copy_from_slice(text.as_bytes());
        }
        let found = common(&bytes);
        assert_eq!(
            (found.maker.as_str(), found.model.as_str(), found.version.as_str(), found.serial.as_str()),
            ("Acme", "M-4", "2.11", "0007")
        );
        assert_eq!(common(&[]), Common::default());
    }
}
