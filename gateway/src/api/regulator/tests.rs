use std::collections::BTreeSet;

use parkgate_collector::catalogue::{Catalogue, Enterprise};
use parkgate_collector::model::{Kind, Medium, Origin};
use parkgate_rules::emission::Outlet;
use serde_json::Value;

use super::super::fake::{NOW, Served, device, modbus_link, names, park, sample, start_of};
use super::super::tests::{Answer, send, send_bytes};
use super::*;
use crate::access::tokens::NewToken;
use crate::access::{Role, Scope};
use crate::report::package;

const ROUTE: &str = "/api/v1/regulator/emissions";
const ACCESSES: &str = "/api/v1/regulator/accesses";

fn catalogue() -> Catalogue {
    let line = modbus_link("line-1");
    let stack = |id: &str, enterprise: &str, number: u32| {
        let rows = [(number, "so2", "二氧化硫", "SO2", "so2_concentration", Medium::Emission, Kind::Gauge, "mg/Nm3", 1)];
        device(id, names("烟囱", "Stack"), Some(enterprise), &line, Origin::Metered, &rows)
    };
    let devices = vec![stack("acme/stack", "acme", 1), stack("bloom/stack", "bloom", 2)];
    let enterprises = ["acme", "bloom"].map(|id| Enterprise { id: id.into(), name: names(id, id) });
    park(enterprises.into(), vec![line], devices)
}

fn outlet(enterprise: &str) -> Outlet {
    let text = format!(
        r#"
        id = "{enterprise}-stack"
        enterprise = "{enterprise}"
        kind = "stack"
        [[factor]]
        id = "so2"
        source = {{ kind = "point", point = "{enterprise}/stack/so2", interval_ms = 60000 }}
        "#
    );
    toml::from_str(&text).unwrap()
}

async fn served() -> Served {
    let outlets = [outlet("acme"), outlet("bloom")];
    let served = start_of("127.0.0.1:0", catalogue(), (&outlets, &[]), None, "boot-1", false).await;
    // The two hours before the present one, a value each minute: 28.6 mg/m3.
    for minute in 0..120 {
        served.record.push(sample(1, NOW.plus(-7_445_678 + minute * 60_000), 286));
    }
    served
}

fn token(served: &Served, name: &str, role: Role, outlets: &[&str]) -> String {
    let outlets: BTreeSet<String> = outlets.iter().map(|id| (*id).to_owned()).collect();
    let new = NewToken { name: name.into(), role, scope: Scope { outlets, ..Scope::default() }, expires_at: None };
    served.tokens.create(new, NOW, "test").unwrap().1.reveal().to_owned()
}

fn request(line: &str, token: &str, more: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{more}\r\n")
}

async fn ask(served: &Served, path: &str, token: &str, more: &str) -> Answer {
    send(served, &request(&format!("GET {path}"), token, more)).await
}

#[test]
fn tags_are_compared_weakly() {
    for (wanted, matches) in
        [("*", true), ("W/\"a\"", true), ("\"a\"", true), ("\"b\", W/\"a\"", true), ("W/\"b\"", false), ("", false), ("a", false)]
    {
        assert_eq!(matches_tag(wanted, "W/\"a\""), matches, "{wanted}");
    }
}

/// 2026-01-02T11:04 in the park's zone: hours of that day, of which 9 and 10 have values.
#[tokio::test]
async fn a_summary_says_what_each_hour_is() {
    let served = served().await;
    let bureau = token(&served, "bureau", Role::Regulator, &["acme/stack"]);
    let path = format!("{ROUTE}?outlet=acme-stack&from=2026-01-02&to=2026-01-03");
    let answer = ask(&served, &path, &bureau, "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let summary: Value = serde_json::from_str(&answer.body).unwrap();
    let rows = summary["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 24);
    let nine = &rows[9];
    assert_eq!((&nine["start"], &nine["end"]), (&"2026-01-02T09:00:00+08:00".into(), &"2026-01-02T10:00:00+08:00".into()));
    // No limit: three decimals.
    assert_eq!(nine["average"], "28.600");
    assert!(nine["status"] == "not_judged" || nine["status"] == "open", "{nine}");
    assert!(rows[12..].iter().all(|row| row["status"] == "open" && row.get("average").is_none()), "{rows:?}");
    assert_eq!(summary["head"]["software"], "parkgate 1.2.3 (abc)");
    let parts = ["head", "above_limit_not_counted", "exceedances", "rows", "totals", "limits", "marks", "corrections"];
    let places: Vec<usize> = parts.iter().map(|part| answer.body.find(&format!("\n  \"{part}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let served = served().await;
    let bureau = token(&served, "bureau", Role::Regulator, &[]);
    let path = format!("{ROUTE}?outlet=acme-stack&from=2026-01-02&to=2026-01-03");
    let first = ask(&served, &path, &bureau, "").await;
    let tag = first.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().trim().to_owned();
    assert!(tag.starts_with("w/\"") && first.head.contains("cache-control: private, no-cache"), "{}", first.head);
    let tag = format!("If-None-Match: {}\r\n", tag.replacen("w/", "W/", 1));
    let again = ask(&served, &path, &bureau, &tag).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let head = send(&served, &request(&format!("HEAD {path}"), &bureau, "")).await;
    assert!(head.status == 200 && head.body.is_empty() && head.head.contains("etag: "), "{}", head.head);
    // One further value, one other summary.
    served.record.push(sample(1, NOW.plus(-10_000), 300));
    assert_eq!(ask(&served, &path, &bureau, &tag).await.status, 200);
}

#[tokio::test]
async fn a_regulator_sees_their_outlet_and_what_they_read_is_kept() {
    let served = served().await;
    let bureau = token(&served, "bureau", Role::Regulator, &["acme/stack"]);
    let boss = token(&served, "boss", Role::Admin, &[]);
    let theirs = format!("{ROUTE}?outlet=acme-stack&period=day");
    for (path, status) in [
        (theirs.clone(), 200),
        (format!("{ROUTE}?outlet=bloom-stack"), 404),
        (format!("{ROUTE}?outlet=acme-stack&from=yesterday"), 400),
        (format!("{ROUTE}?outlet=acme-stack&period=hour&from=2020-01-01&to=2026-01-01"), 400),
        (format!("{ROUTE}?outlet=acme-stack&more=1"), 400),
        ("/api/v1/latest".to_owned(), 200),
        ("/api/v1/latest".to_owned(), 200),
    ] {
        let answer = ask(&served, &path, &bureau, "").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(!answer.body.contains("bloom/"), "{path}: {}", answer.body);
    }
    assert_eq!(ask(&served, ACCESSES, &bureau, "").await.status, 403);
    // What others read is not kept.
    assert_eq!(ask(&served, &theirs, &boss, "").await.status, 200);
    let kept = ask(&served, ACCESSES, &boss, "").await;
    let kept: Value = serde_json::from_str(&kept.body).unwrap();
    let told: Vec<String> = kept["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap().to_owned();
            format!("{} {} {} {} {} {}", text("token"), text("outlet"), text("route"), one["status"], text("outcome"), text("counts_for"))
        })
        .collect();
    assert_eq!(
        told,
        [
            "bureau acme-stack /api/v1/regulator/emissions 200 given request",
            "bureau bloom-stack /api/v1/regulator/emissions 404 refused request",
            "bureau acme-stack /api/v1/regulator/emissions 400 refused request",
            "bureau acme-stack /api/v1/regulator/emissions 400 refused request",
            "bureau acme-stack /api/v1/regulator/emissions 400 refused request",
            "bureau  /api/v1/latest 200 given hour",
        ]
    );
    assert_eq!(kept["items"][0]["query"], "outlet=acme-stack&period=day");
    assert_eq!(kept["items"][0]["peer"], "127.0.0.1");
    let page = ask(&served, &format!("{ACCESSES}?limit=2&after={}", kept["items"][1]["id"]), &boss, "").await;
    let page: Value = serde_json::from_str(&page.body).unwrap();
    assert_eq!(page["items"][0]["id"], kept["items"][2]["id"]);
    assert_eq!(page["next"], kept["items"][3]["id"].to_string());
}

#[tokio::test]
async fn every_form_comes_as_what_it_is() {
    let served = served().await;
    let bureau = token(&served, "bureau", Role::Regulator, &[]);
    let path = |form: &str| format!("{ROUTE}?outlet=acme-stack&period=day&from=2026-01-01&to=2026-01-03&format={form}");
    for (form, media, how) in [
        ("csv", "text/csv; charset=utf-8; header=present", "attachment"),
        ("html", "text/html; charset=utf-8", "inline"),
        ("json", "application/json", "inline"),
    ] {
        let answer = ask(&served, &path(form), &bureau, "").await;
        assert_eq!(answer.status, 200, "{form}: {}", answer.body);
        assert!(answer.head.contains(&format!("content-type: {media}")), "{form}: {}", answer.head);
        let name = format!("content-disposition: {how}; filename=\"parkgate-emissions-acme-stack-day-2026-01-01.{form}\"");
        assert!(answer.head.contains(&name), "{form}: {}", answer.head);
        // The page may apply its own style and nothing else; other answers have the policy of all.
        assert_eq!(answer.head.matches("content-security-policy:").count(), 1);
        assert_eq!(answer.head.contains("style-src 'sha256-"), form == "html", "{form}: {}", answer.head);
    }
    let bytes = send_bytes(&served, &request(&format!("GET {}", path("package")), &bureau, "")).await;
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let key = ReportKey::of(served.data.path()).unwrap().public();
    let verified = package::verify(&bytes[head..], Some(&key)).unwrap();
    assert_eq!((verified.manifest.about.outlet.as_str(), verified.manifest.files.len()), ("acme-stack", 9));
    let bytes = send_bytes(&served, &request(&format!("GET {}", path("xlsx")), &bureau, "")).await;
    assert!(bytes.windows(4).any(|window| window == b"PK\x03\x04"));
}
