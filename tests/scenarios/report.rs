//! The emission summary on the demo: last month in every form, a package that verifies and does not after one changed
//! byte, a regulator who sees one outlet, and what is kept of that.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_tests::gateway::{Gateway, parkgate};
use parkgate_tests::wait_for;
use serde_json::Value;
use ureq::Agent;

/// Longest until emissions have been counted from what was filled in.
const COUNTED_LIMIT: Duration = Duration::from_secs(180);
/// Longest that a request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// Outlets of the demo and how many factors each has.
const OUTLETS: [(&str, usize); 2] = [("boiler-stack", 3), ("waste-water", 3)];
const ROUTE: &str = "/api/v1/regulator/emissions";

/// An answer: status, entity tag, policy for browsers, body.
struct Answer {
    status: u16,
    tag: Option<String>,
    policy: String,
    body: Vec<u8>,
}

fn get(demo: &Gateway, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let agent: Agent = Agent::config_builder().timeout_global(Some(REQUEST_LIMIT)).http_status_as_error(false).build().into();
    let mut request = agent.get(demo.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.call().with_context(|| path.to_owned())?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (tag, policy) = (header("etag"), header("content-security-policy").unwrap_or_default());
    let status = answer.status().as_u16();
    Ok(Answer { status, tag, policy, body: answer.body_mut().with_config().limit(256 << 20).read_to_vec()? })
}

/// Runs a command on the demo's directory.
fn command(demo: &Gateway, arguments: &[&str], code: i32) -> Result<String> {
    let config = format!("{}/../config/demo/parkgate.toml", env!("CARGO_MANIFEST_DIR"));
    let data = demo.data_directory().display().to_string();
    let finished = parkgate(&[arguments, &["--config", &config, "--data", &data]].concat())?;
    ensure!(finished.code == code, "{arguments:?} ended with {}:\n{}{}", finished.code, finished.stdout, finished.stderr);
    Ok(finished.stdout)
}

/// `parkgate verify`: its exit code and what it says.
fn verify(package: &Path, more: &[&str]) -> Result<(i32, String)> {
    let path = package.display().to_string();
    let finished = parkgate(&[&["verify", &path][..], more].concat())?;
    Ok((finished.code, format!("{}{}", finished.stdout, finished.stderr)))
}

/// Last month of every outlet in every form; who asks needs no token yet.
pub fn ask_all(demo: &Gateway) -> Result<()> {
    for (outlet, factors) in OUTLETS {
        let path = format!("{ROUTE}?outlet={outlet}&period=day");
        let summary = wait_for("a month of closed days", COUNTED_LIMIT, || {
            let summary = demo.get(&path)?;
            let rows = summary["rows"].as_array().context("no rows")?;
            Ok(rows.iter().all(|row| row["status"] != "open").then_some(summary.clone()))
        })
        .with_context(|| outlet.to_owned())?;
        let rows = summary["rows"].as_array().context("no rows")?;
        let days = rows.len() / factors;
        ensure!((28..=31).contains(&days) && rows.len() == days * factors, "{outlet}: {} rows", rows.len());
        // Every hour of the month is counted once.
        for total in summary["totals"].as_array().context("no totals")? {
            let hours: u64 = ["valid", "invalid", "missing", "stopped"].iter().filter_map(|class| total["hours"][class].as_u64()).sum();
            ensure!(hours == u64::try_from(days * 24)?, "{outlet}: {hours} hours in {days} days: {total}");
        }
        ensure!(rows.iter().any(|row| row["hours"]["valid"].as_u64() > Some(0)), "{outlet}: not one valid hour");
        ensure!(
            rows.iter().all(|row| row["judgements"] != Value::Array(Vec::new()) || row["status"] != "compliant"),
            "compliant without a limit"
        );
        by_command(demo, outlet, &summary)?;
        forms(demo, outlet)?;
    }
    not_changed(demo)?;
    packages(demo)
}

/// The command says the same beside the running gateway.
fn by_command(demo: &Gateway, outlet: &str, answered: &Value) -> Result<()> {
    let printed = command(demo, &["report", "emissions", "--outlet", outlet, "--period", "day"], 0)?;
    let mut printed: Value = serde_json::from_str(&printed)?;
    let mut answered = answered.clone();
    printed["head"]["made_at"] = Value::Null;
    answered["head"]["made_at"] = Value::Null;
    for part in ["head", "rows", "totals", "limits", "marks", "above_limit_not_counted"] {
        ensure!(printed[part] == answered[part], "{outlet}: {part} differs:\n{}\n{}", printed[part], answered[part]);
    }
    Ok(())
}

fn forms(demo: &Gateway, outlet: &str) -> Result<()> {
    for (form, beginning) in [("csv", &b"\xef\xbb\xbfhead,"[..]), ("xlsx", b"PK\x03\x04"), ("html", b"<!DOCTYPE html>")] {
        let answer = get(demo, &format!("{ROUTE}?outlet={outlet}&period=hour&format={form}"), &[])?;
        ensure!(answer.status == 200 && answer.body.starts_with(beginning), "{outlet} as {form}: {}", answer.status);
        if form == "html" {
            ensure!(answer.policy.contains("style-src 'sha256-") && !answer.policy.contains("'self'"), "{}", answer.policy);
            ensure!(!String::from_utf8_lossy(&answer.body).contains("<script"), "the page has a script");
        }
    }
    Ok(())
}

fn not_changed(demo: &Gateway) -> Result<()> {
    let path = format!("{ROUTE}?outlet=boiler-stack&period=month");
    let first = get(demo, &path, &[])?;
    let tag = first.tag.context("no entity tag")?;
    let again = get(demo, &path, &[("if-none-match", &tag)])?;
    ensure!(again.status == 304 && again.body.is_empty(), "{}: {}", again.status, String::from_utf8_lossy(&again.body));
    Ok(())
}

/// A package verifies by the park's key, and no more after one changed byte.
fn packages(demo: &Gateway) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("last-month.zip");
    let package = get(demo, &format!("{ROUTE}?outlet=boiler-stack&period=hour&format=package"), &[])?;
    ensure!(package.status == 200, "{}: {}", package.status, String::from_utf8_lossy(&package.body));
    fs::write(&file, &package.body)?;
    let printed = command(demo, &["report", "key"], 0)?;
    let key = printed.split_whitespace().last().context("no key")?;
    let (code, said) = verify(&file, &[])?;
    ensure!(code == 0 && said.contains("came with the package") && said.contains(key), "{code}: {said}");
    let (code, said) = verify(&file, &["--key", key])?;
    ensure!(code == 0 && said.contains("the one that was given"), "{code}: {said}");
    // Some other key, a point of the curve all the same: the one of RFC 8032, 7.1, test 1.
    let other = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let (code, said) = verify(&file, &["--key", other])?;
    ensure!(code == 1 && said.contains("manifest.json: signed with key"), "{code}: {said}");
    for part in [3, 2] {
        let mut changed = package.body.clone();
        let at = changed.len() / part;
        changed[at] ^= 1;
        fs::write(&file, &changed)?;
        let (code, said) = verify(&file, &["--key", key])?;
        ensure!(code == 1 && said.starts_with("BAD: summary."), "byte {at}: {code}: {said}");
    }
    // By command, without the gateway's help, it is signed with the same key.
    let (file, out) = (folder.path().join("by-command.zip"), folder.path().join("by-command.zip").display().to_string());
    let arguments = ["report", "emissions", "--outlet", "waste-water", "--period", "month", "--format", "package", "--out", &out];
    command(demo, &arguments, 0)?;
    let (code, said) = verify(&file, &["--key", key])?;
    ensure!(code == 0 && said.contains("waste-water"), "{code}: {said}");
    Ok(())
}

/// A regulator sees one outlet, and what they read is kept. From here on the demo is served to tokens only.
pub fn by_token(demo: &Gateway) -> Result<()> {
    let create = |name: &str, role: &str, more: &[&str]| {
        let printed = command(demo, &[&["token", "create", "--json", "--name", name, "--role", role], more].concat(), 0)?;
        let line: Value = serde_json::from_str(&printed)?;
        anyhow::Ok(format!("Bearer {}", line["token"].as_str().context("no token")?))
    };
    let regulator = create("bureau", "regulator", &["--outlet", "waste-water"])?;
    let admin = create("boss", "admin", &[])?;
    let ask = |path: &str, token: &str| get(demo, path, &[("authorization", token)]);
    let theirs = ask(&format!("{ROUTE}?outlet=waste-water&period=month"), &regulator)?;
    ensure!(theirs.status == 200, "{}: {}", theirs.status, String::from_utf8_lossy(&theirs.body));
    let hidden = ask(&format!("{ROUTE}?outlet=boiler-stack&period=month"), &regulator)?;
    ensure!(hidden.status == 404 && !String::from_utf8_lossy(&hidden.body).contains("`boiler-stack`?"), "{}", hidden.status);
    let not_theirs = ask("/api/v1/regulator/accesses", &regulator)?;
    ensure!(not_theirs.status == 403, "{}", not_theirs.status);
    for _ in 0..3 {
        ensure!(ask("/api/v1/latest", &regulator)?.status == 200);
    }
    let kept = ask("/api/v1/regulator/accesses", &admin)?;
    let kept: Value = serde_json::from_slice(&kept.body)?;
    let kept = kept["items"].as_array().context("no items")?;
    let told: Vec<(&str, &str, u64)> = kept
        .iter()
        .map(|one| {
            (
                one["outlet"].as_str().unwrap_or_default(),
                one["route"].as_str().unwrap_or_default(),
                one["status"].as_u64().unwrap_or_default(),
            )
        })
        .collect();
    ensure!(told == [("waste-water", ROUTE, 200), ("boiler-stack", ROUTE, 404), ("", "/api/v1/latest", 200)], "{told:?}");
    ensure!(kept.iter().all(|one| one["token"] == "bureau" && one["peer"] == "127.0.0.1"), "{kept:?}");
    let printed = command(demo, &["report", "accesses", "--json"], 0)?;
    let printed: Vec<Value> = printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(printed.len() == 3 && printed[0]["query"] == "outlet=waste-water&period=month", "{printed:?}");
    Ok(())
}
