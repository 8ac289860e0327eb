//! Ledger and reviews over HTTP: who may, under whose name, and what is refused.

use serde_json::{Value, json};

use crate::access::tokens::NewToken;
use crate::access::{Role, Scope};
use crate::api::fake::{NOW, Served, small_park, start};
use crate::api::tests::{Answer, send};

async fn served() -> Served {
    start("127.0.0.1:0", small_park(), None, "boot-1").await
}

fn token(served: &Served, name: &str, role: Role, scope: Scope) -> String {
    let new = NewToken { name: name.into(), role, scope, expires_at: None };
    served.tokens.create(new, NOW, "test").unwrap().1.reveal().to_owned()
}

async fn ask(served: &Served, token: &str, line: &str, body: &str, more: &str) -> Answer {
    let length = body.len();
    let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{more}");
    send(served, &format!("{head}Content-Length: {length}\r\n\r\n{body}")).await
}

const JSON: &str = "Content-Type: application/json\r\n";

async fn post(served: &Served, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let answer = ask(served, token, &format!("POST {path}"), &body.to_string(), JSON).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

async fn get(served: &Served, token: &str, path: &str) -> (u16, Value) {
    let answer = ask(served, token, &format!("GET {path}"), "", "").await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

fn entries() -> Value {
    json!({"entries": [
        {"entry": "allowance", "year": 2026, "amount_tce": 5000, "date": "2026-01-01", "document": "letter 1"},
        {"entry": "source", "id": "boiler", "unit": "boiler house", "pollutant": "NOx", "measure": "closed", "before_t": "10.5", "after_t": 0,
            "verified_t": "10.5", "date": "2026-01-01", "document": "letter 2"},
    ]})
}

fn project() -> Value {
    json!({
        "project": "glass works", "industry": "glass", "applied_on": "2026-01-05", "production_on": "2027-01-01",
        "land_mu": 1, "fixed_investment_10kCNY": 150, "annual_output_10kCNY": 1, "annual_tax_10kCNY": 1, "rd_ratio": null,
        "energy": {"other_tce": 100}, "feedstock": {}, "certified_renewable_kWh": 0,
        "pollutants_t_per_a": {"SO2": 0, "NOx": 3, "VOCs": 0, "COD": 0, "NH3N": 0},
        "demand": {"power_MVA": 0, "gas_Nm3_per_h": 0, "water_m3_per_d": 0, "wastewater_m3_per_d": 0},
        "zoning_compatible": true, "prohibited_process": null, "safety_ok": true, "unit_product_energy_level": null
    })
}

#[tokio::test]
async fn entries_carry_the_name_of_the_token_and_never_over_commit() {
    let served = served().await;
    let reviewer = token(&served, "office", Role::Reviewer, Scope::default());
    let (status, entered) = post(&served, &reviewer, "/api/v1/ledger", &entries()).await;
    assert_eq!((status, entered["items"].as_array().unwrap().len()), (200, 2), "{entered}");
    assert_eq!((entered["items"][1]["author"].as_str(), entered["items"][1]["verified_t"].as_str()), (Some("office"), Some("10.5")));
    let too_much = json!({"entries": [{"entry": "use", "project": "p", "pollutant": "NOx", "increment_t": "10.501", "ratio": 1, "why": "x",
        "amount_t": "10.501", "date": "2026-01-02", "document": "d"}]});
    let (status, refused) = post(&served, &reviewer, "/api/v1/ledger", &too_much).await;
    assert_eq!(status, 422, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("0.001 t/a are missing"), "{refused}");
    let (status, ledger) = get(&served, &reviewer, "/api/v1/ledger?on=2026-01-02").await;
    assert_eq!((status, ledger["items"].as_array().unwrap().len()), (200, 2));
    let nox = ledger["balances"].as_array().unwrap().iter().find(|row| row["pollutant"] == "NOx").unwrap();
    assert_eq!(nox["left_t"], "10.500");
    for body in [json!({"entries": []}), json!({"entries": [{"entry": "gift"}]}), json!({"entry": "lapse"}), json!([])] {
        let (status, refused) = post(&served, &reviewer, "/api/v1/ledger", &body).await;
        assert!(matches!(status, 400 | 422), "{body}: {status} {refused}");
    }
}

#[tokio::test]
async fn only_those_who_review_get_in_and_only_by_json_of_this_page() {
    let served = served().await;
    let acme = Scope { enterprises: ["acme".to_owned()].into(), ..Scope::default() };
    let refused = [
        token(&served, "viewer", Role::Viewer, Scope::default()),
        token(&served, "regulator", Role::Regulator, Scope::default()),
        token(&served, "acme", Role::Operator, acme),
    ];
    for secret in &refused {
        for path in ["/api/v1/ledger", "/api/v1/reviews"] {
            assert_eq!(get(&served, secret, path).await.0, 403);
            assert_eq!(post(&served, secret, path, &entries()).await.0, 403);
        }
    }
    let operator = token(&served, "operator", Role::Operator, Scope::default());
    let body = entries().to_string();
    for (more, status) in [
        ("", 415),
        ("Content-Type: text/plain\r\n", 415),
        ("Content-Type: application/json\r\nOrigin: https://evil.example\r\n", 403),
        ("Content-Type: application/json\r\nSec-Fetch-Site: cross-site\r\n", 403),
    ] {
        for path in ["/api/v1/ledger", "/api/v1/reviews"] {
            assert_eq!(ask(&served, &operator, &format!("POST {path}"), &body, more).await.status, status, "{more}");
        }
    }
    assert_eq!(get(&served, &operator, "/api/v1/ledger").await.1["items"], json!([]));
}

#[tokio::test]
async fn a_review_is_advice_and_reserves_only_when_asked_to() {
    let served = served().await;
    let reviewer = token(&served, "office", Role::Reviewer, Scope::default());
    post(&served, &reviewer, "/api/v1/ledger", &entries()).await;
    // Of the park nothing is declared yet: named, not guessed.
    let (status, told) = post(&served, &reviewer, "/api/v1/reviews", &json!({"projects": [project()]})).await;
    assert_eq!((status, told["items"][0]["decision"].as_str()), (200, Some("incomplete")), "{told}");
    let state = json!({"quota_headroom_tce": 1000, "last_year_attained": {"pm25": false, "water": true}, "land_table": {"glass": {"tax_10kCNY_per_mu": 1}}});
    std::fs::write(served.data.path().join("park-state.json"), state.to_string()).unwrap();
    let (_, told) = post(&served, &reviewer, "/api/v1/reviews", &json!({"projects": [project()]})).await;
    assert_eq!(told["items"][0]["decision"], "pass", "{told}");
    assert!(told["items"][0]["advice"]["zh"].as_str().unwrap().contains("项目准入测算表（参考）"));
    assert_eq!(get(&served, &reviewer, "/api/v1/reviews").await.1["items"], json!([]));
    // Reserving needs a document.
    let (status, _) = post(&served, &reviewer, "/api/v1/reviews", &json!({"projects": [project()], "reserve": true})).await;
    assert_eq!(status, 400);
    // Two of 2 x 3 t of 10.5 t: the second, filed later, is rejected.
    let mut second = project();
    (second["project"], second["applied_on"]) = (json!("second"), json!("2026-01-06"));
    let body = json!({"projects": [second, project()], "reserve": true, "document": "minutes 7"});
    let (status, told) = post(&served, &reviewer, "/api/v1/reviews", &body).await;
    let decisions: Vec<_> =
        told["items"].as_array().unwrap().iter().map(|one| (one["project"].as_str(), one["decision"].as_str())).collect();
    assert_eq!((status, decisions), (200, vec![(Some("glass works"), Some("pass")), (Some("second"), Some("reject"))]), "{told}");
    assert!(told["entries"].as_array().unwrap().iter().all(|entry| entry["author"] == "office" && entry["document"] == "minutes 7"));
    let (_, kept) = get(&served, &reviewer, "/api/v1/reviews?project=second").await;
    assert_eq!((kept["items"].as_array().unwrap().len(), kept["items"][0]["decision"].as_str()), (1, Some("reject")));
    // The same again holds already: refused, and nothing is entered.
    let (status, refused) =
        post(&served, &reviewer, "/api/v1/reviews", &json!({"projects": [project()], "reserve": true, "document": "x"})).await;
    assert_eq!(status, 422, "{refused}");
    // A slip is named with its place.
    let slip = json!({"projects": [{"industy": "glass"}]});
    let (status, told) = post(&served, &reviewer, "/api/v1/reviews", &slip).await;
    assert_eq!(status, 400);
    assert!(told["detail"].as_str().unwrap().contains("`projects[0].industy`: is not known; did you mean `industry`?"), "{told}");
}
