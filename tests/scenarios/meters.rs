//! What people say of counters, over the API and by commands beside the running gateway: decisions about registers that
//! fell, exchanges of meters, their undoing, readings by hand; who may, what is refused, and what totals say before and
//! after.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use parkgate_tests::gateway::{Finished, Gateway, parkgate};
use parkgate_tests::{Stopwatch, wait_for};
use serde_json::{Value, json};
use ureq::Agent;

/// Longest until what was entered is counted, and that a request may take.
const LIMIT: Duration = Duration::from_secs(60);
/// 2026-01-01T00:00:00+08:00.
const START_MS: i64 = 1_767_196_800_000;
const HOUR_MS: i64 = 3_600_000;
/// Reads 5 instead of 112 once, at 12:00: 11 kWh, a fall, 108, 11.
const GLITCH: &str = "acme/glitch/energy_import";
/// Wraps at 1000 between 12:00 and 13:00, by 16 kWh, which is more than its highest rate: 24, a fall, 22.
const WRAP: &str = "acme/wrap/energy_import";
/// Another meter was put in between 12:00 and 13:00: 12, a fall, 11.
const SWAP: &str = "acme/swap/energy_import";
/// Is not heard after 23:00: 23.
const SILENT: &str = "acme/silent/energy_import";

/// Meters behind a broker that is not there: their values are imported.
fn config() -> String {
    let mut text = "[park]\nid = \"park\"\nname = \"Park\"\ntime_zone = \"Asia/Shanghai\"\n\
         [[enterprise]]\nid = \"acme\"\nname = \"Acme\"\n[[enterprise]]\nid = \"bloom\"\nname = \"Bloom\"\n\
         [[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"127.0.0.1\"\nport = 9\n"
        .to_owned();
    for (device, enterprise, more) in [
        ("glitch", "acme", ""),
        ("wrap", "acme", "modulus = 1000\nrate_max_per_hour = 10\n"),
        ("swap", "acme", ""),
        ("silent", "acme", ""),
        ("other", "bloom", ""),
    ] {
        text.push_str(&format!(
            "[[device]]\nid = \"{device}\"\nlink = \"broker\"\nenterprise = \"{enterprise}\"\n\
             [[device.topic]]\nfilter = \"meters/{device}\"\n\
             [[device.point]]\nid = \"energy_import\"\nmedium = \"power\"\nkind = \"counter\"\nunit = \"kWh\"\ndecimals = 2\npath = \"e\"\n{more}"
        ));
    }
    text
}

/// A register each hour of a day.
fn registers() -> Result<String> {
    let mut text = "point,time,value\n".to_owned();
    for hour in 0..=24 {
        let time = START_MS + hour * HOUR_MS;
        writeln!(text, "{GLITCH},{time},{}", if hour == 12 { 5 } else { 100 + hour })?;
        writeln!(text, "{WRAP},{time},{}", if hour <= 12 { 970 + 2 * hour } else { 10 + 2 * (hour - 13) })?;
        writeln!(text, "{SWAP},{time},{}", if hour <= 12 { 500 + hour } else { hour - 10 })?;
        if hour < 24 {
            writeln!(text, "{SILENT},{time},{}", 100 + hour)?;
        }
    }
    Ok(text)
}

/// A running gateway that has the registers.
fn start() -> Result<Gateway> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("registers.csv");
    std::fs::write(&file, registers()?)?;
    let mut gateway = Gateway::prepare(None)?;
    gateway.configure(&config())?;
    command(&gateway, &["import", &file.display().to_string()], 0)?;
    gateway.restart()?;
    Ok(gateway)
}

fn command(gateway: &Gateway, arguments: &[&str], code: i32) -> Result<Finished> {
    let config = gateway.config().display().to_string();
    let finished = parkgate(&[arguments, &["--config", &config]].concat())?;
    ensure!(finished.code == code, "{arguments:?}: {finished:?}");
    Ok(finished)
}

/// A command that enters something: what was entered.
fn entered(gateway: &Gateway, arguments: &[&str]) -> Result<Value> {
    command(gateway, &[arguments, &["--json"]].concat(), 0)?.json_lines()?.pop().context("nothing was printed")
}

/// A command that is refused: what it says.
fn refused(gateway: &Gateway, arguments: &[&str], code: i32) -> Result<String> {
    Ok(command(gateway, arguments, code)?.stderr)
}

/// Somebody who asks a gateway over HTTP.
struct Asker<'a> {
    gateway: &'a Gateway,
    token: Option<String>,
    agent: Agent,
}

impl<'a> Asker<'a> {
    fn new(gateway: &'a Gateway, token: Option<String>) -> Self {
        let agent = Agent::config_builder().timeout_global(Some(LIMIT)).http_status_as_error(false).build().into();
        Self { gateway, token, agent }
    }

    /// With a token of its own.
    fn of_role(gateway: &'a Gateway, name: &str, role: &str, more: &[&str]) -> Result<Self> {
        let made = entered(gateway, &[&["token", "create", "--name", name, "--role", role], more].concat())?;
        Ok(Self::new(gateway, Some(made["token"].as_str().context("no token")?.to_owned())))
    }

    fn headers<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn get(&self, path: &str) -> Result<Value> {
        let mut answer = self.headers(self.agent.get(self.gateway.url(path))).call()?;
        let text = answer.body_mut().read_to_string()?;
        ensure!(answer.status() == 200, "GET {path}: {} {text}", answer.status());
        Ok(serde_json::from_str(&text)?)
    }

    /// Status and body of what is answered to a body of some type.
    fn post_as(&self, path: &str, kind: &str, body: &str) -> Result<(u16, Value)> {
        let mut answer = self.headers(self.agent.post(self.gateway.url(path))).header("content-type", kind).send(body)?;
        let text = answer.body_mut().read_to_string()?;
        Ok((answer.status().as_u16(), serde_json::from_str(&text).with_context(|| text.clone())?))
    }

    fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.post_as(path, "application/json", &body.to_string())
    }

    /// Enters something.
    fn enter(&self, path: &str, body: &Value) -> Result<Value> {
        let (status, answer) = self.post(path, body)?;
        ensure!(status == 201, "POST {path} {body}: {status} {answer}");
        Ok(answer)
    }

    /// Is refused, for a reason that has these words.
    fn refused(&self, path: &str, body: &Value, status: u16, words: &[&str]) -> Result<()> {
        let answer = self.post(path, body)?;
        refusal(&answer, status, words).with_context(|| format!("POST {path} {body}"))
    }

    /// What is to be decided.
    fn to_decide(&self) -> Result<Vec<Value>> {
        items(self.get("/api/v1/decisions")?, "to_decide")
    }

    fn decided(&self) -> Result<Vec<Value>> {
        items(self.get("/api/v1/decisions")?, "decided")
    }

    /// Waits until the day's amount of a point is this, and it has this of the flags `suspect` and `decided`; empty: none.
    fn total(&self, point: &str, day: &str, amount: &str, flag: &str) -> Result<()> {
        let mut last = Value::Null;
        let found = wait_for(&format!("total {amount} of {point}"), LIMIT, || {
            let until = if day == "2026-01-01" { "2026-01-02" } else { "2026-01-03" };
            last = self.get(&format!("/api/v1/totals?point={point}&level=day&from={day}&to={until}"))?["items"][0].take();
            let flags = last["flags"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let found: Vec<&str> = flags.filter(|flag| ["suspect", "decided"].contains(flag)).collect();
            Ok((last["amount"] == amount && found.concat() == flag).then_some(()))
        });
        found.with_context(|| format!("the last was {last}"))
    }
}

fn items(mut answer: Value, list: &str) -> Result<Vec<Value>> {
    match answer[list].take() {
        Value::Array(items) => Ok(items),
        other => anyhow::bail!("no {list} in {answer}: {other}"),
    }
}

fn refusal((status, problem): &(u16, Value), expected: u16, words: &[&str]) -> Result<()> {
    let said = format!("{} {}", problem["detail"], problem["remedy"]);
    ensure!(*status == expected && words.iter().all(|word| said.contains(word)), "{status} {problem}, not {expected} with {words:?}");
    Ok(())
}

const DAY: &str = "2026-01-01";
/// When the lower registers were read.
const AT_GLITCH: &str = "2026-01-01T04:00:00Z";
const AT_13: &str = "2026-01-01T05:00:00Z";
/// Between the last reading of the old meter and the first of the new one.
const AT_SWAP: &str = "2026-01-01T12:30:00+08:00";

#[test]
fn operators_decide_over_the_api_and_totals_follow() -> Result<()> {
    let _stopwatch = Stopwatch::start("meters: API");
    let mut gateway = start()?;
    let shift = Asker::of_role(&gateway, "shift", "operator", &[])?;
    let viewer = Asker::of_role(&gateway, "eyes", "viewer", &[])?;
    let bloom = Asker::of_role(&gateway, "bloom", "operator", &["--enterprise", "bloom"])?;
    for (point, amount) in [(GLITCH, "130"), (WRAP, "46"), (SWAP, "23")] {
        viewer.total(point, DAY, amount, "suspect")?;
    }
    let due = viewer.to_decide()?;
    let told: Vec<[&Value; 4]> = due.iter().map(|pair| [&pair["point"], &pair["old"], &pair["new"], &pair["wrapped"]]).collect();
    let expected = json!([[GLITCH, "111", "5", null], [WRAP, "994", "10", "16"], [SWAP, "512", "3", null]]);
    ensure!(json!(told) == expected, "{told:?}");
    let at = |place: usize| due[place]["at"].as_str().unwrap_or_default().parse::<jiff::Timestamp>();
    ensure!(at(0)? == AT_GLITCH.parse()? && at(1)? == AT_13.parse()? && at(2)? == AT_13.parse()?, "{due:?}");
    ensure!(bloom.to_decide()?.is_empty(), "falls of acme's meters are shown to bloom");

    may_not(&gateway, (&shift, &viewer, &bloom))?;
    not_understood(&shift)?;
    not_entered(&shift)?;
    ensure!(shift.decided()?.is_empty() && items(shift.get("/api/v1/exchanges")?, "items")?.is_empty(), "something was entered");

    // What is false counts nothing once the wrong register is named; undone, it counts again.
    let glitch = json!({ "point": GLITCH, "at": due[0]["at"], "verdict": "new_wrong" });
    let decided = shift.enter("/api/v1/decisions", &json!({ "add": glitch, "note": "EMC", "document": "log 7", "by": "Li Wei" }))?;
    let said = ["kind", "author", "note", "document", "old_final", "new_initial"].map(|key| &decided[key]);
    ensure!(json!(said) == json!(["new_wrong", "Li Wei (token shift)", "EMC", "log 7", "111", "5"]), "{decided}");
    shift.total(GLITCH, DAY, "24", "decided")?;
    ensure!(shift.to_decide()?.len() == 2, "{:?}", shift.to_decide()?);
    shift.refused("/api/v1/decisions", &json!({ "add": glitch }), 422, &["says new_wrong of it already"])?;
    let undo = json!({ "undo": decided["id"], "note": "was right" });
    bloom.refused("/api/v1/decisions", &undo, 404, &["meter-"])?;
    viewer.refused("/api/v1/decisions", &undo, 403, &[])?;
    let undone = shift.enter("/api/v1/decisions", &undo)?;
    ensure!(undone["undone_by"]["author"] == "shift" && undone["undone_by"]["note"] == "was right", "{undone}");
    shift.total(GLITCH, DAY, "130", "suspect")?;
    shift.refused("/api/v1/decisions", &undo, 422, &["undone already, by shift"])?;
    // Set back, then, and both right: nothing is left to decide, the rise from 5 counts.
    shift.enter("/api/v1/decisions", &json!({ "add": { "point": GLITCH, "at": due[0]["at"], "verdict": "reset" } }))?;
    shift.total(GLITCH, DAY, "130", "decided")?;

    shift.enter("/api/v1/decisions", &json!({ "add": { "point": WRAP, "at": due[1]["at"], "verdict": "rollover" } }))?;
    shift.total(WRAP, DAY, "62", "")?;

    // 12 and 0.50 of the old meter, 0.60 and 11 of the new one.
    let add = json!({ "point": SWAP, "at": AT_SWAP, "old_final": "512.5", "new_initial": "2.4" });
    viewer.refused("/api/v1/exchanges", &json!({ "add": add }), 403, &[])?;
    let exchange = shift.enter("/api/v1/exchanges", &json!({ "add": add }))?;
    shift.total(SWAP, DAY, "24.1", "")?;
    ensure!(shift.to_decide()?.is_empty(), "{:?}", shift.to_decide()?);
    shift.refused("/api/v1/exchanges", &json!({ "add": add }), 422, &["is an exchange at that instant already"])?;
    shift.enter("/api/v1/exchanges", &json!({ "undo": exchange["id"] }))?;
    shift.total(SWAP, DAY, "23", "suspect")?;
    read_by_hand(&shift, &bloom)?;

    // All of it is told, what was undone too, and still after a restart.
    let kinds = |events: &[Value]| json!(events.iter().map(|event| [&event["kind"], &event["undone_by"]["author"]]).collect::<Vec<_>>());
    let token = shift.token.clone();
    gateway_again(&mut gateway, token, |again| {
        let (decided, exchanges) = (again.decided()?, items(again.get("/api/v1/exchanges")?, "items")?);
        ensure!(kinds(&decided) == json!([["new_wrong", "shift"], ["reset", null], ["rollover", null]]), "{decided:?}");
        ensure!(kinds(&exchanges) == json!([["exchange", "shift"]]), "{exchanges:?}");
        again.total(WRAP, DAY, "62", "")?;
        ensure!(again.to_decide()?.len() == 1, "{:?}", again.to_decide()?);
        again.total(SILENT, "2026-01-02", "47.04", "")?;
        ensure!(items(again.get("/api/v1/readings")?, "items")?.len() == 2, "a reading by hand is not told");
        Ok(())
    })?;
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    Ok(())
}

/// As [`by_hand`], over the API.
fn read_by_hand(shift: &Asker<'_>, bloom: &Asker<'_>) -> Result<()> {
    let (path, at) = ("/api/v1/readings", "2026-01-03T00:00:00+08:00");
    let add = |value: &str| json!({ "add": { "point": SILENT, "at": at, "value": value }, "by": "Li Wei", "note": "on foot" });
    shift.total(SILENT, DAY, "23", "")?;
    let read = shift.enter(path, &add("148"))?;
    ensure!(read["author"] == "Li Wei (token shift)" && read["note"] == "on foot" && read["replaced"] == false, "{read}");
    shift.total(SILENT, DAY, "24", "")?;
    shift.total(SILENT, "2026-01-02", "24", "")?;
    // Once more, as after an answer that was not heard.
    let again = shift.post(path, &add("148"))?;
    ensure!(again == (200, read), "{again:?}");
    // A digit was misread.
    ensure!(shift.enter(path, &add("172"))?["replaced"] == true, "nothing was replaced");
    shift.total(SILENT, "2026-01-02", "47.04", "")?;
    shift.refused(path, &add("1.234"), 422, &["more decimals", "/api/v1/points"])?;
    shift.refused(path, &json!({ "add": { "point": "acme/silend/energy_import", "at": at, "value": "1" } }), 404, &[SILENT])?;
    ensure!(items(bloom.get(path)?, "items")?.is_empty(), "readings of acme are shown to bloom");
    Ok(())
}

/// Stops the gateway and starts it again, and asks as before.
fn gateway_again(gateway: &mut Gateway, token: Option<String>, ask: impl FnOnce(&Asker<'_>) -> Result<()>) -> Result<()> {
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    gateway.restart()?;
    ask(&Asker::new(gateway, token))
}

/// Who may not: without a token, of another role, of another enterprise, from a page elsewhere.
fn may_not(gateway: &Gateway, (shift, viewer, bloom): (&Asker<'_>, &Asker<'_>, &Asker<'_>)) -> Result<()> {
    let decision = json!({ "add": { "point": GLITCH, "at": AT_GLITCH, "verdict": "reset" } });
    let exchange = json!({ "add": { "point": SWAP, "at": AT_SWAP } });
    let nobody = Asker::new(gateway, None);
    let reading = json!({ "add": { "point": SILENT, "at": AT_SWAP, "value": "112.5" } });
    for (path, body) in [("/api/v1/decisions", &decision), ("/api/v1/exchanges", &exchange), ("/api/v1/readings", &reading)] {
        nobody.refused(path, body, 401, &["token"])?;
        viewer.refused(path, body, 403, &["viewer", "operator or admin"])?;
        // As if it were not there, and no neighbour of it is named.
        bloom.refused(path, body, 404, &["there is no point"])?;
        let hidden = bloom.post(path, body)?.1.to_string();
        ensure!(!hidden.contains("did you mean"), "{hidden}");
        let plain = shift.post_as(path, "text/plain", &body.to_string())?;
        refusal(&plain, 415, &["application/json"])?;
    }
    Ok(())
}

/// Bodies that are not of the form: 400 with what is wrong and where.
fn not_understood(shift: &Asker<'_>) -> Result<()> {
    let add = |verdict: &str, at: &str| json!({ "add": { "point": GLITCH, "at": at, "verdict": verdict } }).to_string();
    for (path, body, words) in [
        ("/api/v1/decisions", "{\"add\": ".to_owned(), ["EOF", "line 1 column 8"]),
        ("/api/v1/decisions", "{}".to_owned(), ["`add`", "`undo`"]),
        ("/api/v1/decisions", format!("{{\"undo\": \"meter-1\", {}", &add("reset", AT_GLITCH)[1..]), ["`add`", "`undo`"]),
        ("/api/v1/decisions", add("gone", AT_GLITCH), ["unknown variant `gone`", "`old_wrong`"]),
        ("/api/v1/decisions", add("reset", "yesterday"), ["yesterday", "line 1 column"]),
        ("/api/v1/decisions", format!("{{\"add\":\n{{\"poimt\": \"{GLITCH}\"}}}}"), ["unknown field `poimt`", "line 2 column"]),
        ("/api/v1/decisions", format!("{{\"add\": {{\"point\": \"{GLITCH}\"}}}}"), ["missing field `at`", "line 1 column"]),
        ("/api/v1/exchanges", "{}".to_owned(), ["`add`", "`undo`"]),
        ("/api/v1/readings", "{}".to_owned(), ["missing field", "`add`"]),
        (
            "/api/v1/exchanges",
            format!("{{\"add\": {{\"point\": \"{SWAP}\", \"at\": \"{AT_SWAP}\", \"old\": 1}}}}"),
            ["`old`", "`old_final`"],
        ),
        (
            "/api/v1/exchanges",
            format!("{{\"add\": {{\"point\": \"{SWAP}\", \"at\": \"{AT_SWAP}\", \"old_final\": 512.5}}}}"),
            ["512.5", "expected a string"],
        ),
    ] {
        refusal(&shift.post_as(path, "application/json", &body)?, 400, &words).with_context(|| body.clone())?;
    }
    Ok(())
}

/// What is understood and cannot be: points and entries that are not there, registers that cannot be.
fn not_entered(shift: &Asker<'_>) -> Result<()> {
    let decide = |point: &str, at: &str, verdict: &str| json!({ "add": { "point": point, "at": at, "verdict": verdict } });
    let exchange = |at: &str, old: &str, new: &str, multiplier: &str| json!({ "add": { "point": SWAP, "at": at, "old_final": old, "new_initial": new, "multiplier": multiplier } });
    let near = format!("did you mean `{GLITCH}`");
    let decisions = "/api/v1/decisions";
    shift.refused(decisions, &decide("acme/glitsh/energy_import", AT_GLITCH, "reset"), 404, &["acme/glitsh", &near])?;
    shift.refused("/api/v1/exchanges", &json!({ "add": { "point": "nobody", "at": AT_SWAP } }), 404, &["`nobody`", "/api/v1/points"])?;
    for id in ["meter-99", "nothing"] {
        for path in [decisions, "/api/v1/exchanges"] {
            shift.refused(path, &json!({ "undo": id }), 404, &[id, "GET /api/v1/decisions"])?;
        }
    }
    shift.refused(decisions, &decide(GLITCH, AT_GLITCH, "rollover"), 422, &["no modulus", "`modulus`"])?;
    shift.refused(decisions, &decide(GLITCH, AT_13, "reset"), 422, &["no suspect pair", "decide list"])?;
    shift.refused(decisions, &decide(GLITCH, "2199-01-01T00:00:00Z", "reset"), 422, &["in the future"])?;
    for (at, old, new, multiplier, words) in [
        (AT_SWAP, "511", "2", "1", ["512", "511"]),
        (AT_SWAP, "513", "4", "1", ["4", "3"]),
        (AT_SWAP, "512.345", "2", "1", ["512.345", "2 decimals"]),
        (AT_SWAP, "many", "2", "1", ["old final register", "no number"]),
        (AT_SWAP, "513", "2", "0", ["multiplier 0", "above 0"]),
        ("2025-12-01T00:00:00Z", "513", "2", "1", ["no reading before", "between readings"]),
    ] {
        shift.refused("/api/v1/exchanges", &exchange(at, old, new, multiplier), 422, &words)?;
    }
    Ok(())
}

#[test]
fn commands_beside_the_gateway_do_the_same() -> Result<()> {
    let _stopwatch = Stopwatch::start("meters: commands");
    let mut gateway = start()?;
    let local = Asker::new(&gateway, None);
    for (point, amount) in [(GLITCH, "130"), (WRAP, "46"), (SWAP, "23")] {
        local.total(point, DAY, amount, "suspect")?;
    }
    let listed = command(&gateway, &["decide", "list", "--json"], 0)?.json_lines()?;
    ensure!(listed == local.to_decide()? && listed.len() == 3, "{listed:?}");
    let of_one = command(&gateway, &["decide", "list", "--point", WRAP], 0)?.stdout;
    ensure!(of_one.lines().count() == 1 && of_one.contains("994 fell to 10 kWh") && of_one.contains("16 if it wrapped"), "{of_one}");

    let said = ["--author", "eve", "--note", "EMC", "--document", "log 7"];
    let decided = entered(&gateway, &[&["decide", "new-wrong", GLITCH, AT_GLITCH], &said[..]].concat())?;
    ensure!(decided["author"] == "eve" && decided["document"] == "log 7" && decided["kind"] == "new_wrong", "{decided}");
    local.total(GLITCH, DAY, "24", "decided")?;
    ensure!(local.decided()? == [decided.clone()], "{:?}", local.decided()?);
    let words = refused(&gateway, &["decide", "reset", GLITCH, AT_GLITCH], 1)?;
    ensure!(words.contains("says new_wrong of it already"), "{words}");
    let id = decided["id"].as_str().context("no id")?;
    let undone = entered(&gateway, &["decide", "undo", id, "--author", "adam", "--note", "was right"])?;
    ensure!(undone["undone_by"]["author"] == "adam", "{undone}");
    local.total(GLITCH, DAY, "130", "suspect")?;
    let words = refused(&gateway, &["decide", "undo", id], 1)?;
    ensure!(words.contains("undone already, by adam"), "{words}");
    ensure!(command(&gateway, &["decide", "list", "--decided"], 0)?.stdout.contains("UNDONE by adam"), "the undoing is not listed");

    entered(&gateway, &["decide", "rollover", WRAP, AT_13])?;
    local.total(WRAP, DAY, "62", "")?;

    // 12 and 0.50 of the old meter, (0.60 + 11) * 2 of the new one.
    let registers = ["--old-final", "512.5", "--new-initial", "2.4", "--multiplier", "2"];
    let exchange = entered(&gateway, &[&["exchange", SWAP, "--at", AT_SWAP, "--author", "eve"], &registers[..]].concat())?;
    local.total(SWAP, DAY, "35.7", "")?;
    let listed = command(&gateway, &["exchange", "list", "--json"], 0)?.json_lines()?;
    ensure!(listed == items(local.get("/api/v1/exchanges")?, "items")? && listed == [exchange.clone()], "{listed:?}");
    entered(&gateway, &["exchange", "undo", exchange["id"].as_str().context("no id")?])?;
    local.total(SWAP, DAY, "23", "suspect")?;

    // Nothing of this is entered.
    let before = (local.decided()?, local.get("/api/v1/exchanges")?);
    for (arguments, code, words) in [
        (&["decide", "reset", "acme/glitsh/energy_import", AT_GLITCH][..], 1, GLITCH),
        (&["decide", "reset", GLITCH, "yesterday"], 2, "`yesterday` is no time"),
        (&["decide", "rollover", GLITCH, AT_GLITCH], 1, "no modulus"),
        (&["decide", "undo", "meter-99"], 1, "no exchange or decision `meter-99`"),
        (&["exchange", SWAP, "--at", AT_SWAP, "--old-final", "511"], 1, "below the reading 512"),
        (&["exchange", "nobody", "--at", AT_SWAP], 1, "no point `nobody`"),
    ] {
        let said = refused(&gateway, arguments, code)?;
        ensure!(said.contains(words), "{arguments:?}: {said}");
    }
    ensure!(before == (local.decided()?, local.get("/api/v1/exchanges")?), "something was entered");
    by_hand(&gateway, &local)?;
    ensure!(gateway.stop()?.success(), "the gateway did not stop cleanly");
    Ok(())
}

/// A register read by hand: 123.00 at 23:00, 148.00 a day and an hour later.
fn by_hand(gateway: &Gateway, local: &Asker<'_>) -> Result<()> {
    local.total(SILENT, DAY, "23", "")?;
    let add = |value: &str, author: &str| {
        entered(gateway, &["reading", "add", SILENT, "--at", "2026-01-03", "--value", value, "--author", author, "--note", "on foot"])
    };
    add("148", "eve")?;
    local.total(SILENT, DAY, "24", "")?;
    local.total(SILENT, "2026-01-02", "24", "")?;
    // A digit was misread.
    add("172", "adam")?;
    local.total(SILENT, "2026-01-02", "47.04", "")?;
    let readings = || items(local.get("/api/v1/readings")?, "items");
    let told =
        readings()?.iter().map(|one| ["point", "value", "author", "note", "replaced"].map(|key| one[key].clone())).collect::<Vec<_>>();
    let expected = json!([[SILENT, "148", "eve", "on foot", false], [SILENT, "172", "adam", "on foot", true]]);
    ensure!(json!(told) == expected, "{told:?}");
    for (meter, at, value, words) in [
        ("acme/silend/energy_import", "2026-01-03", "1", "acme/silent/energy_import"),
        (SILENT, "2026-01-03", "1.234", "more decimals"),
        (SILENT, "2026-01-03", "many", "`many` is not a decimal number"),
        (SILENT, "2199-01-01", "200", "lies in the future"),
    ] {
        let said = refused(gateway, &["reading", "add", meter, "--at", at, "--value", value], 1)?;
        ensure!(said.contains(words), "{meter} {at} {value}: {said}");
    }
    ensure!(readings()?.len() == 2, "{:?}", readings()?);
    // Who does not see the point is not told of it either.
    let bloom = Asker::of_role(gateway, "bloom", "operator", &["--enterprise", "bloom"])?;
    ensure!(items(bloom.get("/api/v1/readings")?, "items")?.is_empty(), "readings of acme are shown to bloom");
    Ok(())
}
