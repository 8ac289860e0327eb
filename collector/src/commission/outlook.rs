//! What reading will cost, before anything is connected: requests, bytes and expected time of every polled line.

use std::collections::BTreeSet;

use serde::Serialize;

use super::planned_of;
use crate::catalogue::{
    self, BAUD_DEFAULT, Catalogue, Device, DeviceAddress, DriverSettings, LineSettings, Link, Parity, Priority, SerialFormat,
};
use crate::protocol::modbus::cost::{Framing, Path, SerialBits};
use crate::protocol::modbus::{Block, RegisterSource};

/// From a request to its answer on TCP unless told otherwise: a round trip in the park and a meter that answers at once.
const ANSWER_TCP_US: u64 = 10_000;
/// The same on a serial line, where meters take their time.
const ANSWER_SERIAL_US: u64 = 50_000;
/// The same over a mobile network, by which devices dial in.
const ANSWER_MOBILE_US: u64 = 300_000;
/// Share of the time, in thousandths, above which a line has no room for a device that falls silent.
const TIGHT_PERMILLE: u64 = 800;

/// The expected cost of all polled lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// Per line, in order of the configuration.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Id of the link.
    pub link: String,
    /// What it speaks.
    pub driver: &'static str,
    /// Where it leads, and how fast.
    pub transport: String,
    /// What was assumed of the devices, for a person.
    pub assumed: String,
    /// Its devices.
    pub devices: Vec<DeviceCost>,
    /// Requests in a second, in thousandths.
    pub requests_per_1000_s: u64,
    /// Bytes out and in in a second.
    pub bytes_per_s: u64,
    /// Share of the time that the line is busy, in thousandths; above 1000 it cannot make its intervals.
    pub busy_permille: u64,
    /// Whether it can make its intervals.
    pub verdict: Verdict,
}

/// Whether a line can make its intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It can.
    Fits,
    /// It can while every device answers at once.
    Tight,
    /// It cannot.
    TooSlow,
}

/// One device, or its points of one priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceCost {
    /// Its id.
    pub device: String,
    /// Its unit identifier.
    pub unit_id: u8,
    /// Its poll interval, in milliseconds.
    pub interval_ms: u32,
    /// Requests of one cycle.
    pub requests: u64,
    /// Registers, coils and inputs that points are in.
    pub wanted: u64,
    /// Those read along to join blocks.
    pub read_along: u64,
    /// Bytes to the device in one cycle.
    pub bytes_out: u64,
    /// Bytes from the device in one cycle.
    pub bytes_in: u64,
    /// Expected time of one cycle, in microseconds.
    pub time_us: u64,
    /// Its reads: function code, protocol address, quantity.
    pub blocks: Vec<(u8, u16, u16)>,
    /// Points that no read can serve.
    pub refused: Vec<String>,
}

/// How a link is reached, as far as it costs time; `answer_us` is assumed for all devices when given. `None` for a link
/// that is not polled.
pub fn path_of(link: &Link, answer_us: Option<u64>) -> Option<Path> {
    let on_tcp = |line: &LineSettings| Path {
        framing: Framing::Tcp,
        serial: None,
        quiet_us: 0,
        between_requests_us: u64::from(line.between_requests_ms).saturating_mul(1_000),
        answer_us: answer_us.unwrap_or(ANSWER_TCP_US),
        in_flight: line.pipeline,
    };
    let on_serial = |line: &LineSettings, bits: SerialBits, behind_us: u64| Path {
        framing: Framing::Rtu,
        serial: Some(bits),
        quiet_us: u64::from(line.quiet_time_us),
        answer_us: answer_us.unwrap_or(ANSWER_SERIAL_US.saturating_add(behind_us)),
        in_flight: 1,
        ..on_tcp(line)
    };
    // Behind a converter, whose speed nobody tells us.
    let behind = SerialBits { baud: BAUD_DEFAULT, bits_per_character: 10 };
    match &link.driver {
        DriverSettings::ModbusTcp(settings) => Some(on_tcp(&settings.line)),
        DriverSettings::ModbusRtuOverTcp(settings) => Some(on_serial(&settings.line, behind, ANSWER_TCP_US)),
        DriverSettings::ModbusRtu(settings) => Some(on_serial(&settings.line, bits(&settings.format), 0)),
        DriverSettings::ModbusDialIn(settings) => Some(match settings.framing {
            catalogue::Framing::Tcp => Path { answer_us: answer_us.unwrap_or(ANSWER_MOBILE_US), ..on_tcp(&settings.line) },
            catalogue::Framing::Rtu => on_serial(&settings.line, behind, ANSWER_MOBILE_US),
        }),
        DriverSettings::Mqtt(_) | DriverSettings::Own => None,
    }
}

/// Start bit, eight data bits, parity, stop bits.
fn bits(format: &SerialFormat) -> SerialBits {
    let parity = u8::from(format.parity != Parity::None);
    SerialBits { baud: format.baud, bits_per_character: 9u8.saturating_add(parity).saturating_add(format.stop_bits) }
}

/// What is assumed of a line's devices, for a person.
fn assumed(link: &Link, path: &Path) -> String {
    let answer = format!("{} from request to answer", milliseconds(path.answer_us));
    match (&link.driver, path.serial) {
        (DriverSettings::ModbusRtu(settings), _) => format!("{answer}; {} on the line", settings.format),
        (_, Some(bits)) => format!("{answer}; {} baud, 8N1, behind the converter", bits.baud),
        (_, None) => answer,
    }
}

/// The expected cost of every polled line of a park.
pub fn outlook(catalogue: &Catalogue, answer_us: Option<u64>) -> Outlook {
    let line = |link: &std::sync::Arc<Link>| {
        let path = path_of(link, answer_us)?;
        let devices = catalogue.devices.iter().filter(|device| device.link.id == link.id);
        let costs = devices.flat_map(|device| Priority::ALL.into_iter().filter_map(move |priority| device_cost(device, priority, &path)));
        Some(line(link, &path, costs.collect()))
    };
    Outlook { lines: catalogue.links.iter().filter_map(line).collect() }
}

fn line(link: &Link, path: &Path, devices: Vec<DeviceCost>) -> Line {
    // Per million seconds, so that nothing is lost in whole numbers.
    let rate = |amount: u64, interval_ms: u32| {
        u128::from(amount).saturating_mul(1_000_000_000).checked_div(u128::from(interval_ms.max(1))).unwrap_or(0)
    };
    let sum = |of: fn(&DeviceCost) -> u64| devices.iter().map(|device| rate(of(device), device.interval_ms)).fold(0, u128::saturating_add);
    let narrow = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
    let busy_permille = narrow(sum(|device| device.time_us).div_ceil(1_000_000_000));
    Line {
        link: link.id.clone(),
        driver: link.driver.name(),
        transport: link.driver.peer(),
        assumed: assumed(link, path),
        requests_per_1000_s: narrow(sum(|device| device.requests).div_ceil(1_000)),
        bytes_per_s: narrow(sum(|device| device.bytes_out.saturating_add(device.bytes_in)).div_ceil(1_000_000)),
        busy_permille,
        verdict: match busy_permille {
            1_001.. => Verdict::TooSlow,
            busy if busy > TIGHT_PERMILLE => Verdict::Tight,
            _ => Verdict::Fits,
        },
        devices,
    }
}

/// The cost of a device's points of one priority; `None` where it has none.
fn device_cost(device: &Device, priority: Priority, path: &Path) -> Option<DeviceCost> {
    let DeviceAddress::Modbus(address) = &device.address else { return None };
    let (points, plan) = planned_of(device, |local_id| address.priority(local_id) == priority)?;
    if points.is_empty() {
        return None;
    }
    let cost = path.cost(&plan.blocks);
    let sources: Vec<&RegisterSource> = points.iter().map(|(_, source)| *source).collect();
    let wanted: u64 = plan.blocks.iter().map(|block| wanted(block, &sources)).fold(0, u64::saturating_add);
    let read: u64 = plan.blocks.iter().map(|block| u64::from(block.quantity)).fold(0, u64::saturating_add);
    let name = |index: usize| points.get(index).map_or("", |(point, _)| point.local_id.as_str());
    Some(DeviceCost {
        device: device.id.clone(),
        unit_id: address.unit_id,
        interval_ms: address.interval_ms(priority),
        requests: cost.requests,
        wanted,
        read_along: read.saturating_sub(wanted),
        bytes_out: cost.bytes_out,
        bytes_in: cost.bytes_in,
        time_us: cost.time_us,
        blocks: plan.blocks.iter().map(|block| (block.function.code(), block.address, block.quantity)).collect(),
        refused: plan.refused.iter().map(|(index, refusal)| format!("{}: {refusal}", name(*index))).collect(),
    })
}

/// How many addresses of a block some point is in.
fn wanted(block: &Block, sources: &[&RegisterSource]) -> u64 {
    let of = |member: &crate::protocol::modbus::planner::Member| {
        let source = sources.get(member.index);
        source.into_iter().flat_map(|source| {
            let value = source.address..source.address.saturating_add(source.register_type.registers());
            value.chain(source.scale_register)
        })
    };
    let addresses: BTreeSet<u16> = block.members.iter().flat_map(of).collect();
    u64::try_from(addresses.len()).unwrap_or(u64::MAX)
}

/// `12.3 ms`, `4.2 s`: as much as a person needs.
pub fn milliseconds(time_us: u64) -> String {
    let tenths = |unit_us: u64| {
        let tenths = time_us.saturating_mul(10).saturating_add(unit_us / 2).checked_div(unit_us).unwrap_or(0);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    if time_us < 10_000_000 { format!("{} ms", tenths(1_000)) } else { format!("{} s", tenths(1_000_000)) }
}

impl Line {
    /// What to tell about a line that is not at ease, and what to do; `None` when it is.
    pub fn warning(&self) -> Option<String> {
        let percent = format!("{}.{} %", self.busy_permille / 10, self.busy_permille % 10);
        match self.verdict {
            Verdict::Fits => None,
            Verdict::Tight => Some(format!(
                "line {}: {percent} busy when every device answers at once; a device that stays silent will make others late: \
                 raise poll_interval_ms, or use another line",
                self.link
            )),
            Verdict::TooSlow => {
                let times = self.busy_permille.div_ceil(10);
                Some(format!(
                    "line {} cannot make its intervals: it would be {percent} busy; raise poll_interval_ms of its devices to {times} % \
                     of what it is or more, raise the speed or max_gap, or use several lines",
                    self.link
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;

    use super::*;
    use crate::catalogue::{Lone, MemoryFiles, lone_device};

    fn lone(profile: &str, text: &str) -> Catalogue {
        let lone = Lone { host: "192.0.2.1".into(), port: 502, unit_id: 7, timeout_ms: 1_000 };
        let text = (!text.is_empty()).then(|| text.to_owned());
        lone_device(profile, text, &lone, &MemoryFiles::default())
            .unwrap_or_else(|error| panic!("{}: {error}", FilePath::new(profile).display()))
            .catalogue
    }

    const PROFILE: &str = "[profile]\nid = \"x\"\nmaker = \"m\"\nmodel = \"m\"\nsource = \"s\"\n[modbus]\nmax_gap = 3\npoll_interval_ms = 20\n\
                           [[point]]\nid = \"voltage\"\nregister = { address = 0, type = \"f32\" }\n\
                           [[point]]\nid = \"current\"\nregister = { address = 4, type = \"u16\" }\n\
                           [[point]]\nid = \"energy_import\"\nregister = { address = 100, type = \"u64\" }\n";

    #[test]
    fn a_line_is_added_up() {
        let catalogue = lone("x", PROFILE);
        let outlook = outlook(&catalogue, None);
        let [line] = &outlook.lines[..] else { panic!("{outlook:?}") };
        let [device] = &line.devices[..] else { panic!("{line:?}") };
        assert_eq!(device.blocks, [(3, 0, 5), (3, 100, 4)]);
        assert_eq!((device.requests, device.wanted, device.read_along, device.bytes_out, device.bytes_in), (2, 7, 2, 24, 36));
        assert_eq!((device.unit_id, device.interval_ms, device.time_us), (7, 20, 20_000));
        // Two requests each 20 ms: 100 a second, 60 bytes each time: 3000 a second.
        assert_eq!((line.requests_per_1000_s, line.bytes_per_s, line.busy_permille, line.verdict), (100_000, 3_000, 1_000, Verdict::Tight));
    }

    #[test]
    fn a_line_that_cannot_make_it_is_warned_about() {
        let catalogue = lone("x", PROFILE);
        for (answer_us, busy_permille, verdict, text) in [
            (8_000, 800, Verdict::Fits, ""),
            (8_001, 801, Verdict::Tight, "line link: 80.1 % busy when every device answers at once"),
            (
                10_001,
                1_001,
                Verdict::TooSlow,
                "line link cannot make its intervals: it would be 100.1 % busy; raise poll_interval_ms of its devices to 101 %",
            ),
        ] {
            let line = outlook(&catalogue, Some(answer_us)).lines.remove(0);
            assert_eq!((line.busy_permille, line.verdict), (busy_permille, verdict));
            assert!(line.warning().unwrap_or_default().starts_with(text), "{:?}", line.warning());
            assert_eq!(line.warning().is_none(), text.is_empty());
        }
    }

    #[derive(Debug, Default, serde::Deserialize, garde::Validate)]
    #[garde(allow_unvalidated)]
    struct NoTable {}
    impl catalogue::OwnTable for NoTable {}

    /// A park of one link with a meter of a fast, two normal and one slow point.
    fn park(link: &str) -> Catalogue {
        let main = format!(
            "[park]\nid = \"p\"\n[[link]]\nid = \"bus\"\n{link}\n[[device]]\nid = \"m\"\nlink = \"bus\"\n\
             modbus = {{ unit_id = 1, poll_interval_ms = 1000, fast_interval_ms = 200, slow_interval_ms = 60000 }}\n\
             [[device.point]]\nid = \"active_power\"\npriority = \"fast\"\nregister = {{ address = 0, type = \"f32\" }}\n\
             [[device.point]]\nid = \"voltage\"\nregister = {{ address = 2, type = \"f32\" }}\n\
             [[device.point]]\nid = \"current\"\nregister = {{ address = 4, type = \"f32\" }}\n\
             [[device.point]]\nid = \"energy_import\"\npriority = \"slow\"\nregister = {{ address = 100, type = \"f64\" }}\n"
        );
        let mut files = MemoryFiles::default();
        files.files.insert("main.toml".into(), main);
        let loaded = catalogue::load::<NoTable>(FilePath::new("main.toml"), &files).unwrap_or_else(|error| panic!("{error}"));
        loaded.draft.build(&mut catalogue::MemoryRegistry::default()).unwrap()
    }

    /// Times by hand, for the two normal registers of four words: 8 + 13 characters on a serial line.
    #[test]
    fn every_kind_of_line_has_its_times() {
        for (link, transport, assumed, bytes, time_us) in [
            (
                "driver = \"modbus_tcp\"\nhost = \"h\"\npipeline = 2\nbetween_requests_ms = 3",
                "h:502",
                "10.0 ms from request to answer",
                (12, 17),
                5_000 + 3_000,
            ),
            // 8 and 13 characters of 11 bits at 19200 baud: 4584 and 7448 us; 3.5 of them are silence: 2005 us.
            (
                "driver = \"modbus_rtu\"\npath = \"/dev/ttyS1\"\nbaud = 19200\nformat = \"8E1\"",
                "/dev/ttyS1",
                "50.0 ms from request to answer; 19200 8E1 on the line",
                (8, 13),
                4_584 + 7_448 + 2_005 + 50_000,
            ),
            // 10 bits at 9600 baud: 8334 and 13542 us.
            (
                "driver = \"modbus_rtu_over_tcp\"\nhost = \"h\"\nport = 8899\nquiet_time_ms = 5",
                "h:8899",
                "60.0 ms from request to answer; 9600 baud, 8N1, behind the converter",
                (8, 13),
                8_334 + 13_542 + 5_000 + 60_000,
            ),
            (
                "driver = \"modbus_dial_in\"\nlisten = \"0.0.0.0:8899\"\nframing = \"tcp\"",
                "listen 0.0.0.0:8899",
                "300.0 ms from request to answer",
                (12, 17),
                300_000,
            ),
        ] {
            let line = outlook(&park(link), None).lines.remove(0);
            assert_eq!((line.transport.as_str(), line.assumed.as_str()), (transport, assumed));
            let device: Vec<(u32, u64, u64)> =
                line.devices.iter().map(|device| (device.interval_ms, device.requests, device.wanted)).collect();
            assert_eq!(device, [(200, 1, 2), (1_000, 1, 4), (60_000, 1, 4)], "{link}");
            let normal = &line.devices[1];
            assert_eq!(((normal.bytes_out, normal.bytes_in), normal.time_us), (bytes, time_us), "{link}");
        }
    }

    #[test]
    fn times_for_people() {
        for (time_us, text) in [(0, "0.0 ms"), (1_249, "1.2 ms"), (9_999_949, "9999.9 ms"), (10_000_000, "10.0 s"), (61_260_000, "61.3 s")]
        {
            assert_eq!(milliseconds(time_us), text);
        }
    }
}
