//! Reviews of projects and the ledgers by the real program: the shipped examples, a series, and two processes at once.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use parkgate_tests::gateway::{Finished, Gateway, parkgate};
use serde_json::{Value, json};

fn data(name: &str) -> String {
    format!("{}/data/review/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn command(arguments: &[&str], code: i32) -> Result<Finished> {
    let finished = parkgate(arguments)?;
    ensure!(finished.code == code, "{arguments:?} ended with {}:\n{}{}", finished.code, finished.stdout, finished.stderr);
    Ok(finished)
}

#[test]
fn examples_are_decided_with_reasons_and_a_series_tells_what_is_left() -> Result<()> {
    let state = data("STATE.json");
    let files = ["incomplete.json", "reject.json", "pass.toml", "conditional.toml"].map(data);
    let all: Vec<&str> = files.iter().map(String::as_str).collect();
    let alone = command(&[&["review", "--park", &state, "--json"][..], &all].concat(), 1)?.json_lines()?;
    let told: Vec<_> = alone.iter().map(|line| line["decision"].as_str().unwrap_or_default()).collect();
    ensure!(told == ["incomplete", "reject", "pass", "conditional"], "{told:?}");
    ensure!(alone[0]["missing"] == json!(["production_on", "pollutants_t_per_a.COD"]), "{}", alone[0]);
    // In filing order: 31 August, 1 September, 15 September, 10 October.
    let series = command(&[&["review", "--park", &state, "--reserve", "--json"][..], &all].concat(), 1)?.json_lines()?;
    let told: Vec<_> = series.iter().filter_map(|line| line["project"].as_str()).collect();
    ensure!(told == ["conditional", "reject", "pass", "incomplete"], "{told:?}");
    let left = &series.last().context("nothing was printed")?["state_left"];
    // 12 000 - 8298.4 - 659.25
    ensure!(left["quota_headroom_tce"] == "3042.35", "{left}");
    // What is left is a state again.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("left.json");
    std::fs::write(&path, left.to_string())?;
    // The same once more: what it needs of VOCs is taken.
    let text = command(&["review", "--park", &path.display().to_string(), &data("pass.toml")], 1)?.stdout;
    ensure!(text.contains("不予通过 reject") && text.contains("VOCs needs"), "{text}");
    let text = command(&["review", "--park", &state, &data("pass.toml")], 0)?.stdout;
    ensure!(text.contains("项目准入测算表（参考）") && text.contains("通过 pass"), "{text}");
    // A slip is named with its place and stops everything.
    let slip = folder.path().join("slip.toml");
    std::fs::write(&slip, "industy = \"glass\"\n")?;
    let said = command(&["review", "--park", &state, &slip.display().to_string(), &data("pass.toml")], 1)?.stdout;
    ensure!(said.contains("did you mean `industry`?"), "{said}");
    for schema in ["project", "state"] {
        let text = command(&["review", "--schema", schema], 0)?.stdout;
        let schema: Value = serde_json::from_str(&text)?;
        ensure!(schema["properties"].is_object(), "{text}");
    }
    Ok(())
}

/// A park of one meter that nobody asks, with its facts made.
fn park() -> Result<(Gateway, PathBuf)> {
    let config = "[park]\nid = \"park\"\nname = \"Park\"\n\n[[link]]\nid = \"broker\"\ndriver = \"mqtt\"\nhost = \"127.0.0.1\"\nport = 1\n\n\
         [[device]]\nid = \"a\"\nlink = \"broker\"\n[[device.topic]]\nfilter = \"meters/a\"\n[[device.point]]\nid = \"active_power\"\npath = \"power\"\n";
    let mut gateway = Gateway::start(config)?;
    gateway.stop()?;
    let file = gateway.config();
    Ok((gateway, file))
}

#[test]
fn two_processes_at_once_do_not_over_commit() -> Result<()> {
    let (_gateway, config) = park()?;
    let config = config.display().to_string();
    let folder = tempfile::tempdir()?;
    let write = |name: &str, entry: &Value| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, entry.to_string())?;
        Ok(path.display().to_string())
    };
    let source = json!({"entry": "source", "id": "boiler", "unit": "boiler house", "pollutant": "COD", "measure": "closed", "before_t": 5,
        "after_t": 0, "verified_t": 5, "date": "2026-01-01"});
    let source = write("source.json", &source)?;
    command(&["ledger", "add", "--config", &config, "--document", "letter 1", &source], 0)?;
    // Without a document nothing is entered.
    command(&["ledger", "add", "--config", &config, &source], 1)?;
    // 2 x 6 processes take 1 t each of 5 t.
    let granted: Result<Vec<usize>> = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..2)
            .map(|taker| {
                let (write, config) = (&write, &config);
                scope.spawn(move || -> Result<usize> {
                    let mut granted = 0;
                    for number in 0..6 {
                        let entry = json!({"entry": "use", "project": format!("p-{taker}-{number}"), "pollutant": "COD", "increment_t": 1,
                            "ratio": 1, "why": "water attained", "amount_t": 1, "date": "2026-01-02", "document": "approval"});
                        let file = write(&format!("{taker}-{number}.json"), &entry)?;
                        let finished = parkgate(&["ledger", "add", "--config", config, "--json", &file])?;
                        ensure!(finished.code <= 1, "{finished:?}");
                        granted += usize::from(finished.code == 0);
                    }
                    Ok(granted)
                })
            })
            .collect();
        takers.into_iter().map(|taker| taker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a taker fell")))).collect()
    });
    ensure!(granted?.iter().sum::<usize>() == 5, "not just what there was");
    let balances = command(&["ledger", "balance", "--config", &config, "--on", "2026-01-02", "--json"], 0)?.json_lines()?;
    let cod = balances.iter().find(|row| row["pollutant"] == "COD").context("no COD")?;
    ensure!(cod["left_t"] == "0.000" && cod["used_t"] == "5.000", "{cod}");
    let listed = command(&["ledger", "list", "--config", &config, "--json"], 0)?.json_lines()?;
    ensure!(listed.len() == 6 && listed.iter().all(|row| row["author"].is_string()), "{listed:?}");
    Ok(())
}
