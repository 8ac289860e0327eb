//! From a configuration to readings: payload kinds, named levels, shared topics, unknown devices.

use expect_test::expect;
use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

/// The program's own table, of which nothing is wanted here.
#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
struct Nothing {}

impl OwnTable for Nothing {}

const PARK: &str = "[park]
id = \"p\"
[[enterprise]]
id = \"acme\"
[[link]]
id = \"broker\"
driver = \"mqtt\"
host = \"127.0.0.1\"
discover = [\"new/{enterprise}/{device}/#\"]
max_readings_per_message = 4
[[device]]
id = \"em\"
link = \"broker\"
enterprise = \"acme\"
labels = { hall = \"7\" }
[[device.topic]]
id = \"each\"
filter = \"{park}/{enterprise}/{hall}/{device}/{point}\"
[[device.topic]]
id = \"number\"
filter = \"n/{device}/{point}\"
payload = \"number\"
decimal_sign = \",\"
[[device.topic]]
id = \"lines\"
filter = \"csv/{device}\"
payload = \"csv\"
separator = \";\"
time_column = 1
time_format = \"rfc3339\"
[[device.topic]]
id = \"units\"
filter = \"units/{device}\"
records = \"rows\"
[[device.point]]
id = \"active_power\"
topic = \"each\"
[[device.point]]
id = \"energy_import\"
topic = \"each\"
path = \"value\"
[[device.point]]
id = \"voltage\"
topic = \"number\"
[[device.point]]
id = \"frequency\"
topic = \"number\"
[[device.point]]
id = \"current\"
topic = \"lines\"
column = 3
[[device.point]]
id = \"power_factor\"
topic = \"lines\"
column = 2
[[device.point]]
id = \"apparent_power\"
topic = \"units\"
path = \"power.value\"
[[device]]
id = \"shared\"
link = \"broker\"
raw_forward = true
[[device.topic]]
filter = \"$share/gateways/s/{device}\"
[[device.point]]
id = \"active_power\"
path = \"v\"
";

fn park(text: &str) -> (Catalogue, LinkDevices) {
    let mut files = MemoryFiles::default();
    files.files.insert("main.toml".into(), text.to_owned());
    let loaded = load::<Nothing>(std::path::Path::new("main.toml"), &files).unwrap_or_else(|error| panic!("{error}"));
    let catalogue = loaded.draft.build(&mut MemoryRegistry::default()).unwrap();
    let devices = LinkDevices { link: Arc::clone(&catalogue.links[0]), devices: catalogue.devices.clone() };
    (catalogue, devices)
}

#[test]
fn every_kind_of_payload_gives_exact_readings() {
    let (catalogue, devices) = park(PARK);
    let DriverSettings::Mqtt(settings) = &devices.link.driver else { panic!("no mqtt") };
    let (health, metrics) = (HealthBoard::default(), Metrics::new(&Registry::new()));
    let mut gather = Gather::new(&devices, settings, &health, &metrics, UtcMillis(0));
    let messages = [
        ("p/acme/7/em/active_power", "12.50"),
        ("p/acme/7/em/energy_import", r#"{"value":"7.0","unit":"kWh"}"#),
        ("n/em/voltage", "230,10"),
        ("n/em/frequency", "50"),
        ("csv/em", "2026-11-23T08:00:00Z;0.99;5\r\n2026-11-23T08:00:01Z;0.98;6\r\n"),
        ("units/em", r#"{"rows":[{"power":{"value":1.5,"unit":"kVA"}},{"power":{"value":2,"unit":"kVA"}}]}"#),
        ("s/shared", r#"{"v":3}"#),
        ("csv/em", "2026-11-23T08:00:00Z;0.99;5\n2026-11-23T08:00:01Z;0.98;6\n2026-11-23T08:00:02Z;0.98;6\n"),
        ("n/em/unheard_of", "1"),
        ("p/acme/8/em/active_power", "1"),
        ("new/acme/em-9/data", r#"{"active_power":1}"#),
        ("new/acme/em-9/data", r#"{"active_power":2}"#),
    ];
    for (topic, payload) in messages {
        let incoming = Incoming {
            topic: topic.into(),
            payload: payload.into(),
            packet_id: 1,
            exactly_once: false,
            redelivered: false,
            retained: false,
        };
        gather.add(&incoming, UtcMillis(1_000));
    }
    let (batch, acks) = gather.take(&health, UtcMillis(1_000)).unwrap();
    assert_eq!(acks.len(), messages.len());
    let name = |reading: &Reading| catalogue.point(reading.point).unwrap().identity.stable_id.clone();
    let shown: Vec<String> = batch.readings.iter().map(name).zip(show(&batch)).map(|(name, shown)| format!("{name} {shown}\n")).collect();
    expect![[r#"
        acme/em/active_power 1=12.50
        acme/em/energy_import 2=7.0
        acme/em/voltage 3=230.10
        acme/em/frequency 4=50
        acme/em/power_factor 6=0.99@1795420800000
        acme/em/current 5=5@1795420800000
        acme/em/power_factor 6=0.98@1795420801000
        acme/em/current 5=6@1795420801000
        acme/em/apparent_power 7=1.5
        acme/em/apparent_power 7=2
        p/shared/active_power 8=3
    "#]]
    .assert_eq(&shown.concat());
    let rejected: Vec<(&str, &str)> = batch.rejected.iter().map(|rejected| (rejected.class, rejected.source.as_str())).collect();
    // What only `discover` hears is listed and not kept.
    assert_eq!(
        rejected,
        [("oversized", "broker csv/em"), ("unmapped", "broker n/em/unheard_of"), ("unmapped", "broker p/acme/8/em/active_power")]
    );
    let unknown: Vec<(String, u64)> = health.unknowns().list.into_iter().map(|unknown| (unknown.topic, unknown.count)).collect();
    assert_eq!(
        unknown,
        [("n/em/unheard_of".to_owned(), 1), ("new/acme/em-9/data".to_owned(), 2), ("p/acme/8/em/active_power".to_owned(), 1)]
    );
}

#[test]
fn what_is_subscribed_and_what_has_totals() {
    let (catalogue, _) = park(PARK);
    let mut filters: Vec<(&str, &str)> = Vec::new();
    for device in &catalogue.devices {
        let DeviceAddress::Mqtt(address) = &device.address else { panic!("no mqtt") };
        filters.extend(address.topics.iter().map(|topic| (topic.subscription.as_str(), topic.filter.as_str())));
        assert_eq!(device.address.has_totals(), device.id != "shared");
    }
    assert_eq!(
        filters,
        [
            ("p/acme/7/em/+", "p/acme/7/em/+"),
            ("n/em/+", "n/em/+"),
            ("csv/em", "csv/em"),
            ("units/em", "units/em"),
            ("p/acme/7/em/+", "p/acme/7/em/active_power"),
            ("p/acme/7/em/+", "p/acme/7/em/energy_import"),
            ("n/em/+", "n/em/voltage"),
            ("n/em/+", "n/em/frequency"),
            ("$share/gateways/s/shared", "s/shared"),
        ]
    );
}

/// Two gateways with one share of the topic: each message comes to one of them.
#[tokio::test]
async fn a_shared_topic_is_shared() {
    let broker = Broker::start("");
    let text =
        PARK.replace("host = \"127.0.0.1\"", &format!("host = \"127.0.0.1\"\nport = {}\nversion = 5\nclient_id = \"ID\"", broker.port));
    let mut gateways: Vec<Running> = ["one", "two"].map(|id| start_with(park(&text.replace("\"ID\"", &format!("\"{id}\""))).1)).into();
    for gateway in &mut gateways {
        gateway.link(true).await;
    }
    let messages: Vec<String> = (0..20).map(|number| format!("{{\"v\":{number}}}")).collect();
    broker.publish(&messages.iter().map(|text| ("s/shared", 1, text.as_str())).collect::<Vec<_>>()).await;
    let mut numbers = Vec::new();
    while numbers.len() < messages.len() {
        for gateway in &mut gateways {
            for mut batch in gateway.all_held().await {
                numbers.extend(show(&batch));
                batch.done.take().unwrap().send(Outcome::Durable).unwrap();
            }
        }
    }
    numbers.sort_by_key(|text| text.trim_start_matches("8=").parse::<u32>().unwrap());
    assert_eq!(numbers, (0..20).map(|number| format!("8={number}")).collect::<Vec<_>>());
    for gateway in gateways {
        gateway.stop().await;
    }
}

#[test]
fn unknown_devices_are_bounded() {
    let health = HealthBoard::default();
    for message in 0..1_000u32 {
        health.unknown("broker", &format!("t/{message}"), UtcMillis(i64::from(message)), || (String::new(), String::new()));
    }
    let unknowns = health.unknowns();
    assert_eq!((unknowns.list.len(), unknowns.others), (crate::health::UNKNOWN_MAX, 800));
}
