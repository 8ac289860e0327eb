//! The search on lines in memory, over TCP and on a pseudo-terminal: each fault and what is said of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use expect_test::{Expect, expect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::order::serial_settings;
use super::*;
use crate::catalogue::{Parity, SerialFormat};
use crate::driver::modbus::raw::Way;
use crate::driver::modbus::tests::Terminal;
use crate::protocol::modbus::overheard::{rtu_frame, tcp_frame};
use crate::sim::modbus::{Bank, Fault as SimFault, Faults, RtuServer, SimServer, UnitMode};

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn bank() -> Bank {
    Arc::new(|unit_id, _, address, quantity| {
        Ok((address..address.saturating_add(quantity)).map(|address| u16::from(unit_id) << 8 | address & 0xFF).collect())
    })
}

/// Only these units are there.
fn faults(present: &[u8]) -> Arc<Faults> {
    let faults = Faults::new(1);
    for unit in 0..=255 {
        if !present.contains(&unit) {
            faults.set_unit(unit, UnitMode::Silent);
        }
    }
    Arc::new(faults)
}

fn plan(settings: Vec<Setting>, units: &[u8]) -> ScanPlan {
    ScanPlan {
        settings,
        units: units.to_vec(),
        timeout: Duration::from_millis(300),
        function: Function::HoldingRegisters,
        address: 0,
        all_settings: false,
    }
}

fn serial(baud: u32, form: &str) -> Setting {
    Setting::Serial(SerialFormat::parse(baud, form).unwrap())
}

/// What a person sees, with the order of what was asked.
async fn seen(plan: &ScanPlan, way: &mut Way) -> (String, Scan) {
    let mut text = String::new();
    let mut tell = |event: Event<'_>| match event {
        Event::Asking { setting, units } => text += &format!("{setting}: units {}\n", report::list(units)),
        Event::Found(found) => {
            let fault = found.fault.map_or("", Fault::text);
            text += format!("  {} {} {fault}", found.unit_id, found.answer).trim_end();
            text.push('\n');
            if let Some(identity) = &found.identity {
                text += &format!("    {} {} {}\n", identity.vendor, identity.product, identity.revision);
            }
            if let Some(sunspec) = &found.sunspec {
                text += &format!("{}\n", sunspec.text());
            }
            for remark in &found.remarks {
                text += &format!("    {remark}\n");
            }
        }
        Event::Refused { setting, reason } => text += &format!("{setting} refused: {reason}\n"),
    };
    let found = scan(plan, way, &mut tell).await;
    for setting in &found.settings {
        text += &format!("= {}: {}\n", setting.setting, setting.verdict());
    }
    if let Some(advice) = found.advice() {
        text += &format!("-> {advice}\n");
    }
    text += if found.is_fine() { "fine" } else { "not fine" };
    (text, found)
}

/// A line in memory with simulated units.
async fn on_line(units: &[u8], present: &[u8], change: impl Fn(&Faults, &RtuServer) + Send + 'static, expected: Expect) {
    let faults = faults(present);
    let mut servers = Vec::new();
    let mut way = Way::Ends(Box::new(move |_| {
        let (ours, theirs) = tokio::io::duplex(1_024);
        let server = RtuServer::on(theirs, bank(), Arc::clone(&faults));
        change(&faults, &server);
        servers.push(server);
        Ok(ours)
    }));
    let (text, _) = seen(&plan(vec![serial(9_600, "8N1")], units), &mut way).await;
    expected.assert_eq(&text);
}

#[tokio::test(start_paused = true)]
async fn each_fault_is_named() {
    let all: Vec<u8> = (1..=20).collect();
    on_line(&all, &[], |_, _| {}, expect![[r#"
        9600 8N1: units 1-16
        9600 8N1: units 17-20
        = 9600 8N1: silence
        -> silence everywhere: check power, A and B, the common wire, the adapter's direction switch, and unit ids; slow units need a longer --timeout-ms
        not fine"#]]).await;
    on_line(
        &all,
        &[3, 7, 18],
        |faults, server| {
            faults.set_unit(7, UnitMode::Exception(2));
            server.set_identity(3, ["Acme", "M-4", "V2.11"]);
        },
        expect![[r#"
            9600 8N1: units 1-16
              3 register 40001 = 0x0300
                Acme M-4 V2.11
              7 exception 2 (illegal data address)
            9600 8N1: units 17-20
              18 register 40001 = 0x1200
            = 9600 8N1: 3 of 20 units
            fine"#]],
    )
    .await;
    on_line(&[1, 2], &[2], |faults, _| faults.set_rate(SimFault::WrongTransactionId, 1_000_000), expect![[r#"
        9600 8N1: units 1-2
        = 9600 8N1: bad CRC: bytes that are no frame, asking unit 2: wrong speed or parity for them, A and B swapped, or two units with one id
        -> units send something (9600 8N1), so there is a way to them: try other speeds and parities, swap A and B, look for two units with one id
        not fine"#]]).await;
    on_line(
        &[1, 2],
        &[2],
        |faults, _| faults.set_rate(SimFault::Duplicate, 1_000_000),
        expect![[r#"
        9600 8N1: units 1-2
          2 register 40001 = 0x0200 TWO ANSWERS to one question
            two units have this id, or an adapter sends everything twice: take one unit off the line, and give it another id
        = 9600 8N1: 1 of 2 units
        not fine"#]],
    )
    .await;
    on_line(
        &[1, 2],
        &[],
        |_, server| server.set_echo(true),
        expect![[r#"
        9600 8N1: units 1-2
        = 9600 8N1: own echo and nothing else: the adapter hears itself, no unit answers; check A and B, power and unit ids
        -> only our own echo: the adapter works, but no unit answers; check A and B, power and unit ids
        not fine"#]],
    )
    .await;
    on_line(
        &[1, 2],
        &[2],
        |_, server| server.set_echo(true),
        expect![[r#"
        9600 8N1: units 1-2
          2 register 40001 = 0x0200
        = 9600 8N1: 1 of 2 units; the adapter gives back what is sent, which the gateway finds out by itself (echo = "auto")
        fine"#]],
    )
    .await;
    on_line(
        &[1, 2, 3],
        &[1, 2],
        |_, server| server.set_answer_time(Duration::from_millis(450)),
        expect![[r#"
            9600 8N1: units 1-3
              1 register 40001 = 0x0100 answers late
                set timeout_ms of its link well above this time
              2 register 40001 = 0x0200 answers late
                set timeout_ms of its link well above this time
            = 9600 8N1: 2 of 3 units
            not fine"#]],
    )
    .await;
    on_line(&[1, 2], &[2], |faults, _| faults.force(SimFault::WrongTransactionId, 1), expect![[r#"
        9600 8N1: units 1-2
          2 register 40001 = 0x0200 BAD CRC
            answers are heard well at this setting, so the speed is right: two units with this id that answer at once, a bad contact, or a missing terminating resistor
        = 9600 8N1: 1 of 2 units
        not fine"#]]).await;
}

/// Units that a closure plays: pieces of bytes for each whole request.
fn played(play: impl Fn(u8, &[u8]) -> Vec<Vec<u8>> + Send + Sync + Clone + 'static) -> Way {
    Way::Ends(Box::new(move |_| {
        let (ours, theirs) = tokio::io::duplex(1_024);
        let play = play.clone();
        tokio::spawn(serve(theirs, play));
        Ok(ours)
    }))
}

async fn serve(mut stream: DuplexStream, play: impl Fn(u8, &[u8]) -> Vec<Vec<u8>>) {
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        for piece in play(buffer[0], &buffer[..count]) {
            tokio::time::sleep(Duration::from_millis(30)).await;
            if stream.write_all(&piece).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn faults_of_a_line_that_only_others_make() {
    let one = |setting| plan(vec![setting], &[1, 2, 3]);
    // Units 2 answer at once: what the line carries is neither's.
    let mut way = played(|unit, request| match unit {
        1 if request[1] == 3 => vec![rtu_frame(1, &[3, 2, 0, 9])],
        2 => vec![vec![2, 3, 2, 0xFF, 0x13, 0x88, 0x01]],
        _ => vec![],
    });
    let (text, found) = seen(&one(serial(9_600, "8N1")), &mut way).await;
    expect![[r#"
        9600 8N1: units 1-3
          1 register 40001 = 0x0009
          2  BAD CRC
            answers are heard well at this setting, so the speed is right: two units with this id that answer at once, a bad contact, or a missing terminating resistor
        = 9600 8N1: 1 of 3 units
        not fine"#]].assert_eq(&text);
    assert_eq!(found.findings[1].fault, Some(Fault::BadCrc));
    // Another master asks between our question and the answer of the unit it asked.
    let mut way = played(|unit, _| match unit {
        1 => vec![rtu_frame(9, &[3, 0x10, 0, 0, 1]), rtu_frame(9, &[3, 2, 0, 1])],
        _ => vec![],
    });
    expect![[r#"
        9600 8N1: units 1-3
        = 9600 8N1: silence; another master asks on this line: a line has one master, end the other one
        -> another master talks on this line: end it, then search again
        not fine"#]]
    .assert_eq(&seen(&one(serial(9_600, "8N1")), &mut way).await.0);
}

#[tokio::test(start_paused = true)]
async fn the_right_speed_is_found_and_the_search_ends_there() {
    for (right, form) in [(9_600, "8N1"), (19_200, "8E1"), (1_200, "8O1")] {
        let wanted = serial(right, form);
        let faults = faults(&[3, 200]);
        let mut servers = Vec::new();
        let mut way = Way::Ends(Box::new(move |setting| {
            if setting == serial(38_400, "8E1") {
                return Err(format!("cannot open the port at {setting}: the adapter does not take it"));
            }
            let (ours, theirs) = tokio::io::duplex(1_024);
            faults.set_rate(SimFault::WrongTransactionId, if setting == wanted { 0 } else { 1_000_000 });
            servers.push(RtuServer::on(theirs, bank(), Arc::clone(&faults)));
            Ok(ours)
        }));
        let settings = serial_settings(&order::SPEEDS, &order::PARITIES);
        let (text, found) = seen(&plan(settings.clone(), &(1..=247).collect::<Vec<_>>()), &mut way).await;
        let units: Vec<_> = found.findings.iter().map(|it| (it.setting.as_str(), it.unit_id, it.fault)).collect();
        let name = wanted.to_string();
        assert_eq!(units, [(name.as_str(), 3, None), (name.as_str(), 200, None)], "{text}");
        assert!(found.is_fine(), "{text}");
        let asked: Vec<usize> = found.settings.iter().map(|report| report.asked).collect();
        let place = settings.iter().position(|setting| *setting == wanted).unwrap();
        assert_eq!(asked[place], 247);
        assert!(asked[..place].iter().all(|count| *count == 16 || *count == 0), "{asked:?}");
        assert!(asked[place + 1..].iter().all(|count| *count == 0), "{asked:?}");
        assert!(found.settings[..place].iter().all(|report| report.garbled == [3] || report.refused.is_some()), "{text}");
    }
}

#[tokio::test]
async fn gateways_and_devices_on_tcp() {
    // A gateway: what is not there, it says.
    let there = faults(&[]);
    for unit in 0..=255 {
        there.set_unit(unit, if [2, 9].contains(&unit) { UnitMode::Answers } else { UnitMode::Exception(0x0B) });
    }
    let server = SimServer::start(LOOPBACK, bank(), there).await.unwrap();
    let way = |port| Way::Tcp { host: "127.0.0.1".into(), port, connect_timeout: Duration::from_secs(30) };
    let patient = |settings, units: &[u8]| ScanPlan { timeout: Duration::from_secs(30), ..plan(settings, units) };
    let mut gateway = way(server.local_addr().port());
    let all: Vec<u8> = (1..=20).collect();
    expect![[r#"
        Modbus TCP: units 1-16
          2 register 40001 = 0x0200
          9 register 40001 = 0x0900
        Modbus TCP: units 17-20
        = Modbus TCP: 2 of 20 units
        = RTU over TCP: not asked
        fine"#]]
    .assert_eq(&seen(&patient(vec![Setting::Tcp, Setting::RtuOverTcp], &all), &mut gateway).await.0);
    server.stop().await;
    // One device that does not look at ids.
    let server = SimServer::start(LOOPBACK, bank(), Arc::new(Faults::new(1))).await.unwrap();
    let mut device = way(server.local_addr().port());
    expect![[r#"
        Modbus TCP: units 1-16
          1 register 40001 = 0x0100
            answers for every unit id (247, 211, 173 were tried): one device that does not look at ids; any of them will do
        = Modbus TCP: 1 of 1 units
        fine"#]]
    .assert_eq(&seen(&patient(vec![Setting::Tcp], &all), &mut device).await.0);
    server.stop().await;
    // A converter that passes RTU frames through; it does not understand the other form.
    let server = RtuServer::listen(LOOPBACK, bank(), faults(&[5])).await.unwrap();
    let mut converter = way(server.local_addr().unwrap().port());
    let quick = ScanPlan { timeout: Duration::from_millis(200), ..plan(vec![Setting::Tcp, Setting::RtuOverTcp], &[4, 5, 6]) };
    let (text, found) = seen(&quick, &mut converter).await;
    assert_eq!(found.findings.iter().map(|it| it.unit_id).collect::<Vec<_>>(), [5], "{text}");
    assert_eq!(found.findings[0].setting, "RTU over TCP");
    server.stop().await;
    let (text, _) = seen(&plan(vec![Setting::Tcp], &[1]), &mut converter).await;
    assert!(text.contains("refused: cannot connect to 127.0.0.1:") && text.ends_with("see the reasons above\nnot fine"), "{text}");
}

/// A server of Modbus TCP that answers each request by what a closure says, or ends the connection.
fn on_tcp(answer: impl Fn(u8) -> Option<Vec<u8>> + Send + Clone + 'static) -> Way {
    Way::Ends(Box::new(move |_| {
        let (ours, mut theirs) = tokio::io::duplex(1_024);
        let answer = answer.clone();
        tokio::spawn(async move {
            let mut request = [0; 256];
            while let Ok(8..) = theirs.read(&mut request).await {
                let Some(pdu) = answer(request[6]) else { break };
                let id = u16::from_be_bytes([request[0], request[1]]);
                theirs.write_all(&tcp_frame(id, request[6], &pdu)).await.unwrap();
            }
        });
        Ok(ours)
    }))
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_ends_the_connection_for_an_absent_unit_is_searched_to_the_end() {
    let all: Vec<u8> = (1..=20).chain([255]).collect();
    let plan = |units: &[u8]| plan(vec![Setting::Tcp], units);
    let mut way = on_tcp(|unit| [17, 255].contains(&unit).then(|| vec![3, 2, 0, unit]));
    let (text, found) = seen(&plan(&all), &mut way).await;
    assert_eq!(found.findings.iter().map(|it| it.unit_id).collect::<Vec<_>>(), [255, 17], "{text}");
    assert_eq!((found.settings[0].asked, &found.settings[0].refused), (21, &None), "{text}");
    // No unit at all.
    let (text, found) = seen(&plan(&all[..3]), &mut way).await;
    assert!(found.findings.is_empty() && text.contains("Modbus TCP refused: "), "{text}");
    // One that ends unasked is not asked for every unit.
    let mut way = Way::Ends(Box::new(|_| Ok(tokio::io::duplex(64).0)));
    let (text, found) = seen(&plan(&all), &mut way).await;
    assert!(found.settings[0].asked < 3 && text.contains("Modbus TCP refused: "), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_exception_for_absent_units_is_no_unit() {
    for exception in [4, 6] {
        let plan = plan(vec![Setting::Tcp], &[1, 2, 9, 17, 247]);
        let mut way = on_tcp(move |unit| Some(if [9, 17, 247].contains(&unit) { vec![3, 2, 0, unit] } else { vec![0x83, exception] }));
        let (text, found) = seen(&plan, &mut way).await;
        assert_eq!(found.findings.iter().map(|it| it.unit_id).collect::<Vec<_>>(), [9, 17, 247], "{text}");
        assert!(found.findings.iter().all(|it| it.remarks.is_empty()), "{text}");
        let mut way = on_tcp(move |_| Some(vec![0x83, exception]));
        let (text, _) = seen(&plan, &mut way).await;
        assert!(text.contains(&format!("= Modbus TCP: exception {exception} for every unit id")), "{text}");
    }
    // Of a register that is not there a device speaks for itself, under whatever id.
    let mut way = on_tcp(|_| Some(vec![0x83, 2]));
    let (text, _) = seen(&plan(vec![Setting::Tcp], &[1, 2]), &mut way).await;
    assert!(text.contains("answers for every unit id"), "{text}");
}

#[tokio::test]
async fn a_serial_port_is_searched_unless_somebody_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let cable = Terminal::start(folder.path(), "scan").await;
    let server = RtuServer::on(cable.open(), bank(), faults(&[2, 3]));
    let path = cable.master.display().to_string();
    let mut way = Way::Serial { path: path.clone(), rs485: None };
    let wanted = plan(vec![serial(9_600, "8N1")], &[1, 2, 3]);
    let (text, found) = seen(&wanted, &mut way).await;
    assert_eq!(found.findings.iter().map(|it| it.unit_id).collect::<Vec<_>>(), [2, 3], "{text}");
    assert!(server.requests() > 0);
    let held = std::fs::File::open(&path).unwrap();
    held.lock().unwrap();
    let (text, found) = seen(&wanted, &mut way).await;
    assert!(text.contains("is in use by another link or program; a line has one master"), "{text}");
    assert!(found.findings.is_empty() && !found.is_fine());
}

#[test]
fn the_snippet_is_a_configuration() {
    let found = |setting: Setting, unit_id, fault| Finding {
        setting: setting.to_string(),
        unit_id,
        fault,
        answer: "register 40001 = 0x0000".to_owned(),
        time_ms: 700,
        identity: (unit_id == 2).then(|| Identity { vendor: "Acme".into(), product: "M-4".into(), revision: String::new() }),
        sunspec: None,
        remarks: Vec::new(),
    };
    let (usual, other) = (serial(9_600, "8N1"), serial(19_200, "8E1"));
    let mut way = Way::Serial { path: "/dev/ttyUSB0".into(), rs485: None };
    let scan =
        Scan { findings: vec![found(usual, 2, None), found(other, 3, Some(Fault::Late)), found(usual, 4, None)], settings: Vec::new() };
    let snippet = scan.snippet(&way, Some("/dev/serial/by-id/usb-1"), &[usual, other]).unwrap();
    expect![[r#"
        [[link]]
        id = "line-1"
        driver = "modbus_rtu"
        path = "/dev/serial/by-id/usb-1"
        baud = 9600
        format = "8N1"

        [[device]]
        id = "line-1-unit-2"   # Acme M-4
        link = "line-1"
        profile = "CHANGE-ME"   # name the profile of this model
        modbus = { unit_id = 2 }

        [[device]]
        id = "line-1-unit-4"
        link = "line-1"
        profile = "CHANGE-ME"   # name the profile of this model
        modbus = { unit_id = 4 }

        # A port has one speed, so these have to be set to that of the others:
        # [[link]]
        # id = "line-2"
        # driver = "modbus_rtu"
        # path = "/dev/serial/by-id/usb-1"
        # baud = 19200
        # format = "8E1"
        # timeout_ms = 1400
        #
        # [[device]]
        # id = "line-2-unit-3"
        # link = "line-2"
        # profile = "CHANGE-ME"   # name the profile of this model
        # modbus = { unit_id = 3 }"#]]
    .assert_eq(&snippet);
    loads(&snippet);
    way = Way::Tcp { host: "192.0.2.1".into(), port: 4_001, connect_timeout: Duration::ZERO };
    for setting in [Setting::Tcp, Setting::RtuOverTcp] {
        let scan = Scan { findings: vec![found(setting, 1, None)], settings: Vec::new() };
        loads(&scan.snippet(&way, None, &[setting]).unwrap());
    }
    assert_eq!(Scan::default().snippet(&way, None, &[Setting::Tcp]), None);
}

#[derive(Debug, Default, serde::Deserialize, garde::Validate)]
#[garde(allow_unvalidated)]
struct NoTable {}
impl crate::catalogue::OwnTable for NoTable {}

/// With the profiles named, the gateway takes it.
fn loads(snippet: &str) {
    let mut files = crate::catalogue::MemoryFiles::default();
    let text = format!("[park]\nid = \"p\"\n{}\n", snippet.replace(report::PROFILE, "eastron-sdm630"));
    files.files.insert("main.toml".into(), text);
    let loaded = crate::catalogue::load::<NoTable>(std::path::Path::new("main.toml"), &files);
    let loaded = loaded.unwrap_or_else(|error| panic!("{error}\n{snippet}"));
    loaded.draft.build(&mut crate::catalogue::MemoryRegistry::default()).unwrap();
}

#[test]
fn parities_are_told_by_form() {
    assert_eq!(serial_settings(&[9_600], &[Parity::Odd]), [serial(9_600, "8O1")]);
}

#[tokio::test(start_paused = true)]
async fn the_models_of_a_sunspec_meter_are_listed() {
    let meters = Arc::new(crate::sim::modbus::meter::Meters::new());
    let mut words = vec![0x5375, 0x6E53, 1, 65, 0x4142];
    words.resize(69, 0);
    words.extend([203, 105]);
    words.resize(69 + 107, 0);
    words.extend([0xFFFF, 0]);
    meters.set(4, Function::HoldingRegisters, 40_000, &words);
    let mut servers = Vec::new();
    let mut way = Way::Ends(Box::new(move |_| {
        let (ours, theirs) = tokio::io::duplex(1_024);
        servers.push(RtuServer::on(theirs, meters.bank(), faults(&[4])));
        Ok(ours)
    }));
    let setting = serial(9_600, "8N1");
    let (text, found) = seen(&plan(vec![setting], &[4, 5]), &mut way).await;
    expect![[r#"
        9600 8N1: units 4-5
          4 exception 2 (illegal data address)
        SunSpec models, marker at 40000:
          1 (common) at 40002, 65 registers
          203 (meter, wye-connect three phase) at 40069, 105 registers: profile sunspec-203-40069
        = 9600 8N1: 1 of 2 units
        fine"#]]
    .assert_eq(&text);
    let snippet = found.snippet(&way, None, &[setting]).unwrap();
    assert!(snippet.contains("id = \"line-1-unit-4\"   # AB\n") && snippet.contains("profile = \"sunspec-203-40069\"\n"), "{snippet}");
    loads(&snippet);
}
