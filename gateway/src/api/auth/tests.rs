//! Tests of who is let in, over real sockets and in parts.

use parkgate_collector::model::UtcMillis;

use super::super::fake::{NOW, Served, small_park, start_with};
use super::super::tests::{Answer, send};
use super::*;
use crate::access::Scope;
use crate::access::tokens::NewToken;

async fn served(require_token: bool) -> Served {
    start_with("127.0.0.1:0", small_park(), None, "boot-1", require_token).await
}

async fn ask(served: &Served, line: &str, headers: &str) -> Answer {
    send(served, &format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n")).await
}

fn create(served: &Served, role: Role) -> String {
    let new = NewToken { name: role.name().into(), role, scope: Scope::default(), expires_at: Some(NOW.plus(60_000)) };
    served.tokens.create(new, NOW, "test").unwrap().1.reveal().to_owned()
}

#[tokio::test]
async fn only_this_machine_is_local_and_only_before_the_first_token() {
    let open = served(false).await;
    assert_eq!(ask(&open, "GET /api/v1/park", "").await.status, 200);
    for forwarded in [
        "Forwarded: for=192.0.2.1",
        "Via: 1.1 proxy",
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Host: a",
        "X-Forwarded-Port: 443",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Server: a",
        "X-Real-IP: 192.0.2.1",
    ] {
        let answer = ask(&open, "GET /api/v1/park", &format!("{forwarded}\r\n")).await;
        assert_eq!(answer.status, 401, "{forwarded}");
        assert!(answer.head.contains("www-authenticate: bearer realm=\"parkgate\""), "{}", answer.head);
    }
    // As nginx passes requests on when it is told nothing but where to: the old version, the upstream's own name.
    let nginx = send(&open, "GET /api/v1/park HTTP/1.0\r\nHost: 127.0.0.1:8420\r\nConnection: close\r\n\r\n").await;
    assert_eq!(nginx.status, 401);
    // A name of the configuration is one that a proxy or another machine uses.
    for (host, status) in [("park.example", 401), ("127.0.0.1:1", 200), ("[::1]", 200), ("LOCALHOST", 200)] {
        let answer = send(&open, &format!("GET /api/v1/park HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{host}");
    }
    // A wrong token is never let in; the cookie of another program on this host is no attempt.
    assert_eq!(ask(&open, "GET /api/v1/park", "Authorization: Bearer pkg_0\r\n").await.status, 401);
    assert_eq!(ask(&open, "GET /api/v1/park", "Cookie: parkgate_session=pkg_0\r\n").await.status, 200);
    assert_eq!(ask(&open, "GET /api/v1/park", "Authorization: Basic eDp5\r\n").await.status, 200);

    create(&open, Role::Viewer);
    assert_eq!(ask(&open, "GET /api/v1/park", "").await.status, 401);
    open.tokens.revoke("viewer", NOW, "test").unwrap();
    assert_eq!(ask(&open, "GET /api/v1/park", "").await.status, 401);
    assert_eq!(ask(&open, "GET /", "").await.status, 200);

    assert_eq!(ask(&served(true).await, "GET /api/v1/park", "").await.status, 401);
}

#[tokio::test]
async fn each_role_has_what_it_is_for() {
    let served = served(false).await;
    for (role, runs) in [(Role::Viewer, 403), (Role::Operator, 200), (Role::Reviewer, 403), (Role::Regulator, 403), (Role::Admin, 200)] {
        let bearer = format!("Authorization: Bearer {}\r\n", create(&served, role));
        for (path, status) in [("/api/v1/park", 200), ("/metrics", runs), ("/readyz?verbose", if runs == 200 { 503 } else { 403 })] {
            served.readiness.set("journal", Err("mark-problem".into()));
            let answer = ask(&served, &format!("GET {path}"), &bearer).await;
            assert_eq!(answer.status, status, "{role:?} {path}");
            assert_eq!(answer.body.contains("mark-problem"), status == 503, "{role:?} {path}");
        }
    }
    assert_eq!(ask(&served, "GET /readyz", "").await.body, "not ready\n");
    assert_eq!(ask(&served, "GET /readyz?verbose", "").await.status, 401);
}

#[tokio::test]
async fn the_page_keeps_its_token_in_a_cookie() {
    let served = served(false).await;
    let token = create(&served, Role::Viewer);
    let answer = ask(&served, "POST /api/v1/session", &format!("Authorization: Bearer {token}\r\n")).await;
    assert_eq!(answer.status, 200);
    let wanted = format!("set-cookie: parkgate_session={token}; path=/; httponly; samesite=strict");
    assert!(answer.head.lines().any(|line| line == wanted), "{}", answer.head);
    let session: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((session["name"].as_str(), session["role"].as_str()), (Some("viewer"), Some("viewer")));
    assert_eq!(session["expires_at"], NOW.plus(60_000).to_string());
    let cookie = format!("Cookie: a=b; parkgate_session={token}\r\n");
    assert_eq!(ask(&served, "GET /api/v1/park", &cookie).await.status, 200);
    // The cookie alone makes no new one, and a token in the address is none.
    assert!(!ask(&served, "POST /api/v1/session", &cookie).await.head.contains("set-cookie"));
    assert_eq!(ask(&served, &format!("GET /api/v1/park?token={token}"), "").await.status, 401);
    let answer = ask(&served, "DELETE /api/v1/session", &cookie).await;
    assert!(
        answer.status == 204 && answer.head.contains("parkgate_session=; path=/; httponly; samesite=strict; max-age=0"),
        "{}",
        answer.head
    );
}

#[tokio::test]
async fn wrong_tokens_are_slowed_down_and_right_ones_never() {
    let served = served(false).await;
    let token = create(&served, Role::Viewer);
    for number in 0..FAILURES_BURST + 3 {
        let answer = ask(&served, "GET /api/v1/park", "Authorization: Bearer pkg_wrong\r\n").await;
        let limited = number >= FAILURES_BURST;
        assert_eq!(answer.status, if limited { 429 } else { 401 }, "{number}");
        assert_eq!(answer.head.contains("retry-after: 6"), limited, "{}", answer.head);
    }
    assert_eq!(ask(&served, "GET /api/v1/park", &format!("Authorization: Bearer {token}\r\n")).await.status, 200);
    // One without any token is told to bring one, however many came wrong.
    assert_eq!(ask(&served, "GET /api/v1/park", "").await.status, 401);
}

#[test]
fn failures_are_limited_per_peer_and_pass_with_time() {
    let failures = Failures::default();
    let at = |monotonic_ms| Now { utc: UtcMillis(0), monotonic_ms };
    let one: Option<IpAddr> = Some("192.0.2.1".parse().unwrap());
    for _ in 0..FAILURES_BURST {
        failures.note(one, at(1_000)).unwrap();
    }
    assert_eq!(failures.note(one, at(2_500)), Err(5), "6 s after 1.0 s is 7.0 s, which is 4.5 s away");
    failures.note(Some("192.0.2.2".parse().unwrap()), at(2_500)).unwrap();
    failures.note(one, at(7_000)).unwrap();
    assert_eq!(failures.note(one, at(7_000)), Err(6));
    // All of one IPv6 network count together.
    for number in 0..FAILURES_BURST {
        failures.note(Some(format!("2001:db8::{number}").parse().unwrap()), at(0)).unwrap();
    }
    failures.note(Some("2001:db8::ffff".parse().unwrap()), at(0)).unwrap_err();
    failures.note(Some("2001:db8:0:1::1".parse().unwrap()), at(0)).unwrap();
}

#[test]
fn peers_are_bounded() {
    let failures = Failures::default();
    let at = |monotonic_ms| Now { utc: UtcMillis(0), monotonic_ms };
    for number in 0..5_000u32 {
        let _ = failures.note(Some(IpAddr::V4(number.into())), at(0));
    }
    assert_eq!(failures.0.lock().unwrap().len(), PEERS_MAX + 1);
    failures.note(Some(IpAddr::V4(9_999.into())), at(0)).unwrap_err();
    // What has passed makes room.
    failures.note(Some(IpAddr::V4(9_999.into())), at(FAILURE_EVERY_MS)).unwrap();
    assert!(failures.0.lock().unwrap().len() <= 2);
}

#[test]
fn tokens_are_found_in_headers() {
    let headers = |pairs: &[(&str, &str)]| {
        let pair = |&(name, value): &(&str, &str)| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        pairs.iter().map(pair).collect::<HeaderMap>()
    };
    for (value, token) in [("Bearer pkg_1", Some("pkg_1")), ("bearer  pkg_1 ", Some("pkg_1")), ("Basic eDp5", None), ("pkg_1", None)] {
        assert_eq!(bearer(&headers(&[("authorization", value)])), token, "{value}");
    }
    let several = headers(&[("cookie", "a=b; parkgate_session=pkg_1;c=d"), ("cookie", "parkgate_session=pkg_2")]);
    assert_eq!(cookie(&several), Some("pkg_1"));
    assert_eq!(cookie(&headers(&[("cookie", "xparkgate_session=1")])), None);
}
