//! Tests of the API over real sockets, with a record in memory.

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use parkgate_collector::health::State as HealthState;
use parkgate_collector::model::{Kind, Medium, Origin, Quality, Reason, Sample, Status, Step, UtcMillis};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::fake::{NOW, Served, device, modbus_link, names, park as park_of, sample, small_park, start};

/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

async fn served() -> Served {
    let served = start("127.0.0.1:0", small_park(), None, "boot-1").await;
    served.readiness.set("journal", Ok(()));
    served.health.device("acme/main", |health| health.ok(NOW.plus(-1_000), 2));
    served.health.link("line-1", |health| health.ok(NOW.plus(-1_000), 2));
    served.health.device("acme/gas", |health| health.error(NOW.plus(-60_000), HealthState::Down, "no message for 5 min"));
    served.health.link("broker", |health| health.error(NOW.plus(-60_000), HealthState::Down, "connection refused"));
    for (index, value) in [(3, 1_204), (2, 1_210), (1, 1_199)] {
        served.record.push(sample(1, NOW.plus(-10_000 * index), value));
    }
    served.record.push(Sample {
        status: Status::new(Quality::Good, Reason::None, Origin::Metered, Step::Delta),
        source_time: Some(NOW.plus(-2_000)),
        received_time: NOW.plus(-1_500),
        ..sample(2, NOW.plus(-2_000), 9_007_199_254_740_993)
    });
    served.record.push(Sample {
        status: Status::new(Quality::Bad, Reason::NotANumber, Origin::Simulated, Step::None).without_number(),
        ..sample(3, NOW.plus(-500), 0)
    });
    served
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub async fn send_bytes(served: &Served, request: &str) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        bytes
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap()
}

pub async fn send(served: &Served, request: &str) -> Answer {
    let text = String::from_utf8(send_bytes(served, request).await).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

pub async fn get(served: &Served, path: &str) -> Answer {
    send(served, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
}

async fn check(path: &str, expected: Expect) {
    let served = served().await;
    let answer = get(&served, path).await;
    let body: Value = serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body));
    expected.assert_eq(&format!("{} {}", answer.status, serde_json::to_string_pretty(&body).unwrap()));
}

#[tokio::test]
async fn park() {
    check(
        "/api/v1/park",
        expect![[r#"
        200 {
          "boot_id": "boot-1",
          "catalogue_version": "1f00c0de",
          "demo": false,
          "devices": 2,
          "enterprises": [
            {
              "id": "acme",
              "name": {
                "en": "Acme",
                "zh": "阿克米"
              }
            }
          ],
          "id": "north",
          "name": {
            "en": "North Low-Carbon Park",
            "zh": "北区低碳产业园"
          },
          "points": 4,
          "time": "2026-01-02T03:04:05.678Z",
          "time_zone": "Asia/Shanghai",
          "version": "1.2.3"
        }"#]],
    )
    .await;
}

#[tokio::test]
async fn devices_and_their_health() {
    check(
        "/api/v1/devices",
        expect![[r#"
        200 {
          "items": [
            {
              "address": "10.1.2.3:502 unit 7",
              "driver": "modbus_tcp",
              "enterprise": "acme",
              "health": {
                "doubt": null,
                "failed": 0,
                "last_error": null,
                "last_error_time": null,
                "last_ok": "2026-01-02T03:04:04.678Z",
                "received": 2,
                "rejected": 0,
                "since": "2026-01-02T03:04:04.678Z",
                "skipped": 0,
                "state": "up"
              },
              "id": "acme/main",
              "link": "line-1",
              "link_health": {
                "doubt": null,
                "failed": 0,
                "last_error": null,
                "last_error_time": null,
                "last_ok": "2026-01-02T03:04:04.678Z",
                "received": 2,
                "rejected": 0,
                "since": "2026-01-02T03:04:04.678Z",
                "skipped": 0,
                "state": "up"
              },
              "name": {
                "en": "Main meter",
                "zh": "总表"
              },
              "origin": "metered",
              "points": 2,
              "profile": null
            },
            {
              "address": "broker.park:1883 park/acme/gas/telemetry",
              "driver": "mqtt",
              "enterprise": "acme",
              "health": {
                "doubt": null,
                "failed": 1,
                "last_error": "no message for 5 min",
                "last_error_time": "2026-01-02T03:03:05.678Z",
                "last_ok": null,
                "received": 0,
                "rejected": 0,
                "since": "2026-01-02T03:03:05.678Z",
                "skipped": 0,
                "state": "down"
              },
              "id": "acme/gas",
              "link": "broker",
              "link_health": {
                "doubt": null,
                "failed": 1,
                "last_error": "connection refused",
                "last_error_time": "2026-01-02T03:03:05.678Z",
                "last_ok": null,
                "received": 0,
                "rejected": 0,
                "since": "2026-01-02T03:03:05.678Z",
                "skipped": 0,
                "state": "down"
              },
              "name": {
                "en": "Gas meter",
                "zh": "燃气表"
              },
              "origin": "simulated",
              "points": 2,
              "profile": null
            }
          ],
          "next": null
        }"#]],
    )
    .await;
    check(
        "/api/v1/devices?enterprise=nobody",
        expect![[r#"
            400 {
              "detail": "there is no enterprise `nobody`",
              "remedy": "GET /api/v1/park lists them",
              "status": 400,
              "title": "the query cannot be understood",
              "type": "urn:parkgate:problem:bad-query"
            }"#]],
    )
    .await;
    check(
        "/api/v1/devices/acme%2Fgas",
        expect![[r#"
        200 {
          "address": "broker.park:1883 park/acme/gas/telemetry",
          "driver": "mqtt",
          "enterprise": "acme",
          "health": {
            "doubt": null,
            "failed": 1,
            "last_error": "no message for 5 min",
            "last_error_time": "2026-01-02T03:03:05.678Z",
            "last_ok": null,
            "received": 0,
            "rejected": 0,
            "since": "2026-01-02T03:03:05.678Z",
            "skipped": 0,
            "state": "down"
          },
          "id": "acme/gas",
          "link": "broker",
          "link_health": {
            "doubt": null,
            "failed": 1,
            "last_error": "connection refused",
            "last_error_time": "2026-01-02T03:03:05.678Z",
            "last_ok": null,
            "received": 0,
            "rejected": 0,
            "since": "2026-01-02T03:03:05.678Z",
            "skipped": 0,
            "state": "down"
          },
          "name": {
            "en": "Gas meter",
            "zh": "燃气表"
          },
          "origin": "simulated",
          "point_list": [
            {
              "decimals": 3,
              "device": "acme/gas",
              "enterprise": "acme",
              "id": "acme/gas/volume",
              "interval_ms": 10000,
              "kind": "counter",
              "medium": "gas",
              "name": {
                "en": "Volume",
                "zh": "累计气量"
              },
              "origin": "simulated",
              "quantity": "gas_volume",
              "reference": null,
              "unit": "Nm3",
              "valid_max": null,
              "valid_min": null
            },
            {
              "decimals": 1,
              "device": "acme/gas",
              "enterprise": "acme",
              "id": "acme/gas/flow",
              "interval_ms": 10000,
              "kind": "gauge",
              "medium": "gas",
              "name": {
                "en": "Flow",
                "zh": "瞬时流量"
              },
              "origin": "simulated",
              "quantity": "gas_flow",
              "reference": null,
              "unit": "Nm3/h",
              "valid_max": null,
              "valid_min": "0"
            }
          ],
          "points": 2,
          "profile": null
        }"#]],
    )
    .await;
}

#[tokio::test]
async fn points_by_choice_and_in_parts() {
    check(
        "/api/v1/points?kind=counter&medium=power",
        expect![[r#"
        200 {
          "items": [
            {
              "decimals": 2,
              "device": "acme/main",
              "display": {
                "shift": 3,
                "unit": "MWh"
              },
              "enterprise": "acme",
              "id": "acme/main/energy",
              "interval_ms": 10000,
              "kind": "counter",
              "medium": "power",
              "name": {
                "en": "Energy import",
                "zh": "正向有功电能"
              },
              "origin": "metered",
              "quantity": "energy_import",
              "reference": null,
              "unit": "kWh",
              "valid_max": null,
              "valid_min": null
            }
          ],
          "next": null
        }"#]],
    )
    .await;
    let served = served().await;
    let mut found = Vec::new();
    let mut next = String::new();
    loop {
        let page: Value = serde_json::from_str(&get(&served, &format!("/api/v1/points?device=acme/gas&limit=1{next}")).await.body).unwrap();
        found.extend(page["items"].as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(after) => next = format!("&after={after}"),
            None => break,
        }
    }
    assert_eq!(found, ["acme/gas/volume", "acme/gas/flow"]);
}

#[tokio::test]
async fn latest_values_are_exact_and_tell_their_age() {
    check(
        "/api/v1/latest",
        expect![[r#"
        200 {
          "items": [
            {
              "age_ms": 10000,
              "point": "acme/main/power",
              "sample": {
                "origin": "metered",
                "quality": "good",
                "received_time": "2026-01-02T03:03:55.678Z",
                "record_time": "2026-01-02T03:03:55.678Z",
                "record_time_ms": 1767323035678,
                "source_time": null,
                "value": "119.9"
              }
            },
            {
              "age_ms": 2000,
              "point": "acme/main/energy",
              "sample": {
                "origin": "metered",
                "quality": "good",
                "received_time": "2026-01-02T03:04:04.178Z",
                "record_time": "2026-01-02T03:04:03.678Z",
                "record_time_ms": 1767323043678,
                "source_time": "2026-01-02T03:04:03.678Z",
                "step": "delta",
                "value": "90071992547409.93"
              }
            },
            {
              "age_ms": 500,
              "point": "acme/gas/volume",
              "sample": {
                "origin": "simulated",
                "quality": "bad",
                "reason": "not_a_number",
                "received_time": "2026-01-02T03:04:05.178Z",
                "record_time": "2026-01-02T03:04:05.178Z",
                "record_time_ms": 1767323045178,
                "source_time": null,
                "value": null
              }
            },
            {
              "age_ms": null,
              "point": "acme/gas/flow",
              "sample": null
            }
          ],
          "next": null
        }"#]],
    )
    .await;
    check(
        "/api/v1/latest?point=acme/gas/flow,acme/main/power&device=acme/main",
        expect![[r#"
        200 {
          "items": [
            {
              "age_ms": 10000,
              "point": "acme/main/power",
              "sample": {
                "origin": "metered",
                "quality": "good",
                "received_time": "2026-01-02T03:03:55.678Z",
                "record_time": "2026-01-02T03:03:55.678Z",
                "record_time_ms": 1767323035678,
                "source_time": null,
                "value": "119.9"
              }
            }
          ],
          "next": null
        }"#]],
    )
    .await;
}

#[tokio::test]
async fn samples_in_parts_are_all_samples() {
    check(
        "/api/v1/samples?point=acme/main/energy&from=-5s",
        expect![[r#"
        200 {
          "items": [
            {
              "origin": "metered",
              "quality": "good",
              "received_time": "2026-01-02T03:04:04.178Z",
              "record_time": "2026-01-02T03:04:03.678Z",
              "record_time_ms": 1767323043678,
              "source_time": "2026-01-02T03:04:03.678Z",
              "step": "delta",
              "value": "90071992547409.93"
            }
          ],
          "next": null
        }"#]],
    )
    .await;
    let served = served().await;
    // Two samples of one millisecond stay together even where the limit is 1.
    served.record.push(sample(1, NOW.plus(-20_000), 5));
    let mut found = Vec::new();
    let mut from = "-1h".to_owned();
    loop {
        let page: Value =
            serde_json::from_str(&get(&served, &format!("/api/v1/samples?point=acme/main/power&limit=1&from={from}")).await.body).unwrap();
        found.extend(page["items"].as_array().unwrap().iter().map(|sample| sample["value"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => from = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, ["120.4", "121.0", "0.5", "119.9"]);
}

#[tokio::test]
async fn an_answer_without_damaged_blocks_says_so() {
    let served = served().await;
    let samples = "/api/v1/samples?point=acme/main/power";
    let edges = format!("/api/v1/samples/buckets?point=acme/main/power&edges={},{}", NOW.0 - 30_000, NOW.0);
    for (damaged, told) in [(0, Value::Null), (2, Value::from(2))] {
        served.record.damage(damaged);
        for path in [samples, &edges] {
            let page: Value = serde_json::from_str(&get(&served, path).await.body).unwrap();
            assert_eq!(page["damaged_blocks"], told, "{path}");
            assert!(!page["items"].as_array().unwrap().is_empty());
        }
        let csv = get(&served, &format!("{samples}&format=csv")).await;
        assert_eq!(csv.head.contains("parkgate-damaged-blocks: 2"), damaged > 0, "{}", csv.head);
    }
}

#[tokio::test]
async fn buckets() {
    let path = format!("/api/v1/samples/buckets?point=acme/main/power&edges={},{},{}", NOW.0 - 30_000, NOW.0 - 10_000, NOW.0 - 9_000);
    check(
        &path,
        expect![[r#"
        200 {
          "items": [
            {
              "count": 2,
              "end_ms": 1767323035678,
              "first": {
                "time_ms": 1767323015678,
                "value": "120.4"
              },
              "last": {
                "time_ms": 1767323025678,
                "value": "121.0"
              },
              "max": "121.0",
              "mean": "120.7000",
              "min": "120.4",
              "samples": 2,
              "start": "2026-01-02T03:03:35.678Z",
              "start_ms": 1767323015678,
              "sum": "241.4"
            },
            {
              "count": 1,
              "end_ms": 1767323036678,
              "first": {
                "time_ms": 1767323035678,
                "value": "119.9"
              },
              "last": {
                "time_ms": 1767323035678,
                "value": "119.9"
              },
              "max": "119.9",
              "mean": "119.9000",
              "min": "119.9",
              "samples": 1,
              "start": "2026-01-02T03:03:55.678Z",
              "start_ms": 1767323035678,
              "sum": "119.9"
            }
          ],
          "next": null
        }"#]],
    )
    .await;
    let served = served().await;
    let answer = get(&served, "/api/v1/samples/buckets?point=acme/main/power&every=1d&from=2025-12-31T16:00:00Z").await;
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let counts: Vec<(&str, u64)> =
        body["items"].as_array().unwrap().iter().map(|row| (row["start"].as_str().unwrap(), row["count"].as_u64().unwrap())).collect();
    assert_eq!(counts, [("2025-12-31T16:00:00.000Z", 0), ("2026-01-01T16:00:00.000Z", 3)]);
}

#[tokio::test]
async fn problems_say_what_to_do() {
    for (path, expected) in [
        (
            "/api/v1/samples?point=acme/main/powr",
            expect![[r#"
            404 urn:parkgate:problem:unknown-point
            there is no point `acme/main/powr` in the running configuration
            did you mean `acme/main/power`? GET /api/v1/points lists all"#]],
        ),
        (
            "/api/v1/samples?point=acme/main/power&form=-1h",
            expect![[r#"
            400 urn:parkgate:problem:bad-query
            unknown parameter `form`
            did you mean `from`? parameters are: point, from, to, limit, format"#]],
        ),
        (
            "/api/v1/samples",
            expect![[r#"
            400 urn:parkgate:problem:bad-query
            missing field `point`
            parameters are: point, from, to, limit, format"#]],
        ),
        (
            "/api/v1/samples?point=acme/main/power&from=yesterday",
            expect![[r#"
            400 urn:parkgate:problem:bad-query
            `from=yesterday` is not a time
            write RFC 3339 (2026-11-23T08:00:00+08:00), milliseconds since 1970, `now`, or a time back from now (-90s, -15m, -24h, -7d)"#]],
        ),
        (
            "/api/v1/samples?point=acme/main/power&limit=0",
            expect![[r#"
            400 urn:parkgate:problem:bad-query
            `limit=0` is out of bounds
            from 1 to 100000; follow `next` for more"#]],
        ),
        (
            "/api/v1/samples?point=acme/main/power&from=now&to=-1h",
            expect![[r#"
            400 urn:parkgate:problem:bad-query
            `from` (2026-01-02T03:04:05.678Z) is after `to` (2026-01-02T02:04:05.678Z)
            swap them, or give both"#]],
        ),
        (
            "/api/v1/points?medium=coffee",
            expect![[r#"
            400 urn:parkgate:problem:bad-query
            medium: unknown variant `coffee`, expected one of `power`, `gas`, `water`, `heat`, `emission`, `charging`, `fire_water`, `flood_level`, `rain`, `communications`, `data_centre`, `gateway`
            parameters are: device, enterprise, medium, kind, limit, after"#]],
        ),
        (
            "/api/v1/samples/buckets?point=acme/gas/flow",
            expect![[r#"
            500 urn:parkgate:problem:internal
            the gateway could not read its record
            the gateway's log says what happened"#]],
        ),
        (
            "/api/v1/devices/nothing-like-it",
            expect![[r#"
            404 urn:parkgate:problem:unknown-device
            there is no device `nothing-like-it` in the running configuration
            GET /api/v1/devices lists all"#]],
        ),
        (
            "/api/v1/park?verbose=1",
            expect![[r#"
            400 urn:parkgate:problem:bad-query
            unknown parameter `verbose`
            this address takes no parameters"#]],
        ),
        (
            "/api/v2",
            expect![[r#"
            404 urn:parkgate:problem:no-route
            nothing is served at `/api/v2`
            GET /api/v1/openapi.json lists what is served"#]],
        ),
    ] {
        let served = served().await;
        let answer = get(&served, path).await;
        assert!(answer.head.contains("content-type: application/problem+json"), "{path}: {}", answer.head);
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["status"], answer.status);
        let part = |name: &str| problem[name].as_str().unwrap().to_owned();
        expected.assert_eq(&format!("{} {}\n{}\n{}", answer.status, part("type"), part("detail"), part("remedy")));
    }
}

#[tokio::test]
async fn only_get_is_taken() {
    let served = served().await;
    let answer = send(&served, "DELETE /api/v1/park HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("application/problem+json") && answer.head.contains("allow: get"), "{}", answer.head);
}

#[tokio::test]
async fn a_foreign_host_is_refused_everywhere() {
    let served = served().await;
    for (host, status) in [
        ("Host: localhost\r\n", 200),
        ("Host: LOCALHOST:8080\r\n", 200),
        ("Host: 127.0.0.1:1\r\n", 200),
        ("Host: [::1]:8080\r\n", 200),
        ("Host: park.example:8080\r\n", 200),
        ("Host: evil.example\r\n", 421),
        ("Host: localhost.evil.example\r\n", 421),
        ("Host: 10.0.0.1\r\n", 421),
        ("Host: \r\n", 421),
        ("Host: localhost\r\nHost: evil.example\r\n", 421),
        ("", 421),
    ] {
        for path in ["/livez", "/", "/nowhere"] {
            let expected = if status == 200 && path == "/nowhere" { 404 } else { status };
            let answer = send(&served, &format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n")).await;
            assert_eq!(answer.status, expected, "{path} {host}");
            assert!(answer.head.contains("content-security-policy: default-src 'self'"), "{path} {host}: {}", answer.head);
        }
    }
    let answer = send(&served, "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!(answer.status, 421);
}

#[tokio::test]
async fn probes() {
    let served = served().await;
    assert_eq!(get(&served, "/livez").await.body, "ok\n");
    assert_eq!((get(&served, "/readyz").await.status, get(&served, "/readyz").await.body.as_str()), (200, "ready\n"));
    served.readiness.set("history", Err("read-only file system".into()));
    let answer = get(&served, "/readyz?verbose").await;
    assert_eq!(answer.status, 503);
    expect![[r#"
        [-] history failed: read-only file system
        [+] journal ok
        [~] link broker down since 2026-01-02T03:03:05.678Z: connection refused
        [+] link line-1 up since 2026-01-02T03:04:04.678Z
        not ready
    "#]]
    .assert_eq(&answer.body);
}

#[tokio::test]
async fn metrics_are_in_the_text_format() {
    let served = served().await;
    get(&served, "/api/v1/devices/acme%2Fgas").await;
    let answer = get(&served, "/metrics").await;
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("parkgate_") && value.parse::<f64>().is_ok(), "{line}");
    }
    for line in [
        "parkgate_http_requests_total{route=\"/api/v1/devices/{id}\",status=\"200\"} 1",
        "parkgate_build_info{commit=\"abc\",version=\"1.2.3\"} 1",
        "# HELP parkgate_http_requests_total Requests answered, by route pattern and status code.",
    ] {
        assert!(answer.body.lines().any(|other| other == line), "{line} is not in {}", answer.body);
    }
}

/// Reads from an open event stream until `text` was seen; gives all that was read.
pub async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = String::new();
    let reading = async {
        while !all.contains(text) {
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "the stream ended before {text}: {all}");
            all.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no {text}"));
    all
}

#[tokio::test]
async fn a_stream_starts_with_everything_tells_changes_and_ends_on_stop() {
    let served = served().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let first = read_until(&mut stream, "event: stats").await;
    assert!(first.contains("content-type: text/event-stream"), "{first}");
    let order: Vec<&str> = first.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(order, ["hello", "health", "latest", "stats"]);
    assert!(first.contains("\"boot_id\":\"boot-1\"") && first.contains("retry: 2000"), "{first}");
    assert!(first.contains("\"acme/main/power\"") && first.contains("\"119.9\""), "{first}");

    served.record.push(sample(1, NOW, 4_242));
    read_until(&mut stream, "\"424.2\"").await;
    served.health.device("acme/main", |health| health.error(NOW, HealthState::Degraded, "exception 2 at 4001"));
    read_until(&mut stream, "exception 2 at 4001").await;

    served.cancel.cancel();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the stream ends").unwrap();
    tokio::time::timeout(PATIENCE, served.task).await.expect("the server stops").unwrap().unwrap();
}

#[tokio::test]
async fn streams_are_bounded() {
    let served = served().await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        read_until(&mut stream, "event: hello").await;
        streams.push(stream);
    }
    assert_eq!(get(&served, "/api/v1/stream").await.status, 503);
}

#[tokio::test]
async fn openapi_describes_every_route() {
    let document: Value = serde_json::from_str(&get(&served().await, "/api/v1/openapi.json").await.body).unwrap();
    let described: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for (path, _, _) in super::routes() {
        let is_page = ["/", "/app.js", "/style.css", "/texts.json", "/favicon.svg"].contains(&path);
        // Those under `/prometheus` are described by Prometheus.
        assert_eq!(described.contains(&path), !is_page && !path.starts_with("/prometheus/"), "{path}");
    }
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    for (path, is_open) in [("/livez", true), ("/readyz", true), ("/metrics", false), ("/api/v1/points", false)] {
        assert_eq!(document["paths"][path]["get"]["security"].is_array(), is_open, "{path}");
    }
    for reference in document.to_string().split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is referred to but not there");
    }
}

#[tokio::test]
async fn page_files_are_revalidated_and_load_nothing_from_elsewhere() {
    let served = served().await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/texts.json", "application/json"),
        ("/favicon.svg", "image/svg+xml"),
    ] {
        let answer = get(&served, path).await;
        assert!(answer.head.contains(&format!("content-type: {content_type}")), "{path}: {}", answer.head);
        assert!(!answer.body.replace("http://www.w3.org/", "").contains("://"), "{path} names another place");
        let tag = answer.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\nConnection: close\r\n\r\n");
        assert_eq!(send(&served, &request).await.status, 304, "{path}");
    }
}

#[test]
fn page_texts_are_complete_in_both_languages() {
    let texts: Value = serde_json::from_str(include_str!("../../web/texts.json")).unwrap();
    let keys = |language: &str| texts[language].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys("zh"), keys("en"));
    let html = include_str!("../../web/index.html");
    assert!(!html.contains("<script>") && !html.contains(" style=") && !html.contains(" onclick="), "inline code is blocked by the policy");
    let script = include_str!("../../web/app.js");
    let mut used: Vec<&str> = html.split("data-text=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    used.extend(script.split("text(\"").skip(1).filter_map(|rest| rest.split('"').next()));
    for key in used {
        assert!(texts["zh"][key].is_string(), "`{key}` is used, but texts.json does not have it");
    }
    let all_named = |prefix: &str, names: Vec<&str>| {
        for name in names {
            assert!(texts["zh"][format!("{prefix}{name}")].is_string(), "{prefix}{name} has no text");
        }
    };
    all_named("device_", vec!["up", "degraded", "down", "unknown"]);
    all_named("devices_", vec!["degraded", "down", "unknown"]);
    all_named("values_", vec!["bad", "uncertain", "stale", "none"]);
    all_named("quality_", vec!["stale", "none"]);
    all_named("quality_", Quality::ALL.iter().map(|value| value.name()).collect());
    all_named("reason_", Reason::ALL.iter().map(|value| value.name()).collect());
    all_named("role_", ["viewer", "operator", "reviewer", "regulator", "admin"].into());
    let verdicts = ["rollover", "reset", "old_wrong", "new_wrong"];
    all_named("meter_means_", verdicts.into());
    all_named("meter_kind_", [&verdicts[..], &["exchange", "error", "reading"]].concat());
    all_named("medium_", Medium::ALL.iter().map(|value| value.name()).collect());
}

/// Two gates and a meter behind them. At midnight in Shanghai the gates stood at 100.00 and 10.00 kWh, now at 112.50 and
/// 11.25: 12.50 + 1.25 = 13.75 since then. The meter behind counted 5 kWh, which are in that already.
#[tokio::test]
async fn todays_totals_are_over_gates_only() {
    let energy = |id| [(id, "energy", "正向有功电能", "Energy import", "energy_import", Medium::Power, Kind::Counter, "kWh", 2)];
    let line = modbus_link("line-1");
    let meter = |name: &str, id, role: &str| {
        let mut device = device(name, names(name, name), None, &line, Origin::Metered, &energy(id));
        let points = &mut Arc::get_mut(&mut device).unwrap().points;
        Arc::get_mut(&mut points[0]).unwrap().role = Some(role.into());
        device
    };
    let devices = vec![meter("gate-1", 1, "gate"), meter("gate-2", 2, "gate"), meter("hall", 3, "sub")];
    let served = start("127.0.0.1:0", park_of(Vec::new(), vec![line.clone()], devices), None, "boot-1").await;
    let midnight = UtcMillis(1_767_283_200_000);
    for (point, time, register) in [
        (1, midnight, 10_000),
        (1, NOW.plus(-2_000), 11_250),
        (2, midnight, 1_000),
        (2, NOW.plus(-5_000), 1_125),
        (3, midnight, 0),
        (3, NOW.plus(-1_000), 500),
    ] {
        served.record.push(sample(point, time, register));
    }
    let answer = get(&served, "/api/v1/totals/today").await;
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    expect![[r#"
        {
          "items": [
            {
              "age_ms": 5000,
              "completeness_ppm": 0,
              "counted": 2,
              "display": {
                "shift": 3,
                "unit": "MWh"
              },
              "doubtful": false,
              "gates": 2,
              "medium": "power",
              "name": {
                "en": "Electricity",
                "zh": "用电"
              },
              "quality": "good",
              "quantity": "energy_import",
              "unit": "kWh",
              "value": "13.75"
            }
          ],
          "start": "2026-01-01T16:00:00.000Z",
          "time": "2026-01-02T03:04:05.678Z"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&body).unwrap());
    let nothing = get(&self::served().await, "/api/v1/totals/today").await;
    assert!(nothing.body.contains(r#""items":[]"#), "{}", nothing.body);
}

/// Two gates of one quantity and unit: 12.50 m3 of water and 1.25 m3 of gas since midnight, which never become 13.75.
#[tokio::test]
async fn todays_totals_are_apart_for_each_medium() {
    let line = modbus_link("line-1");
    let gate = |name: &str, id, medium| {
        let volume = [(id, "volume", "累计量", "Volume", "volume", medium, Kind::Counter, "m3", 2)];
        let mut device = device(name, names(name, name), None, &line, Origin::Metered, &volume);
        let points = &mut Arc::get_mut(&mut device).unwrap().points;
        Arc::get_mut(&mut points[0]).unwrap().role = Some("gate".into());
        device
    };
    let devices = vec![gate("gate-1", 1, Medium::Water), gate("gate-2", 2, Medium::Gas)];
    let served = start("127.0.0.1:0", park_of(Vec::new(), vec![line.clone()], devices), None, "boot-1").await;
    let midnight = UtcMillis(1_767_283_200_000);
    for (point, before, after) in [(1, 10_000, 11_250), (2, 1_000, 1_125)] {
        served.record.push(sample(point, midnight, before));
        served.record.push(sample(point, NOW.plus(-2_000), after));
    }
    let body: Value = serde_json::from_str(&get(&served, "/api/v1/totals/today").await.body).unwrap();
    let items = body["items"].as_array().unwrap().iter();
    let told: Vec<_> = items.map(|item| (item["medium"].as_str(), item["value"].as_str(), item["gates"].as_u64())).collect();
    assert_eq!(told, [(Some("water"), Some("12.50"), Some(1)), (Some("gas"), Some("1.25"), Some(1))]);
}
