//! Which lines differ between two catalogues, so that a running gateway begins anew only those. Pure.
//!
//! A line is what one driver works on: a link with the devices behind it. It differs when its driver would work otherwise:
//! its settings, which devices it has and in which order, how they are addressed, which points are read and where from. Names,
//! labels, ranges, scales and rules of points are for those who take readings in; for them no line is begun anew.

use std::collections::{HashMap, HashSet};

use super::spec::{Catalogue, Device, Link, PointSource};
use crate::model::{LinkKey, PointId};

/// Links by id, each list in config order. A link without devices is no line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineChanges {
    /// Lines that were not there.
    pub started: Vec<String>,
    /// Lines that are no more.
    pub stopped: Vec<String>,
    /// Lines that differ.
    pub restarted: Vec<String>,
}

impl LineChanges {
    /// Whether a line that runs has to end, be it for ever or to begin anew.
    pub fn ends(&self, id: &str) -> bool {
        self.stopped.iter().chain(&self.restarted).any(|ended| ended == id)
    }

    /// Whether a line has to begin.
    pub fn begins(&self, id: &str) -> bool {
        self.started.iter().chain(&self.restarted).any(|begun| begun == id)
    }
}

/// What has to be done to the lines of `old` so that they are those of `new`.
pub fn line_changes(old: &Catalogue, new: &Catalogue) -> LineChanges {
    let (old, new) = (lines(old), lines(new));
    let mut changes = LineChanges::default();
    let before: HashMap<&str, &Line<'_>> = old.iter().map(|line| (line.0.id.as_str(), line)).collect();
    for line in &new {
        match before.get(line.0.id.as_str()) {
            None => changes.started.push(line.0.id.clone()),
            Some(before) if !works_alike(before, line) => changes.restarted.push(line.0.id.clone()),
            Some(_) => {}
        }
    }
    let now: HashSet<&str> = new.iter().map(|(link, _)| link.id.as_str()).collect();
    changes.stopped.extend(old.iter().map(|(link, _)| &link.id).filter(|id| !now.contains(id.as_str())).cloned());
    changes
}

/// Driver and id of every line.
pub fn line_names(catalogue: &Catalogue) -> HashSet<(&str, &str)> {
    lines(catalogue).into_iter().map(|(link, _)| (link.driver.name(), link.id.as_str())).collect()
}

/// A link and its devices.
type Line<'a> = (&'a Link, Vec<&'a Device>);

/// In config order. A park has thousands of links: each device is looked at once.
fn lines(catalogue: &Catalogue) -> Vec<Line<'_>> {
    let mut devices: HashMap<LinkKey, Vec<&Device>> = HashMap::new();
    for device in &catalogue.devices {
        devices.entry(device.link.key).or_default().push(device);
    }
    catalogue.links.iter().filter_map(|link| Some((&**link, devices.remove(&link.key)?))).collect()
}

fn works_alike((before, one): &Line<'_>, (link, other): &Line<'_>) -> bool {
    before == link && one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_asked_alike(one, other))
}

fn is_asked_alike(one: &Device, other: &Device) -> bool {
    // What is made of other points is no matter of the driver.
    fn read(device: &Device) -> impl Iterator<Item = (PointId, &str, &PointSource)> {
        let points = device.points.iter().filter(|point| !matches!(point.source, PointSource::Formula(_)));
        points.map(|point| (point.id, point.local_id.as_str(), &point.source))
    }
    one.id == other.id && one.origin == other.origin && one.address == other.address && read(one).eq(read(other))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::catalogue::{MemoryFiles, MemoryRegistry, OwnTable, load};

    #[derive(Debug, Default, serde::Deserialize, garde::Validate)]
    struct Nothing {}

    impl OwnTable for Nothing {}

    const PARK: &str = r#"
[park]
id = "p"
[[enterprise]]
id = "acme"
[[link]]
id = "bus"
driver = "modbus_tcp"
host = "192.0.2.1"
[[link]]
id = "other"
driver = "modbus_tcp"
host = "192.0.2.3"
[[link]]
id = "broker"
driver = "mqtt"
host = "192.0.2.2"
username = "u"
password = "first"
[[link]]
id = "unused"
driver = "modbus_tcp"
host = "192.0.2.9"
[[device]]
id = "m"
link = "bus"
modbus = { unit_id = 1 }
[[device.point]]
id = "energy_import"
register = { address = 0, type = "u32" }
unit = "kWh"
[[device]]
id = "n"
link = "other"
modbus = { unit_id = 1 }
[[device.point]]
id = "energy_import"
register = { address = 0, type = "u32" }
unit = "kWh"
[[device]]
id = "g"
link = "broker"
[[device.topic]]
filter = "t/g"
[[device.point]]
id = "gas_volume"
reference = "as_is"
path = "v"
"#;

    fn catalogue(text: &str, registry: &mut MemoryRegistry) -> Catalogue {
        let files = MemoryFiles { files: [("main.toml".into(), text.to_owned())].into(), ..MemoryFiles::default() };
        let loaded = load::<Nothing>(Path::new("main.toml"), &files).unwrap_or_else(|error| panic!("{error}"));
        loaded.draft.build(registry).unwrap()
    }

    #[test]
    fn a_link_without_devices_is_no_line() {
        let mut registry = MemoryRegistry::default();
        let moved = PARK.replacen("link = \"other\"", "link = \"unused\"", 1);
        for (text, of_modbus) in [(PARK, ["bus", "other"]), (&moved, ["bus", "unused"])] {
            let catalogue = catalogue(text, &mut registry);
            let expected = of_modbus.map(|id| ("modbus_tcp", id)).into_iter().chain([("mqtt", "broker")]);
            assert_eq!(line_names(&catalogue), expected.collect(), "{text}");
        }
    }

    /// Which lines a change of the text begins, ends, begins anew.
    #[test]
    fn a_change_begins_anew_only_the_lines_that_it_is_about() {
        type Ids = &'static [&'static str];
        type Begun = (Ids, Ids, Ids);
        let none: Begun = (&[], &[], &[]);
        let bus: Begun = (&[], &[], &["bus"]);
        let broker: Begun = (&[], &[], &["broker"]);
        let cases: &[(&str, &str, &str, Begun)] = &[
            ("nothing", "id = \"p\"", "id = \"p\"", none),
            ("a comment", "[[enterprise]]", "# new\n[[enterprise]]", none),
            ("host of a line", "192.0.2.1", "192.0.2.7", bus),
            ("time-out of a line", "host = \"192.0.2.1\"", "host = \"192.0.2.1\"\ntimeout_ms = 700", bus),
            ("unit", "link = \"bus\"\nmodbus = { unit_id = 1 }", "link = \"bus\"\nmodbus = { unit_id = 2 }", bus),
            (
                "register",
                "register = { address = 0, type = \"u32\" }\nunit = \"kWh\"\n[[device]]\nid = \"n\"",
                "register = { address = 2, type = \"u32\" }\nunit = \"kWh\"\n[[device]]\nid = \"n\"",
                bus,
            ),
            ("password", "first", "second", broker),
            ("topic", "t/g", "t/h", broker),
            ("path of a value", "path = \"v\"", "path = \"w\"", broker),
            ("name of a device", "id = \"g\"", "id = \"g\"\nname = { zh = \"气\", en = \"Gas\" }", none),
            ("enterprise of a device", "id = \"n\"", "id = \"n\"\nenterprise = \"acme\"", (&[], &[], &["other"])),
            ("a link that nothing uses", "192.0.2.9", "192.0.2.10", none),
            ("a range", "path = \"v\"", "path = \"v\"\nvalid_max = 5", none),
            (
                "a device goes to another line",
                "link = \"other\"\nmodbus = { unit_id = 1 }",
                "link = \"bus\"\nmodbus = { unit_id = 2 }",
                (&[], &["other"], &["bus"]),
            ),
            ("a first device for a link", "link = \"other\"", "link = \"unused\"", (&["unused"], &["other"], &[])),
        ];
        for (what, from, to, (started, stopped, restarted)) in cases {
            assert!(PARK.contains(from), "{what}");
            let mut registry = MemoryRegistry::default();
            let (old, new) = (catalogue(PARK, &mut registry), catalogue(&PARK.replacen(from, to, 1), &mut registry));
            let found = line_changes(&old, &new);
            let owned = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
            let expected = LineChanges { started: owned(started), stopped: owned(stopped), restarted: owned(restarted) };
            assert_eq!(found, expected, "{what}");
            for id in ["bus", "other", "broker", "unused"] {
                assert_eq!(found.ends(id), stopped.contains(&id) || restarted.contains(&id), "{what}");
                assert_eq!(found.begins(id), started.contains(&id) || restarted.contains(&id), "{what}");
            }
        }
    }
}
