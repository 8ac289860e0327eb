//! Who may come in: tokens made and revoked while the gateway runs, the network served to tokens only, certificates
//! changed without a restart.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use parkgate_tests::gateway::{Gateway, parkgate};
use parkgate_tests::{Stopwatch, wait_for};
use serde_json::Value;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Longest that a change may take to count.
const LIMIT: Duration = Duration::from_secs(15);

/// Two enterprises' meters behind a broker that is not there: their values are imported.
const CONFIG: &str = r#"
[park]
id = "park"
name = "Park"

[[enterprise]]
id = "acme"
name = "Acme"

[[enterprise]]
id = "bloom"
name = "Bloom"

[[link]]
id = "broker"
driver = "mqtt"
host = "127.0.0.1"
port = 9
username = "reader"
password = "hush-hush"

[[device]]
id = "acme-main"
enterprise = "acme"
link = "broker"
[[device.topic]]
filter = "meters/acme-main"
[[device.point]]
id = "active_power"
path = "power"

[[device]]
id = "bloom-main"
enterprise = "bloom"
link = "broker"
[[device.topic]]
filter = "meters/bloom-main"
[[device.point]]
id = "active_power"
path = "power"
"#;

fn command(gateway: &Gateway, arguments: &[&str], code: i32) -> Result<String> {
    let config = gateway.config();
    let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    all.extend([OsStr::new("--config"), config.as_os_str()]);
    let finished = parkgate(&all)?;
    ensure!(finished.code == code, "{arguments:?} ended with {}:\n{}{}", finished.code, finished.stdout, finished.stderr);
    Ok(format!("{}{}", finished.stdout, finished.stderr))
}

/// Makes a token: its text.
fn create(gateway: &Gateway, name: &str, role: &str, more: &[&str]) -> Result<String> {
    let printed = command(gateway, &[&["token", "create", "--json", "--name", name, "--role", role], more].concat(), 0)?;
    let line: Value = serde_json::from_str(&printed)?;
    ensure!(line["name"] == name && line["role"] == role && line["state"] == "in_force", "{line}");
    Ok(line["token"].as_str().context("no token")?.to_owned())
}

fn json_lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

fn agent() -> Agent {
    Agent::config_builder().timeout_global(Some(LIMIT)).http_status_as_error(false).build().into()
}

/// Status and body of a request, with a token where there is one and further headers.
fn get(url: &str, token: Option<&str>, headers: &[(&str, &str)]) -> Result<(u16, String)> {
    let mut request = agent().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut answer = request.call().with_context(|| url.to_owned())?;
    ensure!(answer.status() != 401 || answer.headers().contains_key("www-authenticate"), "{url}: a 401 without a challenge");
    Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
}

#[test]
fn tokens_count_as_soon_as_they_are_made_and_no_longer_than_until_they_are_revoked() -> Result<()> {
    let _stopwatch = Stopwatch::start("access: tokens");
    let mut gateway = Gateway::start(CONFIG)?;
    let points = gateway.url("/api/v1/points");
    let status = |url: &str, token: Option<&str>| get(url, token, &[]).map(|(status, _)| status);

    // Nobody made a token: this machine is served, what a proxy passes on is not.
    ensure!(status(&points, None)? == 200, "the loopback is closed before there is any token");
    ensure!(get(&points, None, &[("x-forwarded-for", "192.0.2.7")])?.0 == 401, "a forwarded request is let in");

    // Both enterprises have values: who sees everything is shown both by the query API.
    import_values(&gateway)?;
    wait_for("the imported values", LIMIT, || {
        let (_, shown) = get(&gateway.url(QUERIES[0]), None, &[])?;
        Ok((shown.contains("acme-main") && shown.contains("bloom-main")).then_some(()))
    })?;

    let viewer = create(&gateway, "grafana", "viewer", &["--enterprise", "acme"])?;
    ensure!(viewer.starts_with("pkg_") && viewer.len() == 68, "{viewer}");
    command(&gateway, &["token", "create", "--name", "x", "--role", "viewer", "--enterprise", "nobody"], 2)?;
    command(&gateway, &["token", "create", "--name", "grafana", "--role", "viewer"], 2)?;
    ensure!(status(&points, None)? == 401, "the loopback stays open although there is a token");
    let (code, seen) = get(&points, Some(&viewer), &[])?;
    ensure!(code == 200 && seen.contains("acme-main/active_power"), "{code} {seen}");
    ensure!(!seen.contains("bloom"), "{seen}");
    for query in QUERIES {
        ensure!(status(&gateway.url(query), None)? == 401, "{query} is answered without a token");
        let (code, seen) = get(&gateway.url(query), Some(&viewer), &[])?;
        ensure!(code == 200 && seen.contains("acme-main/active_power") && !seen.contains("bloom"), "{query}: {code} {seen}");
    }
    for (path, expected) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/", 200),
        ("/readyz?verbose", 403),
        ("/metrics", 403),
        ("/api/v1/devices/bloom-main", 404),
        ("/api/v1/devices/acme-main", 200),
    ] {
        ensure!(status(&gateway.url(path), Some(&viewer))? == expected, "{path} is not answered {expected}");
    }
    let admin = create(&gateway, "admin", "admin", &[])?;
    let (code, metrics) = get(&gateway.url("/metrics"), Some(&admin), &[])?;
    ensure!(code == 200 && metrics.contains("parkgate_http_refused_total{reason=\"no_token\"}"), "{code} {metrics}");

    // The page's way: the token in a cookie that scripts cannot read.
    let answer = agent().post(gateway.url("/api/v1/session")).header("authorization", format!("Bearer {viewer}")).send_empty()?;
    let cookie = answer.headers().get("set-cookie").context("no cookie")?.to_str()?.to_owned();
    ensure!(cookie.contains("; HttpOnly; SameSite=Strict") && !cookie.contains("Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap_or_default().to_owned();
    ensure!(get(&points, None, &[("cookie", &pair)])?.0 == 200, "the cookie does not count");

    // An open stream ends with its token.
    let mut stream = agent().get(gateway.url("/api/v1/stream")).header("cookie", &pair).call()?.into_body().into_reader();
    let mut begin = [0; 32];
    stream.read_exact(&mut begin)?;
    let revoked = Instant::now();
    let said = command(&gateway, &["token", "revoke", "grafana"], 0)?;
    ensure!(said.contains("is revoked"), "{said}");
    ensure!(status(&points, Some(&viewer))? == 401, "a revoked token is let in");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    ensure!(revoked.elapsed() < Duration::from_secs(10), "the stream of a revoked token went on for {:?}", revoked.elapsed());
    command(&gateway, &["token", "revoke", "grafana"], 2)?;

    ensure!(gateway.stop()?.success(), "did not stop cleanly");
    // With no gateway running the commands do it themselves.
    let operator = create(&gateway, "night-shift", "operator", &["--expires", "2099-01-31"])?;
    command(&gateway, &["token", "revoke", "admin"], 0)?;
    gateway.restart()?;
    ensure!(status(&points, Some(&operator))? == 200 && status(&points, Some(&admin))? == 401, "what was done meanwhile does not count");
    let listed = json_lines(&command(&gateway, &["token", "list", "--json"], 0)?)?;
    let told: Vec<_> = listed.iter().map(|token| (token["name"].as_str(), token["state"].as_str())).collect();
    ensure!(
        told == [(Some("grafana"), Some("revoked")), (Some("admin"), Some("revoked")), (Some("night-shift"), Some("in_force"))],
        "{told:?}"
    );
    ensure!(listed[2]["expires_at"] == "2099-01-30T16:00:00.000Z" && listed[0]["last_used_at"] != Value::Null, "{listed:?}");

    // Another configuration is a change too.
    ensure!(gateway.stop()?.success(), "did not stop cleanly");
    gateway.configure(&CONFIG.replace("\"Bloom\"", "\"Blossom\""))?;
    gateway.restart()?;
    let changes = json_lines(&command(&gateway, &["changes", "list", "--json"], 0)?)?;
    let told: Vec<_> = changes.iter().filter_map(|change| change["what"].as_str()).collect();
    ensure!(
        told == [
            "configuration_changed",
            "token_created",
            "token_created",
            "token_revoked",
            "token_created",
            "token_revoked",
            "configuration_changed"
        ],
        "{told:?}"
    );
    let user = user()?;
    let by_sudo = format!("{user} (sudo by ");
    let is_ours = |change: &Value| change["who"].as_str().is_some_and(|who| who == user || who.starts_with(&by_sudo));
    ensure!(changes.iter().all(is_ours), "not all by {user}: {changes:?}");
    let (first, last) = (&changes[0], &changes[6]);
    ensure!(first["new"].as_str().is_some_and(|text| text.contains("link[broker].password = \"****\"")), "{first}");
    ensure!(last["old"] == "parkgate.toml: enterprise[bloom].name = \"Bloom\"", "{last}");
    ensure!(last["new"] == "parkgate.toml: enterprise[bloom].name = \"Blossom\"", "{last}");
    gateway.stop()?;
    for secret in [viewer.as_str(), &admin, &operator, "hush-hush"] {
        nowhere(gateway.data_directory(), secret)?;
        ensure!(!std::fs::read_to_string(gateway.log())?.contains(secret), "a secret is in the log");
    }
    Ok(())
}

/// What Grafana asks for all series, by every label: values, and which there are.
const QUERIES: [&str; 4] = [
    "/prometheus/api/v1/query?query=%7Bpoint!%3D%22%22%7D",
    "/prometheus/api/v1/query?query=%7Benterprise%3D~%22acme%7Cbloom%22%7D",
    "/prometheus/api/v1/series?match%5B%5D=%7Bpoint!%3D%22%22%7D",
    "/prometheus/api/v1/series?match%5B%5D=%7Benterprise%3D~%22acme%7Cbloom%22%7D",
];

/// A value of each meter, a moment ago.
fn import_values(gateway: &Gateway) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("values.csv");
    let time_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() - 5_000;
    let rows = format!("acme/acme-main/active_power,{time_ms},11.5\nbloom/bloom-main/active_power,{time_ms},22.5\n");
    std::fs::write(&file, format!("point,time_ms,value\n{rows}"))?;
    command(gateway, &["import", &file.display().to_string()], 0)?;
    Ok(())
}

/// Name of the user that runs this test, and so the commands; its number where it has none.
fn user() -> Result<String> {
    let asked = |option: &str| -> Result<Option<String>> {
        let output = Command::new("id").arg(option).output().context("id")?;
        Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    };
    match asked("-un")? {
        Some(name) => Ok(name),
        None => Ok(format!("uid {}", asked("-u")?.context("id tells no number")?)),
    }
}

/// No file below `folder` holds `secret`.
fn nowhere(folder: &Path, secret: &str) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            nowhere(&path, secret)?;
        } else if path.is_file() {
            let bytes = std::fs::read(&path)?;
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            ensure!(!found, "{} holds a secret", path.display());
        }
    }
    Ok(())
}

#[test]
fn the_network_is_served_to_tokens_only() -> Result<()> {
    let _stopwatch = Stopwatch::start("access: network");
    let mut gateway = Gateway::prepare(None)?;
    gateway.configure_http(CONFIG, "0.0.0.0", "")?;
    gateway.restart()?;
    let url = |path: &str| gateway.url(path);
    for (path, expected) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/app.js", 200),
        ("/readyz?verbose", 401),
        ("/metrics", 401),
        ("/api/v1/session", 401),
        ("/api/v1/points", 401),
        ("/api/v1/openapi.json", 401),
        ("/api/v1/stream", 401),
    ] {
        ensure!(get(&url(path), None, &[])?.0 == expected, "{path} is not answered {expected} without any token in existence");
    }
    let token = create(&gateway, "board", "viewer", &[])?;
    ensure!(get(&url("/api/v1/points"), Some(&token), &[])?.0 == 200, "a token is not let in");
    // Wrong ones are slowed down; a right one is let in beside them.
    let wrong = format!("pkg_{}", "0".repeat(64));
    let mut answers = Vec::new();
    for _ in 0..15 {
        answers.push(get(&url("/api/v1/points"), Some(&wrong), &[])?.0);
    }
    ensure!(answers[..10].iter().all(|&status| status == 401) && answers[11..].iter().all(|&status| status == 429), "{answers:?}");
    ensure!(get(&url("/api/v1/points"), Some(&token), &[])?.0 == 200, "a right token is locked out");
    let log = std::fs::read_to_string(gateway.log())?;
    ensure!(log.contains("unencrypted") && log.contains("token refused"), "the log does not tell");
    ensure!(!log.contains(&wrong) && !log.contains(&token), "a token is in the log");
    gateway.stop()?;
    Ok(())
}

/// A certificate for this machine, written with its key as PEM; what trusts it and nothing else.
fn certificate(folder: &Path) -> Result<Agent> {
    let key = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
    parameters.not_after = rcgen::date_time_ymd(2096, 1, 1);
    let certificate = parameters.self_signed(&key)?;
    for (name, text) in [("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())] {
        let beside = folder.join(format!("{name}.new"));
        std::fs::write(&beside, text)?;
        std::fs::rename(beside, folder.join(name))?;
    }
    let roots = RootCerts::Specific(Arc::new(vec![Certificate::from_der(certificate.der()).to_owned()]));
    let tls = TlsConfig::builder().root_certs(roots).build();
    Ok(Agent::config_builder().timeout_global(Some(LIMIT)).http_status_as_error(false).tls_config(tls).build().into())
}

#[test]
fn certificates_are_changed_without_a_restart() -> Result<()> {
    let _stopwatch = Stopwatch::start("access: certificates");
    let folder = tempfile::tempdir()?;
    let mut gateway = Gateway::prepare(None)?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let http = format!("tls_certificate = {:?}\ntls_key = {:?}\n", at("cert.pem"), at("key.pem"));
    gateway.configure_http(CONFIG, "127.0.0.1", &http)?;
    // Without the files there is no start, and it is told why.
    gateway.spawn()?;
    let ended = wait_for("end of a gateway without certificate", LIMIT, || gateway.ended())?;
    ensure!(ended.code() == Some(2) && std::fs::read_to_string(gateway.log())?.contains("cert.pem"), "{ended}");
    gateway.forget();

    let first = certificate(folder.path())?;
    gateway.spawn()?;
    let url = format!("https://localhost:{}/metrics", gateway.port());
    let metrics = |agent: &Agent| -> Option<String> { agent.get(&url).call().ok()?.body_mut().read_to_string().ok() };
    let text = wait_for("an answer over TLS", LIMIT, || Ok(metrics(&first)))?;
    ensure!(text.contains("parkgate_build_info"), "{text}");
    ensure!(gateway.get_text("/livez").is_err(), "answers without TLS");
    let answer = first.delete(format!("https://localhost:{}/api/v1/session", gateway.port())).call()?;
    let cookie = answer.headers().get("set-cookie").context("no cookie")?.to_str()?;
    ensure!(cookie.contains("; Secure"), "{cookie}");

    // Connections that never begin their handshake hold up nobody.
    let silent: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(("127.0.0.1", gateway.port()))).collect::<Result<_, _>>()?;
    let begun = Instant::now();
    ensure!(metrics(&first).is_some() && begun.elapsed() < Duration::from_secs(5), "held up for {:?}", begun.elapsed());
    drop(silent);

    let second = certificate(folder.path())?;
    wait_for("the new certificate", LIMIT, || Ok(metrics(&second)))?;
    let fresh = |agent: &Agent| -> Agent { Agent::new_with_config(agent.config().clone()) };
    ensure!(metrics(&fresh(&first)).is_none(), "the old certificate is served still");

    std::fs::write(folder.path().join("cert.pem"), "-----BEGIN CERTIFICATE-----\nbroken\n")?;
    let text = wait_for("notice of the broken file", LIMIT, || {
        let text = metrics(&fresh(&second)).context("the certificate before is not served any more")?;
        Ok(text.contains("parkgate_tls_reloads_total{result=\"failed\"}").then_some(text))
    })?;
    let days = text.lines().find_map(|line| line.strip_prefix("parkgate_tls_certificate_expiry_days{")?.rsplit_once(' '));
    ensure!(days.is_some_and(|(_, days)| days.parse::<f64>().is_ok_and(|days| days > 20_000.0)), "{days:?}");
    let third = certificate(folder.path())?;
    wait_for("the third certificate", LIMIT, || Ok(metrics(&third)))?;
    gateway.stop()?;
    Ok(())
}
