//! Modbus lines: what is made of their keys, and what is said about broken ones.

use expect_test::{Expect, expect};

use super::{Own, PARK, built, files, problems_of};
use crate::catalogue::{DriverSettings, Echo, Framing, Priority, check};

fn link(keys: &str) -> String {
    format!("{PARK}[[link]]\nid = \"a\"\n{keys}\n")
}

/// One line per problem, the other place of a conflict behind it.
fn check_lines(main: &str, expected: Expect) {
    let lines = problems_of(&files(main)).list().into_iter().map(|problem| {
        let other = problem.other.as_ref().map_or(String::new(), |other| format!(" <{}:{}>", other.file, other.line));
        format!("{problem}{other}\n")
    });
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn problems_of_lines() {
    for (text, expected) in [
        (
            link("driver = \"modbus_rtu\"\npath = \"ttyS1\"\nformat = \"7E1\"\nbaud = 9"),
            expect![[r#"
            main.toml:6:8: must be the path of a serial port; for example /dev/serial/by-id/usb-...; ls -l /dev/serial/by-id shows them
            main.toml:7:10: `7E1` is no form of a character; Modbus RTU has 8 data bits; write one of 8N1, 8E1, 8O1, 8N2, 8E2
            main.toml:8:8: `baud`: must not be lower than 300
        "#]],
        ),
        (
            link("driver = \"modbus_rtu\"\npath = \"/dev/ttyS1\"\necho = \"maybe\"\nhost = \"h\""),
            expect![[r#"
            main.toml:7:8: `echo`: `maybe` is not known here; write true, false or "auto"
            main.toml:8:1: unknown key `host`; known keys: id, path, baud, format, rs485, timeout_ms, after_connect_ms, between_requests_ms, quiet_time_ms, late_window_ms, echo
        "#]],
        ),
        (
            link(
                "driver = \"modbus_rtu\"\npath = \"/dev/ttyS1\"\n[[link]]\nid = \"b\"\ndriver = \"modbus_rtu\"\npath = \"/dev//serial/../ttyS1\"",
            ),
            expect![[r#"
                main.toml:10:8: link `b` reaches the same peer as another link; put all units behind one link: they share its connection <main.toml:6>
            "#]],
        ),
        (
            link(
                "driver = \"modbus_tcp\"\nhost = \"h\"\nport = 8899\n[[link]]\nid = \"b\"\ndriver = \"modbus_rtu_over_tcp\"\nhost = \"h\"\nport = 8899",
            ),
            expect![[r#"
                main.toml:11:8: link `b` reaches the same peer as another link; put all units behind one link: they share its connection <main.toml:6>
            "#]],
        ),
        (
            link("driver = \"modbus_tcp\"\nhost = \"h\"\npipeline = 99\nlate_window_ms = 5"),
            expect![[r#"
            main.toml:7:12: `pipeline`: must not be greater than 7
            main.toml:8:1: unknown key `late_window_ms`; known keys: id, host, port, timeout_ms, connect_timeout_ms, after_connect_ms, between_requests_ms, pipeline
        "#]],
        ),
        (
            link("driver = \"modbus_dial_in\"\nlisten = \"8899\"\nregistration = \"x\"\nheartbeat_hex = \"A\""),
            expect![[r#"
            main.toml:6:10: must be an address and a port to listen on; for example 0.0.0.0:8899
            main.toml:7:16: `registration` has 1 bytes; 2 to 256 can be told from other data; set a longer one in the device
            main.toml:8:17: is no text of bytes in hexadecimal; for example "AA 55 01"
        "#]],
        ),
        (
            link("driver = \"modbus_dial_in\"\nlisten = \"0.0.0.0:8899\"\nregistration = \"ab\"\nregistration_hex = \"6162\""),
            expect![[r#"
            main.toml:8:20: `registration` and `registration_hex` exclude each other; keep one <main.toml:7>
        "#]],
        ),
        (
            link(
                "driver = \"modbus_dial_in\"\nlisten = \"0.0.0.0:8899\"\nregistration = \"DTU-1\"\n[[link]]\nid = \"b\"\ndriver = \"modbus_dial_in\"\nlisten = \"0.0.0.0:8899\"\nregistration = \"DTU-1,2\"",
            ),
            expect![[r#"
                main.toml:12:16: link `b` cannot tell its device from another one on 0.0.0.0:8899; one registration must not begin with another one, but for a longer last word (DTU-1, DTU-10); two links for one device must be one <main.toml:7>
            "#]],
        ),
        (
            link(
                "driver = \"modbus_dial_in\"\nlisten = \"0.0.0.0:8899\"\n[[link]]\nid = \"b\"\ndriver = \"modbus_dial_in\"\nlisten = \"0.0.0.0:8899\"\nheartbeat = \"DTU-12\"",
            ),
            expect![[r#"
                main.toml:11:13: link `b` shares 0.0.0.0:8899, and one of the two takes every device that connects; give each link a `registration` or a `heartbeat` <main.toml:6>
            "#]],
        ),
        (
            link(
                "driver = \"modbus_dial_in\"\nlisten = \"0.0.0.0:8899\"\nheartbeat = \"a1\"\n[[link]]\nid = \"b\"\ndriver = \"modbus_dial_in\"\nlisten = \"127.0.0.1:8899\"\nheartbeat = \"b1\"",
            ),
            expect![[r#"
                main.toml:11:10: 127.0.0.1:8899 and 0.0.0.0:8899 cannot both be listened on; write the same address in both <main.toml:7>
            "#]],
        ),
        (
            link(
                "driver = \"modbus_rtu\"\npath = \"/dev/ttyS1\"\n[[device]]\nid = \"m\"\nlink = \"a\"\nmodbus = { unit_id = 0, check_unit = false }\n[[device.point]]\nid = \"energy_import\"\nregister = { address = 0, type = \"u32\" }\npriority = \"urgent\"",
            ),
            expect![[r#"
                main.toml:10:10: check_unit = false cannot be used in RTU frames: answers are told apart by their unit id alone; set check_unit = true for this device
                main.toml:10:10: unit 0 is the broadcast on a serial line, which no unit answers; give the unit's own id, 1 to 247
                main.toml:14:12: `urgent` is not known here; possible values: fast, normal, slow
            "#]],
        ),
    ] {
        check_lines(&text, expected);
    }
}

#[test]
fn an_adapter_by_number_is_warned_about_and_nothing_is_refused_for_it() {
    let files = files(&link("driver = \"modbus_rtu\"\npath = \"/dev/ttyUSB0\""));
    let report = check::<Own>(&["main.toml".into()], &files);
    assert_eq!(report.exit_code(), 0);
    expect![[r#"
        warning: main.toml:6:8: /dev/ttyUSB0 may be another adapter after a restart or a replug; use its name in /dev/serial/by-id/ (or by-path/), which stays with the adapter
        main.toml: fine (0 enterprises, 1 links, 0 devices, 0 points)
    "#]].assert_eq(&report.render(false));
}

#[test]
fn a_known_quantity_in_a_unit_of_something_else_is_warned_about() {
    let text = |unit: &str| {
        format!(
            "{}\n[[device]]\nid = \"m\"\nlink = \"a\"\nmodbus = {{ unit_id = 1 }}\n[[device.point]]\nid = \"energy_import\"\nunit = \"{unit}\"\n\
             register = {{ address = 0 }}\n",
            link("driver = \"modbus_tcp\"\nhost = \"h\"")
        )
    };
    let warnings = |unit: &str| {
        let report = check::<Own>(&["main.toml".into()], &files(&text(unit)));
        assert_eq!(report.exit_code(), 0, "{}", report.render(false));
        report.render(false).lines().filter(|line| line.starts_with("warning")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(warnings("MWh").is_empty());
    let found = warnings("V");
    assert!(
        found.len() == 1 && found[0].contains("main.toml:14:8: `energy_import` is known in kWh, and V is no unit for that"),
        "{found:?}"
    );
}

#[test]
fn a_marker_for_no_value_is_as_wide_as_the_value() {
    let check = |register_type: &str, marker: &str| {
        let text = format!(
            "{}\n[[device]]\nid = \"m\"\nlink = \"a\"\nmodbus = {{ unit_id = 1 }}\n[[device.point]]\nid = \"energy_import\"\n\
             register = {{ address = 0, type = \"{register_type}\", not_available = [\"{marker}\"] }}\n",
            link("driver = \"modbus_rtu\"\npath = \"/dev/ttyS1\"")
        );
        let report = check::<Own>(&["main.toml".into()], &files(&text));
        (report.exit_code() == 0, report.render(false).contains("not_available"))
    };
    let (fine, warned, refused) = ((true, false), (true, true), (false, true));
    for (register_type, marker, expected) in [
        ("u16", "0xFFFF", fine),
        ("u16", "0xFFFFFFFF", refused),
        ("u16", "0x10000", refused),
        ("i16", "0x8000", fine),
        ("i32", "0x80000000", fine),
        ("i32", "0x7FFFFFFF", fine),
        ("i32", "0xFFFFFFFF", fine),
        ("i32", "0x8000", warned),
        ("i32", "0x7FFF", warned),
        ("i64", "0x80000000", warned),
        ("i32", "0", fine),
        ("u32", "0", fine),
        ("i32", "0x8000000000000000", refused),
        ("f32", "0x7FC00000", fine),
        ("f32", "0x7FF8000000000000", refused),
        ("u64", "0xFFFFFFFFFFFFFFFF", fine),
    ] {
        assert_eq!(check(register_type, marker), expected, "{register_type} {marker}");
    }
}

#[test]
fn a_longer_last_word_is_another_device() {
    let two = "driver = \"modbus_dial_in\"\nlisten = \"0.0.0.0:8899\"\nregistration = \"DTU-1\"\nheartbeat = \"PING\"\n\
               [[link]]\nid = \"b\"\ndriver = \"modbus_dial_in\"\nlisten = \"0.0.0.0:8899\"\nregistration = \"DTU-10\"";
    assert_eq!(built(&files(&link(two))).links.len(), 2);
}

#[test]
fn lines_have_their_defaults() {
    let catalogue = built(&files(&link(
        "driver = \"modbus_rtu\"\npath = \"/dev/ttyS1\"\nbaud = 2400\nformat = \"8E1\"\ntimeout_ms = 700\nrs485 = { delay_before_send_ms = 1 }\n\
         [[link]]\nid = \"b\"\ndriver = \"modbus_rtu_over_tcp\"\nhost = \"h\"\nport = 4001\nquiet_time_ms = 20\necho = true\nlate_window_ms = 50\n\
         [[link]]\nid = \"c\"\ndriver = \"modbus_dial_in\"\nlisten = \"0.0.0.0:8899\"\nregistration_hex = \"AA 55\"\nframing = \"tcp\"\n\
         [[device]]\nid = \"m\"\nlink = \"a\"\nmodbus = { unit_id = 3, poll_interval_ms = 2000, priority = \"slow\" }\n\
         [[device.point]]\nid = \"energy_import\"\nregister = { address = 0, type = \"u32\" }\n\
         [[device.point]]\nid = \"active_power\"\nregister = { address = 2, type = \"u32\" }\npriority = \"fast\"\n\
         [[device.point]]\nid = \"voltage\"\nregister = { address = 4 }\npriority = \"normal\"",
    )));
    let [a, b, c] = catalogue.links.as_slice() else { panic!("three links") };
    let DriverSettings::ModbusRtu(settings) = &a.driver else { panic!("{a:?}") };
    assert_eq!((settings.format.to_string().as_str(), settings.timeout_ms), ("2400 8E1", 700));
    assert_eq!((settings.line.quiet_time_us, settings.line.late_window_ms, settings.line.echo), (16_041, 700, Echo::Auto));
    assert_eq!(settings.rs485.map(|rs485| rs485.delay_before_send_ms), Some(1));
    let DriverSettings::ModbusRtuOverTcp(settings) = &b.driver else { panic!("{b:?}") };
    assert_eq!((settings.line.quiet_time_us, settings.line.late_window_ms, settings.line.echo), (20_000, 50, Echo::Yes));
    let DriverSettings::ModbusDialIn(settings) = &c.driver else { panic!("{c:?}") };
    assert_eq!((settings.identity(), settings.framing), (&[0xAA, 0x55][..], Framing::Tcp));
    assert_eq!([a, b, c].map(|link| link.driver.is_rtu()), [true, true, false]);
    let device = catalogue.device("m").unwrap();
    let crate::catalogue::DeviceAddress::Modbus(address) = &device.address else { panic!("{device:?}") };
    let expected = [("energy_import", Priority::Slow, 20_000), ("active_power", Priority::Fast, 400), ("voltage", Priority::Normal, 2_000)];
    for (point, priority, interval_ms) in expected {
        assert_eq!((address.priority(point), address.interval_ms(priority)), (priority, interval_ms), "{point}");
        let point = device.points.iter().find(|found| found.local_id == point).unwrap();
        assert_eq!(point.interval_ms, Some(interval_ms));
    }
}
