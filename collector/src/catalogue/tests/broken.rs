//! Broken configurations with what is said about each.

use expect_test::{Expect, expect};

use super::{GAS, LINKS, METER, PARK, files, problems_of};

/// One line per problem.
fn check_lines(main: &str, expected: Expect) {
    let lines: Vec<String> = problems_of(&files(main)).list().iter().map(|problem| format!("{problem} [{}]\n", problem.text)).collect();
    expected.assert_eq(&lines.concat());
}

/// As a person sees it.
fn check_rendered(main: &str, expected: Expect) {
    // expect-test takes common indentation away; the first line has none.
    expected.assert_eq(&format!("problems:\n{}", problems_of(&files(main)).render(false)));
}

#[test]
fn a_mistyped_key_is_shown_with_a_caret() {
    check_rendered(
        &format!("{PARK}time_zon = \"Asia/Shanghai\"\n"),
        expect![[r#"
            problems:
              × unknown key `time_zon`
               ╭─[main.toml:3:1]
             2 │ id = "p"
             3 │ time_zon = "Asia/Shanghai"
               · ────────
               ╰────
              help: did you mean `time_zone`?

        "#]],
    );
}

#[test]
fn a_conflict_shows_both_places() {
    check_rendered(
        &format!("{LINKS}{METER}{METER}"),
        expect![[r#"
            problems:
              × device `m` is there twice
                ╭─[main.toml:14:6]
             13 │ [[device]]
             14 │ id = "m"
                ·      ─┬─
                ·       ╰── first here
             15 │ link = "bus"
             16 │ modbus = { unit_id = 1 }
             17 │ [[device.point]]
             18 │ id = "energy_import"
             19 │ register = { address = 0, type = "u32" }
             20 │ [[device]]
             21 │ id = "m"
                ·      ─┬─
                ·       ╰── here
             22 │ link = "bus"
                ╰────
              help: ids must be unique

        "#]],
    );
}

#[test]
fn a_secret_is_never_shown() {
    let text = format!("{LINKS}username = \"u\"\npassword = \"hunter2\"\npasword = \"hunter2\"\nport = 0\n");
    let problems = problems_of(&files(&text));
    let all = format!("{} {:?} {}", problems.render(true), problems, serde_json::to_string(&problems.list()).unwrap());
    assert!(!all.contains("hunter2") && all.contains("****"), "{all}");
    expect![[r#"
        problems:
          × unknown key `pasword`
            ╭─[main.toml:15:1]
         14 │ password = ****
         15 │ pasword = ****
            · ───────
         16 │ port = 0
            ╰────
          help: did you mean `password`?

          × `port`: must not be lower than 1
            ╭─[main.toml:16:8]
         15 │ pasword = ****
         16 │ port = 0
            ·        ─
            ╰────

    "#]]
    .assert_eq(&format!("problems:\n{}", problems.render(false)));
    let broken = format!("{LINKS}password = \"hunter2\nport = \"\"\"");
    assert!(!problems_of(&files(&broken)).render(false).contains("hunter2"));
}

#[test]
fn all_problems_are_told_at_once() {
    check_lines(
        "[park]\nid = \"p p\"\ntime_zone = \"Mars\"\n[[link]]\nid = \"a\"\ndriver = \"modbus\"\n[[link]]\nid = 7\ndriver = \"mqtt\"\nhost = \"h\"\nqos = 1\n\
         [[device]]\nid = \"d\"\nlink = \"a\"\nenterprize = \"x\"\norigin = \"metred\"\n[[device.point]]\nid = \"energy_import\"\nunit = \"kwh\"\n\
         decimals = 12\nscale = \"1,5\"\nkind = 3\n[gateway]\nmegabytes = 11\n",
        expect![[r#"
            main.toml:2:6: `p p` is no id: 1 to 64 letters, digits, - _ . beginning with a letter or digit ["p p"]
            main.toml:3:13: unknown time zone `Mars`; give an IANA name such as Asia/Shanghai ["Mars"]
            main.toml:6:10: `modbus` is not known here; did you mean `modbus_rtu`? ["modbus"]
            main.toml:8:6: `id`: must be a text in quotes [7]
            main.toml:11:1: unknown key `qos`; known keys: id, host, port, version, session_expiry_s, tls, client_id, username, password, password_file, keep_alive_s, max_packet_bytes, max_in_flight, max_readings_per_message, discover [qos]
            main.toml:15:1: unknown key `enterprize`; did you mean `enterprise`? [enterprize]
            main.toml:16:10: `metred` is not known here; did you mean `metered`? ["metred"]
            main.toml:19:8: unknown unit `kwh`; did you mean `kWh`? ["kwh"]
            main.toml:20:12: `decimals`: must not be greater than 9 [12]
            main.toml:21:9: `scale`: `1,5` is not a decimal number such as -12.34 or 1e-3 ["1,5"]
            main.toml:22:8: `kind`: must be a text in quotes [3]
            main.toml:24:13: `megabytes`: must not be greater than 10 [11]
        "#]],
    );
}

#[test]
fn problems_of_tables() {
    for (text, expected) in [
        (
            "".to_owned(),
            expect![[r#"
            main.toml:1:1: there is no [park]; add [park] with an id; an included file is checked with the main file that includes it []
        "#]],
        ),
        (
            "x".to_owned(),
            expect![[r#"
            main.toml:1:1: there is no [park]; add [park] with an id; an included file is checked with the main file that includes it []
            main.toml:1:2: not valid TOML: key with no value, expected `=` []
        "#]],
        ),
        (
            "[park]\nid = \"a\"\nid = \"b\"\n".to_owned(),
            expect![[r#"
            main.toml:3:1: not valid TOML: duplicate key [id]
        "#]],
        ),
        (
            "[park]\n".to_owned(),
            expect![[r#"
            main.toml:1:2: missing key `id`; add `id = ...` to this table [park]
        "#]],
        ),
        (
            "[[park]]\nid = \"a\"\n".to_owned(),
            expect![[r#"
            main.toml:1:1: `park`: must be one table, not a list: write [...] in place of [[...]] [[[park]]]
        "#]],
        ),
        (
            format!("{PARK}[device]\nid = \"a\"\n"),
            expect![[r#"
            main.toml:3:1: `device`: must be a list: write [[...]] in place of [...] [[device]]
        "#]],
        ),
        (
            format!("{PARK}[[device]]\nid = \"a\"\n"),
            expect![[r#"
            main.toml:3:1: missing key `link`; add `link = ...` to this table [[[device]]]
        "#]],
        ),
        (
            format!("{PARK}[[link]]\nid = \"a\"\n"),
            expect![[r#"
            main.toml:3:1: missing key `driver`; add `driver = ...` to this table [[[link]]]
        "#]],
        ),
        (
            format!("{PARK}[[link]]\nid = \"a\"\ndriver = \"mqtt\"\nhost = \"h\"\ntimeout_ms = 5\n"),
            expect![[r#"
                main.toml:7:1: unknown key `timeout_ms`; known keys: id, host, port, version, session_expiry_s, tls, client_id, username, password, password_file, keep_alive_s, max_packet_bytes, max_in_flight, max_readings_per_message, discover [timeout_ms]
            "#]],
        ),
        (
            format!("{LINKS}version = 4\nmax_in_flight = 0\ndiscover = [\"a/x{{device}}\", \"$share/g/a\", \"a/#/b\"]\n"),
            expect![[r#"
            main.toml:13:11: there is no MQTT 4; 3 (that is 3.1.1) or 5 [4]
            main.toml:14:17: `max_in_flight`: must not be lower than 1 [0]
            main.toml:15:13: a named level stands alone between two /; for example "park/{enterprise}/{device}/#" ["a/x{device}"]
            main.toml:15:28: topics that begin with $ are the broker's own, or shared; name the topics of the meters ["$share/g/a"]
            main.toml:15:42: `#` must be the last level, alone; MQTT 3.1.1, 4.7.1 ["a/#/b"]
        "#]],
        ),
        (
            format!("{LINKS}session_expiry_s = 60\ntls = {{ ca_file = \"ca.pem\", key_file = \"main.toml\", server_name = \"a b\" }}\n"),
            expect![[r#"
            main.toml:13:20: `session_expiry_s` is only for version = 5; with 3.1.1 the broker's own setting counts [60]
            main.toml:14:7: `certificate_file` and `key_file` belong together; give both, or none [{ ca_file = "ca.pem", key_file = "main.toml", server_name = "a b" }]
            main.toml:14:19: ca.pem cannot be read: no such file; paths are relative to this file ["ca.pem"]
            main.toml:14:40: main.toml holds no `PRIVATE KEY` in PEM; PEM begins with -----BEGIN ["main.toml"]
            main.toml:14:67: must be a host name or an address; as it stands in the broker's certificate ["a b"]
        "#]],
        ),
        (
            format!("{LINKS}{METER}").replace("modbus =", "raw_forward = true\nmodbus ="),
            expect![[r#"
            main.toml:16:15: `raw_forward` is for devices on an MQTT link; remove it, or name an MQTT link [true]
        "#]],
        ),
        (
            format!("{LINKS}{}", METER.replace("\"m\"", "\"unknown\"")),
            expect![[r#"
            main.toml:14:6: `unknown` is kept for the list of devices that are not configured; give the meter another id ["unknown"]
        "#]],
        ),
        (
            format!("{PARK}[[link]]\nid = \"a\"\ndriver = \"modbus_tcp\"\nhost = \"tcp://h\"\nport = 70000\n"),
            expect![[r#"
            main.toml:6:8: must be a host name or an address, without scheme and path; for example 192.0.2.10 or meter.example.com ["tcp://h"]
            main.toml:7:8: `port`: must be a whole number from 0 to 65535 [70000]
        "#]],
        ),
        (
            format!("{PARK}[[enterprise]]\nid = \"a\"\n[[enterprise]]\nid = \"a\"\n"),
            expect![[r#"
            main.toml:6:6: enterprise `a` is there twice; ids must be unique ["a"]
        "#]],
        ),
        (
            format!("{PARK}display_units = {{ kWh = \"m3\", kw = \"MW\" }}\n"),
            expect![[r#"
            main.toml:3:25: kWh cannot be shown in m3; units that kWh converts to: J, kJ, MJ, GJ, Wh, kWh, MWh, 10^4 kWh ["m3"]
            main.toml:3:36: unknown unit `kw`; did you mean `kW`? ["MW"]
        "#]],
        ),
        (
            format!("{PARK}name = {{ zh = \"a\", fr = \"b\" }}\n"),
            expect![[r#"
            main.toml:3:20: unknown key `fr`; known keys: zh, en [fr]
        "#]],
        ),
        (
            format!("include = [\"no.toml\", \"x/*.toml\"]\nprofiles = [\"no\"]\n{PARK}"),
            expect![[r#"
                main.toml:1:12: there is no such file; paths are relative to this file ["no.toml"]
                main.toml:1:23: no file matches this pattern; paths are relative to this file ["x/*.toml"]
                main.toml:2:13: there are no profiles in this folder; paths are relative to this file ["no"]
            "#]],
        ),
    ] {
        check_lines(&text, expected);
    }
}

#[test]
fn problems_of_links() {
    for (text, expected) in [
        (
            format!("{LINKS}[[link]]\nid = \"bus\"\ndriver = \"mqtt\"\nhost = \"h\"\n"),
            expect![[r#"
            main.toml:14:6: link `bus` is there twice; ids must be unique ["bus"]
        "#]],
        ),
        (
            format!("{LINKS}[[link]]\nid = \"b2\"\ndriver = \"modbus_tcp\"\nhost = \"192.0.2.1\"\n"),
            expect![[r#"
            main.toml:16:8: link `b2` reaches the same peer as another link; put all units behind one link: they share its connection ["192.0.2.1"]
        "#]],
        ),
        (
            format!("{LINKS}[[link]]\nid = \"b2\"\ndriver = \"mqtt\"\nhost = \"192.0.2.2\"\nclient_id = \"parkgate-p-broker\"\n"),
            expect![[r#"
            main.toml:17:13: link `b2` reaches the same peer as another link; two sessions with one client id throw each other out: give each its own ["parkgate-p-broker"]
        "#]],
        ),
        // CRC-32 of these two is the same.
        (
            format!(
                "{PARK}[[link]]\nid = \"plumless\"\ndriver = \"mqtt\"\nhost = \"a\"\n[[link]]\nid = \"buckeroo\"\ndriver = \"mqtt\"\nhost = \"b\"\n"
            ),
            expect![[r#"
                main.toml:8:6: link `buckeroo` has the same key (CRC-32) as another link; change one of the two ids ["buckeroo"]
            "#]],
        ),
        (
            format!("{LINKS}password = \"x\"\npassword_file = \"y\"\n"),
            expect![[r#"
            main.toml:13:12: a password needs a `username`; MQTT 3.1.1, 3.1.2.9: without a user name there is no password [****]
            main.toml:14:17: the secret's file cannot be read: no such file; paths are relative to this file ["y"]
            main.toml:14:17: `password` and `password_file` exclude each other; keep one ["y"]
        "#]],
        ),
        (
            format!("{LINKS}username = \"${{NO_SUCH}}\"\nkeep_alive_s = 1\n"),
            expect![[r#"
            main.toml:13:12: environment variable `NO_SUCH` is not set; set it, or write $${ for a plain ${ ["${NO_SUCH}"]
            main.toml:14:16: `keep_alive_s`: must not be lower than 5 [1]
        "#]],
        ),
    ] {
        check_lines(&text, expected);
    }
}

#[test]
fn problems_of_devices() {
    for (text, expected) in [
        (
            format!("{LINKS}{METER}{METER}"),
            expect![[r#"
            main.toml:21:6: device `m` is there twice; ids must be unique ["m"]
        "#]],
        ),
        (
            format!("{LINKS}{}", METER.replace("bus", "bsu")),
            expect![[r#"
            main.toml:15:8: there is no link `bsu`; there are: broker, bus ["bsu"]
            main.toml:16:1: unknown key `modbsu`; did you mean `modbus`? [modbsu]
        "#]],
        ),
        (
            format!("{LINKS}{}", METER.replace("modbus =", "enterprise = \"acne\"\nprofile = \"eastron-sdm360\"\nmodbus =")),
            expect![[r#"
            main.toml:16:14: there is no enterprise `acne`; did you mean `acme`? ["acne"]
            main.toml:17:11: there is no profile `eastron-sdm360`; did you mean `eastron-sdm630`? ["eastron-sdm360"]
        "#]],
        ),
        (
            format!("{LINKS}{METER}{}", METER.replace("\"m\"", "\"n\"")),
            expect![[r#"
            main.toml:23:10: devices `m` and `n` both read holding register 0 of unit 1 on link `bus`; give one of them another `unit_id` [{ unit_id = 1 }]
        "#]],
        ),
        (
            format!("{LINKS}{METER}{}", METER.replace("\"m\"", "\"n\"\norigin = \"simulated\"").replace("= 1", "= 2")),
            expect![[r#"
            main.toml:22:10: link `bus` has devices of origin metered and simulated; all devices of a link have one origin: use a link of its own ["simulated"]
        "#]],
        ),
        (
            format!("{LINKS}{}", METER.replace("modbus = { unit_id = 1 }\n", "")),
            expect![[r#"
            main.toml:14:6: the device needs its `unit_id` on the Modbus link; add modbus = { unit_id = 1 } with the meter's address ["m"]
        "#]],
        ),
        (
            format!("{LINKS}{}", METER.replace("unit_id = 1", "unit_id = 256")),
            expect![[r#"
            main.toml:16:22: `unit_id`: must be a whole number from 0 to 255 [256]
        "#]],
        ),
        (
            format!("{LINKS}{}", METER.replace("unit_id = 1", "unit_id = 1, max_block = 126, poll_interval_ms = 1")),
            expect![[r#"
            main.toml:16:37: `max_block`: must not be greater than 125 [126]
            main.toml:16:61: `poll_interval_ms`: must not be lower than 10 [1]
        "#]],
        ),
        (
            format!("{LINKS}[[device]]\nid = \"x\"\nlink = \"bus\"\nmodbus = {{ unit_id = 1 }}\n"),
            expect![[r#"
            main.toml:14:6: device `x` has no points; name a `profile`, or add [[device.point]] ["x"]
        "#]],
        ),
        (
            format!("{LINKS}{}", METER.replace("bus\"", "broker\"")),
            expect![[r#"
            main.toml:14:6: device `m` has no topic; add [[device.topic]] with filter = "..." ["m"]
            main.toml:16:10: a device on an MQTT link has no `modbus`; remove it, or name a Modbus link [{ unit_id = 1 }]
            main.toml:18:6: point `energy_import` has no `path` to its value; add path = "..."; path = "" is the payload itself ["energy_import"]
            main.toml:19:12: a point on an MQTT link has no `register`; give `path`, or put the device on a Modbus link [{ address = 0, type = "u32" }]
        "#]],
        ),
        (
            format!("{LINKS}{}", GAS.replace("broker\"", "bus\"")),
            expect![[r#"
            main.toml:14:6: the device needs its `unit_id` on the Modbus link; add modbus = { unit_id = 1 } with the meter's address ["g"]
            main.toml:17:10: a device on a Modbus link has no topics; remove it, or name an MQTT link ["t/g"]
            main.toml:19:6: point `gas_volume` has no `register`; add register = { address = 0, type = "f32" } ["gas_volume"]
            main.toml:21:8: a point on a Modbus link has no `path`; give `register`, or put the device on an MQTT link ["v"]
        "#]],
        ),
        (
            format!("{LINKS}{METER}[[device.point]]\nid = \"energy_import\"\nregister = {{ address = 2 }}\n"),
            expect![[r#"
            main.toml:21:6: point `energy_import` is there twice; ids must be unique ["energy_import"]
        "#]],
        ),
        (
            format!("{LINKS}{METER}[[device.point]]\nid = \"energy_export\"\nregister = {{ address = \"40001\", type = \"u32\" }}\n"),
            expect![[r#"
            main.toml:22:12: holding register 0 of unit 1 on link `bus` is read by two points; remove one [{ address = "40001", type = "u32" }]
        "#]],
        ),
    ] {
        check_lines(&text, expected);
    }
}

#[test]
fn problems_of_points() {
    let point = |keys: &str| format!("{LINKS}{METER}{keys}\n");
    let gas = |keys: &str| format!("{LINKS}{}", GAS.replace("reference = \"as_is\"\n", &format!("{keys}\n")));
    for (text, expected) in [
        (
            point("quantity = \"energy_imprt\""),
            expect![[r#"
            main.toml:20:12: `energy_imprt` is no known quantity; did you mean `energy_import`? Else give medium, kind, unit ["energy_imprt"]
        "#]],
        ),
        (
            point("quantity = \"my_power_day\"\nmedium = \"power\"\nkind = \"gauge\"\nunit = \"kW\""),
            expect![[r#"
            main.toml:20:12: a quantity must not end in `_day`; series names of closed totals end so ["my_power_day"]
        "#]],
        ),
        (
            point("quantity = \"power_of_mine\"\nmedium = \"gateway\"\nkind = \"gauge\"\nunit = \"kW\""),
            expect![[r#"
            main.toml:18:6: medium `gateway` is kept for the gateway's own metrics; name what the meter measures ["energy_import"]
        "#]],
        ),
        (
            point("").replace("id = \"m\"", "id = \"parkgate_x\""),
            expect![[r#"
            main.toml:14:6: `parkgate_x` is kept for the gateway itself; its own metrics are points of a device `parkgate`; give the meter another id ["parkgate_x"]
        "#]],
        ),
        (
            point("quantity = \"My Power\"\nmedium = \"powr\"\nkind = \"gauge\"\nunit = \"kW\""),
            expect![[r#"
            main.toml:20:12: quantity `My Power` must be small letters, digits and single _ between them, beginning with a letter, at most 64; it becomes part of the series name park_<quantity>_<unit> ["My Power"]
            main.toml:21:10: `powr` is not known here; did you mean `power`? ["powr"]
        "#]],
        ),
        (
            point("unit = \"kwh\""),
            expect![[r#"
            main.toml:20:8: unknown unit `kwh`; did you mean `kWh`? ["kwh"]
        "#]],
        ),
        (
            point("raw_unit = \"kW\""),
            expect![[r#"
            main.toml:20:12: kW cannot be converted to kWh; units that kWh converts to: J, kJ, MJ, GJ, Wh, kWh, MWh, 10^4 kWh ["kW"]
        "#]],
        ),
        (
            point("kind = \"gauge\"\nmodulus = 5\nrate_max_per_hour = 7"),
            expect![[r#"
            main.toml:21:11: `modulus` is for counters; this is a gauge; remove `modulus`, or set kind = "counter" [5]
            main.toml:22:21: `rate_max_per_hour` is for counters; this is a gauge; remove `rate_max_per_hour`, or set kind = "counter" [7]
        "#]],
        ),
        (
            point("modulus = 0\nscale = 0"),
            expect![[r#"
            main.toml:20:11: `modulus` must be above 0 [0]
            main.toml:21:9: a scale of 0 makes every value 0 [0]
        "#]],
        ),
        (
            point("valid_min = 10\nvalid_max = 9.5"),
            expect![[r#"
            main.toml:20:13: valid_min 10 is above valid_max 9.5 [10]
        "#]],
        ),
        (
            point("valid_max = 9223372036854775807"),
            expect![[r#"
            main.toml:20:13: `valid_max` does not fit 64 bits at 3 decimals [9223372036854775807]
        "#]],
        ),
        (
            point("scale = nan"),
            expect![[r#"
            main.toml:20:9: `scale`: `nan` is not a decimal number such as -12.34 or 1e-3 [nan]
        "#]],
        ),
        (
            point("scale = [1]"),
            expect![[r#"
            main.toml:20:9: `scale`: must be a number, or its text in quotes [[1]]
        "#]],
        ),
        (
            point("decimals = 10"),
            expect![[r#"
            main.toml:20:12: `decimals`: must not be greater than 9 [10]
        "#]],
        ),
        (
            point("labels = { Line = \"1\" }"),
            expect![[r#"
            main.toml:20:19: label name `Line` must be small letters, digits and single _ between them, beginning with a letter, at most 64 ["1"]
        "#]],
        ),
        (
            point("reference = \"as_is\""),
            expect![[r#"
            main.toml:20:13: a value in kWh has no reference state; remove `reference`: it is for gas volumes and flows ["as_is"]
        "#]],
        ),
        (
            gas(""),
            expect![[r#"
            main.toml:19:6: gas in m3 needs its reference state; add reference = "zero_degrees" (Nm3), "twenty_degrees" or "as_is": the same gas differs by 7 % between them ["gas_volume"]
        "#]],
        ),
        (
            gas("unit = \"Nm3\"\nreference = \"twenty_degrees\""),
            expect![[r#"
            main.toml:21:13: Nm3 is gas at zero_degrees, not twenty_degrees; change the unit to m3, or the reference ["twenty_degrees"]
        "#]],
        ),
        (
            gas("unit = \"m3\"\nreference = \"zero_degrees\""),
            expect![[r#"
            main.toml:21:13: gas at zero_degrees is in Nm3, not m3; write unit = "Nm3" ["zero_degrees"]
        "#]],
        ),
        (
            gas("reference = \"zero_degrees\"\nraw_unit = \"m3\""),
            expect![[r#"
            main.toml:21:12: m3 cannot be converted to Nm3; units that Nm3 converts to: Nm3, 10^4 Nm3 ["m3"]
        "#]],
        ),
    ] {
        check_lines(&text, expected);
    }
}

#[test]
fn problems_of_registers() {
    let register = |keys: &str| format!("{LINKS}{}", METER.replace("address = 0, type = \"u32\"", keys));
    for (text, expected) in [
        (
            register("type = \"u32\""),
            expect![[r#"
            main.toml:19:12: the register has no `address`; add address = 0 (protocol address) or address = "40001" [{ type = "u32" }]
        "#]],
        ),
        (
            register("address = -1"),
            expect![[r#"
            main.toml:19:24: must be a protocol address from 0 to 65535, or register notation such as "40001" [-1]
        "#]],
        ),
        (
            register("address = 70000"),
            expect![[r#"
            main.toml:19:24: must be a protocol address from 0 to 65535, or register notation such as "40001" [70000]
        "#]],
        ),
        (
            register("address = \"49\", function = \"holdin\""),
            expect![[r#"
            main.toml:19:41: `holdin` is not known here; did you mean `holding`? ["holdin"]
        "#]],
        ),
        (
            register("address = \"40001\", function = \"input\""),
            expect![[r#"
            main.toml:19:44: register notation "40001" names another function; remove `function` ["input"]
        "#]],
        ),
        (
            register("address = \"50001\""),
            expect![[r#"
            main.toml:19:24: register notation `50001` must start with 0, 1, 3 or 4 ["50001"]
        "#]],
        ),
        (
            register("address = 65535, type = \"f64\""),
            expect![[r#"
            main.toml:19:24: 4 registers from 65535 go beyond address 65535 [65535]
        "#]],
        ),
        (
            register("address = 0, type = \"f32\", order = \"ABCC\""),
            expect![[r#"
            main.toml:19:49: `ABCC` is no byte order for 4 bytes: letters A (most significant) to D, each once ["ABCC"]
        "#]],
        ),
        (
            register("address = 0, type = \"bit\""),
            expect![[r#"
            main.toml:19:12: type = "bit" needs `bit`; add bit = 0 (least significant) to 15 [{ address = 0, type = "bit" }]
        "#]],
        ),
        (
            register("address = 0, type = \"bit\", bit = 16"),
            expect![[r#"
            main.toml:19:47: a register has the bits 0 to 15 [16]
        "#]],
        ),
        (
            register("address = 0, type = \"u16\", bit = 1"),
            expect![[r#"
            main.toml:19:47: `bit` is only for type = "bit"; remove it, or set the type [1]
        "#]],
        ),
        (
            register("address = 0, function = \"coil\", type = \"u16\""),
            expect![[r#"
            main.toml:19:53: coils and discrete inputs are bits; remove `type` ["u16"]
        "#]],
        ),
        (
            register("address = 0, not_available = [\"0xFFFG\", -1]"),
            expect![[r#"
            main.toml:19:44: `0xFFFG` is no bit pattern such as 65535 or "0xFFFFFFFF" ["0xFFFG"]
            main.toml:19:54: `-1` is no bit pattern such as 65535 or "0xFFFFFFFF" [-1]
        "#]],
        ),
        (
            register("addres = 0"),
            expect![[r#"
            main.toml:19:14: unknown key `addres`; did you mean `address`? [addres]
        "#]],
        ),
        (
            register("address = 0, type = \"bcd24\""),
            expect![[r#"
            main.toml:19:34: `bcd24` is not known here; did you mean `bcd64`? ["bcd24"]
        "#]],
        ),
        (
            register("address = 0, type = \"bcd48\", order = \"ABCDEFGH\""),
            expect![[r#"
            main.toml:19:51: `ABCDEFGH` is no byte order for 6 bytes: letters A (most significant) to F, each once ["ABCDEFGH"]
        "#]],
        ),
        (
            register("address = 0, type = \"mod10_3\", order = \"lowfirst\""),
            expect![[r#"
            main.toml:19:53: `lowfirst` is no byte order for 6 bytes: letters A (most significant) to F, each once ["lowfirst"]
        "#]],
        ),
        (
            register("address = 0, type = \"u16\", registers = 2"),
            expect![[r#"
            main.toml:19:53: `registers` is only for type = "string"; remove it: the type says how many it takes [2]
        "#]],
        ),
        (
            register("address = 0, type = \"string\""),
            expect![[r#"
            main.toml:19:12: type = "string" needs `registers`, its length; add registers = 1 to 125 [{ address = 0, type = "string" }]
        "#]],
        ),
        (
            register("address = 0, type = \"string\", registers = 126"),
            expect![[r#"
            main.toml:19:56: a text takes 1 to 125 registers [126]
        "#]],
        ),
        (
            register("address = 0, type = \"string\", registers = 2, order = \"CDAB\", bit = 1"),
            expect![[r#"
            main.toml:19:67: `CDAB` is no order for a text; "AB" or "BA": two characters in each register; "upper" or "lower": one ["CDAB"]
            main.toml:19:81: `bit` is only for type = "bit"; remove it, or set the type [1]
        "#]],
        ),
        (
            register("address = 0, type = \"string\", registers = 2, not_available = [0]"),
            expect![[r#"
            main.toml:19:12: `not_available` is for numbers; remove it: a text of nothing but filler is no value anyway [{ address = 0, type = "string", registers = 2, not_available = [0] }]
            main.toml:19:12: a text needs `codes` that its values stand for; add codes = { "Available" = 0, "Charging" = 1 }: samples are numbers [{ address = 0, type = "string", registers = 2, not_available = [0] }]
        "#]],
        ),
        (
            register("address = 0, type = \"f32\", codes = { \"1\" = 1 }"),
            expect![[r#"
            main.toml:19:57: `codes` are for whole numbers and texts, not for floats; remove them [1]
        "#]],
        ),
        (
            register("address = 0, type = \"u16\", codes = { Charging = 1, \"0x2\" = 3, \"4\" = \"x\" }"),
            expect![[r#"
            main.toml:19:62: `Charging` is no whole number as registers of this type have it [1]
            main.toml:19:82: `4`: must be a whole number from -9223372036854775808 to 9223372036854775807 ["x"]
        "#]],
        ),
        (
            register("address = 0, type = \"f32\", scale_register = 2"),
            expect![[r#"
            main.toml:19:58: `scale_register` is for whole numbers; remove it [2]
        "#]],
        ),
        (
            register("address = 0, type = \"i16\", scale_register = \"30002\""),
            expect![[r#"
            main.toml:19:58: "30002" is of another function than the value; both are read in one request ["30002"]
        "#]],
        ),
        (
            register("address = 0, type = \"i16\", scale_register = 125"),
            expect![[r#"
            main.toml:19:58: from value to scale register are 126 registers, more than a read of max_block = 125; both are read in one request; give the power as `scale` if it is fixed [125]
        "#]],
        ),
        (
            register("address = 0, type = \"i16\", scale_register = 1, codes = { \"1\" = 1 }"),
            expect![[r#"
            main.toml:19:58: a value that stands for a code has no scale; remove `scale_register` or `codes` [1]
        "#]],
        ),
        (
            register("address = 0, scale_register = 30")
                .replace("unit_id = 1", "unit_id = 1, forbidden = [{ function = \"holding\", first = 7, last = 9 }]"),
            expect![[r#"
                main.toml:19:44: between value and scale register are the forbidden addresses 7 to 9; both are read in one request; give the power as `scale` if it is fixed [30]
            "#]],
        ),
        (
            register("address = 0, scale_register = 1")
                .replace("unit_id = 1", "unit_id = 1, address_base = 1, forbidden = [{ function = \"holding\", first = 0, last = 9 }]"),
            expect![[r#"
                main.toml:16:56: address 0 is below address_base = 1 [{ function = "holding", first = 0, last = 9 }]
                main.toml:19:24: address 0 is below address_base = 1; count from there, or set address_base = 0 for protocol addresses [0]
            "#]],
        ),
        (
            register("address = 1, scale_register = 0").replace("unit_id = 1", "unit_id = 1, address_base = 1"),
            expect![[r#"
            main.toml:19:44: address 0 is below address_base = 1; count from there, or set address_base = 0 for protocol addresses [0]
        "#]],
        ),
        (
            register("address = 1").replace("unit_id = 1", "unit_id = 1, address_base = 2"),
            expect![[r#"
            main.toml:16:40: `address_base`: must not be greater than 1 [2]
            main.toml:19:24: address 1 is below address_base = 2; count from there, or set address_base = 0 for protocol addresses [1]
        "#]],
        ),
    ] {
        check_lines(&text, expected);
    }
}

#[test]
fn problems_of_topics() {
    let topic = |keys: &str| format!("{LINKS}{}", GAS.replace("filter = \"t/g\"", keys));
    for (text, expected) in [
        (
            format!("{LINKS}{}", GAS.replace("[[device.topic]]\nfilter = \"t/g\"\n", "")),
            expect![[r#"
            main.toml:14:6: device `g` has no topic; add [[device.topic]] with filter = "..." ["g"]
        "#]],
        ),
        (
            format!("{LINKS}{}", GAS.replace("path = \"v\"\n", "")),
            expect![[r#"
            main.toml:19:6: point `gas_volume` has no `path` to its value; add path = "..."; path = "" is the payload itself ["gas_volume"]
        "#]],
        ),
        (
            format!("{LINKS}{}", GAS.replace("path = \"v\"", "path = \"a..b\"\ntopic = \"x\"")),
            expect![[r#"
                main.toml:21:8: `a..b` is no path such as data.flow or values[0].v: a key is missing ["a..b"]
                main.toml:22:9: the device has no topic `x`; there is none ["x"]
            "#]],
        ),
        (
            format!("{LINKS}{GAS}[[device.point]]\nid = \"gas_flow\"\nreference = \"as_is\"\npath = \"v\"\n"),
            expect![[r#"
                main.toml:25:8: path `v` of this topic is read by another point already; give each point a path, a column or a topic of its own ["v"]
            "#]],
        ),
        (
            topic("filter = \"t/#/g\"\nqos = 2"),
            expect![[r#"
            main.toml:17:10: `#` must be the last level, alone; MQTT 3.1.1, 4.7.1 ["t/#/g"]
            main.toml:18:7: `qos`: must not be greater than 1 [2]
        "#]],
        ),
        (
            topic("filter = \"a\"\n[[device.topic]]\nfilter = \"b\""),
            expect![[r#"
            main.toml:17:10: a device with several topics needs an `id` for each; add id = "..." ["a"]
            main.toml:19:10: a device with several topics needs an `id` for each; add id = "..." ["b"]
            main.toml:21:6: the device has several topics: which one?; add topic = "...", the topic's id ["gas_volume"]
        "#]],
        ),
        (
            topic("filter = \"a\"\ntime_format = \"epoch\""),
            expect![[r#"
            main.toml:18:15: `epoch` is not known here; did you mean `epoch_s`? ["epoch"]
        "#]],
        ),
        (
            topic("filter = \"a\"\ntime_format = \"epoch_s\""),
            expect![[r#"
            main.toml:18:15: there is no `time` that this is about; add time = "...", the path to the time ["epoch_s"]
        "#]],
        ),
        (
            topic("filter = \"a\"\ntime = \"t\"\ntime_format = \"local\""),
            expect![[r#"
            main.toml:18:8: time_format = "local" needs a `time_pattern`; for example time_pattern = "%Y-%m-%d %H:%M:%S" ["t"]
        "#]],
        ),
        (
            topic("filter = \"a\"\ntime = \"t\"\ntime_format = \"local\"\ntime_pattern = \"%Q%\"\ntime_zone = \"X\""),
            expect![[r#"
            main.toml:20:16: no usable time pattern: strftime formatting failed: %Q failed: requires IANA time zone identifier or time zone offset, but neither were present; use %Y %m %d %H %M %S and plain text ["%Q%"]
            main.toml:21:13: unknown time zone `X`; give an IANA name such as Asia/Shanghai ["X"]
        "#]],
        ),
        (
            topic("filter = \"$share/g/a\""),
            expect![[r#"
            main.toml:17:10: a shared subscription gives this gateway only some of the device's messages, so its totals would be wrong; subscribe without $share/, so that one gateway owns the device; or set raw_forward = true: recorded, forwarded, never totalled ["$share/g/a"]
        "#]],
        ),
        (
            topic("filter = \"$share/+/a\"").replace("link = \"broker\"", "link = \"broker\"\nraw_forward = true"),
            expect![[r#"
                main.toml:18:10: a shared subscription is `$share/GROUP/FILTER`; MQTT 5, 4.8.2 ["$share/+/a"]
            "#]],
        ),
        (
            topic("filter = \"a/{hall}/x{point}\""),
            expect![[r#"
            main.toml:17:10: `{point}` must be a level of its own, once; for example "park/{device}/{point}" ["a/{hall}/x{point}"]
            main.toml:17:10: `{hall}` stands for nothing here; there are park, enterprise, device, point; any other name is a label of the device: add labels = { hall = "..." } ["a/{hall}/x{point}"]
            main.toml:17:10: `+` must stand alone in its level; MQTT 3.1.1, 4.7.1 ["a/{hall}/x{point}"]
        "#]],
        ),
        (
            topic("filter = \"a/{hall}\"").replace("link = \"broker\"", "link = \"broker\"\nlabels = { hall = \"1/2\" }"),
            expect![[r#"
            main.toml:18:10: label `hall` = "1/2" cannot be a level of a topic; a level has no / + # { ["a/{hall}"]
        "#]],
        ),
        (
            topic("filter = \"a\"\npayload = \"xml\""),
            expect![[r#"
            main.toml:18:11: `xml` is not known here; possible values: json, number, csv ["xml"]
        "#]],
        ),
        (
            topic("filter = \"a\"\nseparator = \";\"\ntime_column = 1\ndecimal_sign = \",\""),
            expect![[r#"
            main.toml:18:13: `separator` is only for payload = "csv"; remove it, or change `payload` [";"]
            main.toml:19:15: `time_column` is only for payload = "csv"; remove it, or change `payload` [1]
            main.toml:20:16: `decimal_sign` is only for payload = "csv" or "number"; remove it, or change `payload` [","]
        "#]],
        ),
        (
            topic("filter = \"a\"\npayload = \"number\"\ntime = \"t\"\ntime_format = \"epoch_s\""),
            expect![[r#"
            main.toml:19:8: `time` is only for payload = "json"; remove it, or change `payload` ["t"]
            main.toml:20:15: there is no `time` that this is about; add payload = "csv" with a `time_column` ["epoch_s"]
            main.toml:24:8: `path` does not go with the payload of this topic; json: `path`; csv: `column`; a plain number needs neither ["v"]
        "#]],
        ),
        (
            topic("filter = \"a\"\npayload = \"csv\"\nseparator = \"1\"\ntime_column = 0").replace("path = \"v\"", "column = 0"),
            expect![[r#"
            main.toml:19:13: must be one character that is in no number; for example ",", ";" or "\t" ["1"]
            main.toml:20:15: columns are counted from 1 [0]
            main.toml:24:10: columns are counted from 1 [0]
        "#]],
        ),
        (
            topic("filter = \"a\"\npayload = \"csv\"\ndecimal_sign = \",\"").replace("path = \"v\"\n", ""),
            expect![[r#"
            main.toml:19:16: the columns are separated by a comma, too; add separator = ";" or what the device sends [","]
            main.toml:21:6: point `gas_volume` has no `column` with its value; add column = 1, 2, ... ["gas_volume"]
        "#]],
        ),
        (
            topic("filter = \"a\"\npayload = \"number\"")
                .replace("path = \"v\"", "[[device.point]]\nid = \"gas_flow\"\nreference = \"as_is\""),
            expect![[r#"
                main.toml:23:6: path `` of this topic is read by another point already; give each point a path, a column or a topic of its own ["gas_flow"]
            "#]],
        ),
        (
            topic("filter = \"a\"\ntime = \"t[\"\ntime_zone = \"UTC\""),
            expect![[r#"
            main.toml:18:8: `t[` is no path such as data.flow or values[0].v: `[` is not closed ["t["]
            main.toml:19:13: `time_zone` is only for time_format = "local"; remove it, or set the format ["UTC"]
        "#]],
        ),
    ] {
        check_lines(&text, expected);
    }
}

#[test]
fn a_time_pattern_must_say_all_of_a_time() {
    let gas = GAS.replace("filter = \"t/g\"", "filter = \"a\"\ntime = \"t\"\ntime_format = \"local\"\ntime_pattern = \"%H:%M\"");
    check_lines(
        &format!("{LINKS}{gas}"),
        expect![[r#"
        main.toml:20:16: no usable time pattern: date required to parse datetime: year required to parse date; use %Y %m %d %H %M %S and plain text ["%H:%M"]
    "#]],
    );
}

#[test]
fn deep_nesting_is_refused() {
    let deep = ["a"; 50_000].join(".");
    for text in [format!("a = {}", "[".repeat(100_000)), format!("{deep} = 1"), format!("[{deep}]"), "a={".repeat(50_000)] {
        assert!(!problems_of(&files(&format!("{PARK}{text}\n"))).is_empty());
    }
}

#[test]
fn problems_of_rules() {
    let meter = |keys: &str| format!("{LINKS}{METER}{keys}\n");
    let gauge = |keys: &str| meter(&format!("[[device.point]]\nid = \"active_power\"\nregister = {{ address = 9 }}\n{keys}"));
    for (text, expected) in [
        (
            meter("on_change = { }"),
            expect![[r#"
            main.toml:20:13: `on_change` cannot be used for a counter; remove `on_change`: without the last register before a change its consumption would count for the time before [{ }]
        "#]],
        ),
        (
            meter("change_max_per_minute = 1\nflat_after_ms = 10"),
            expect![[r#"
            main.toml:20:25: `change_max_per_minute` is for gauges; this is a counter; a counter has `rate_max_per_hour` [1]
            main.toml:21:17: `flat_after_ms` must be at least 1000; it is in milliseconds: 3600000 is an hour [10]
        "#]],
        ),
        (
            format!("{LINKS}{METER}").replace("modbus =", "nameplate = { rated_power_kw = 0, tolerance_percent = 1, rated = 1 }\nmodbus ="),
            expect![[r#"
                main.toml:16:32: `rated_power_kw` must be above 0 [0]
                main.toml:16:55: `tolerance_percent`: must not be lower than 5 [1]
                main.toml:16:58: unknown key `rated`; did you mean `rated_power_kw`? [rated]
            "#]],
        ),
        (
            gauge("change_max_per_minute = 0"),
            expect![[r#"
            main.toml:23:25: `change_max_per_minute` must be above 0 [0]
        "#]],
        ),
        (
            gauge("on_change = { deadband = -1, max_silence_ms = 10 }"),
            expect![[r#"
            main.toml:23:26: `deadband` must be 0 or above and fit 64 bits at 3 decimals [-1]
            main.toml:23:47: `max_silence_ms`: must not be lower than 1000 [10]
        "#]],
        ),
        (
            gauge("on_change = { deadband = 1 }\nflat_after_ms = 60000\nchange_max_per_minute = 2\ncompliance = true"),
            expect![[r#"
            main.toml:23:13: `on_change` cannot be used for a compliance point; remove `on_change`, or set compliance = false: minute and hour records of compliance points count values [{ deadband = 1 }]
            main.toml:24:17: `flat_after_ms` and a `deadband` exclude each other; keep one: with small changes left out nobody can tell a flat line [60000]
            main.toml:25:25: `change_max_per_minute` and `on_change` exclude each other; keep one: with values left out nobody can tell how fast it changed [2]
        "#]],
        ),
        (
            gauge("on_change = { silence = 3 }"),
            expect![[r#"
            main.toml:23:15: unknown key `silence`; known keys: deadband, max_silence_ms [silence]
        "#]],
        ),
        (
            gauge("medium = \"power\"\nkind = \"state\"\nunit = \"state\"\nflat_after_ms = 60000\non_change = { deadband = 1 }"),
            expect![[r#"
            main.toml:26:17: `flat_after_ms` is for gauges and counters; a state may stay as it is; remove it [60000]
            main.toml:26:17: `flat_after_ms` and a `deadband` exclude each other; keep one: with small changes left out nobody can tell a flat line [60000]
            main.toml:27:26: a state has no `deadband`: its numbers are codes; remove it [1]
        "#]],
        ),
    ] {
        check_lines(&text, expected);
    }
}

#[test]
fn problems_of_formulas() {
    let power = "[[device.point]]\nid = \"active_power\"\nregister = { address = 9 }\n[[device.point]]\nid = \"voltage\"\nregister = { address = 10 }\n";
    let with = |keys: &str| format!("{LINKS}{METER}{power}[[device.point]]\nid = \"x\"\nquantity = \"active_power\"\n{keys}\n");
    for (text, expected) in [
        (
            with("formula = { sum = [\"active_power\"] }"),
            expect![[r#"
            main.toml:29:11: a sum has at least two inputs; name points by their ids [{ sum = ["active_power"] }]
        "#]],
        ),
        (
            with("formula = { product = [\"active_power\", \"voltage\", \"voltage\"] }"),
            expect![[r#"
            main.toml:29:11: a product has two inputs; name points by their ids [{ product = ["active_power", "voltage", "voltage"] }]
        "#]],
        ),
        (
            with("formula = { max_age_ms = 1000 }"),
            expect![[r#"
            main.toml:29:11: a formula is one of `sum`, `difference`, `product` and `ratio`; for example formula = { sum = ["active_power", "acme/pv-1/active_power"] } [{ max_age_ms = 1000 }]
        "#]],
        ),
        (
            with("formula = { sum = [], ratio = [] }"),
            expect![[r#"
            main.toml:29:11: a formula is one of `sum`, `difference`, `product` and `ratio`; for example formula = { sum = ["active_power", "acme/pv-1/active_power"] } [{ sum = [], ratio = [] }]
        "#]],
        ),
        (
            with("formula = { mean = [\"active_power\", \"voltage\"] }"),
            expect![[r#"
            main.toml:29:11: a formula is one of `sum`, `difference`, `product` and `ratio`; for example formula = { sum = ["active_power", "acme/pv-1/active_power"] } [{ mean = ["active_power", "voltage"] }]
            main.toml:29:13: unknown key `mean`; known keys: sum, difference, product, ratio, max_age_ms [mean]
        "#]],
        ),
        (
            with("formula = { sum = [\"active_power\", \"active_powr\"] }"),
            expect![[r#"
            main.toml:29:36: there is no point `p/m/active_powr`; did you mean `p/m/active_power`? ["active_powr"]
        "#]],
        ),
        (
            with("formula = { sum = [\"active_power\", \"acme/m/active_power\"] }"),
            expect![[r#"
            main.toml:29:36: there is no point `acme/m/active_power`; there are: p/m/active_power, p/m/energy_import, p/m/voltage, p/m/x ["acme/m/active_power"]
        "#]],
        ),
        (
            with("formula = { sum = [\"active_power\", \"energy_import\"] }"),
            expect![[r#"
            main.toml:29:36: `p/m/energy_import` is a counter; a formula is made of gauges; totals of counters are added over periods, where exchanges and gaps are known ["energy_import"]
        "#]],
        ),
        (
            with("formula = { sum = [\"active_power\", \"voltage\"] }"),
            expect![[r#"
            main.toml:29:11: the sum of kW and V is not in kW; inputs and result of a sum have one unit, not of temperature, sound or pH [{ sum = ["active_power", "voltage"] }]
        "#]],
        ),
        (
            with("formula = { ratio = [\"active_power\", \"active_power\"] }"),
            expect![[r#"
            main.toml:29:11: the ratio of kW and kW is not in kW; set `unit` to one of 1, %, B [{ ratio = ["active_power", "active_power"] }]
        "#]],
        ),
        (
            with("formula = { product = [\"active_power\", \"voltage\"] }"),
            expect![[r#"
            main.toml:29:11: the product of kW and V is not in kW; the unit table knows no such combination [{ product = ["active_power", "voltage"] }]
        "#]],
        ),
        (
            with("kind = \"counter\"\nformula = { sum = [\"active_power\", \"active_power\"] }"),
            expect![[r#"
            main.toml:29:8: a point with a `formula` is a gauge, not a counter; set kind = "gauge" ["counter"]
        "#]],
        ),
        (
            with("formula = { sum = [\"active_power\", \"active_power\"] }\nregister = { address = 3 }\nscale = 2"),
            expect![[r#"
            main.toml:30:12: a point with a `formula` has no `register`; it is not read from the device; remove the key [{ address = 3 }]
            main.toml:31:9: a point with a `formula` has no `scale`; it is not read from the device; remove the key [2]
        "#]],
        ),
        (
            with("formula = { sum = [\"active_power\", \"x\"] }"),
            expect![[r#"
            main.toml:29:11: `x` needs itself, or more than 8 formulas one upon the other; name points that are measured [{ sum = ["active_power", "x"] }]
        "#]],
        ),
        (
            with("formula = { sum = [\"active_power\", \"active_power\"], max_age_ms = 500 }"),
            expect![[r#"
            main.toml:29:20: `p/m/active_power` comes every 1000 ms and would always be too old for max_age_ms = 500; set max_age_ms = 2000 or more ["active_power"]
            main.toml:29:36: `p/m/active_power` comes every 1000 ms and would always be too old for max_age_ms = 500; set max_age_ms = 2000 or more ["active_power"]
        "#]],
        ),
    ] {
        check_lines(&text, expected);
    }
}
