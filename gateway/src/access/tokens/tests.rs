//! Tests of the tokens in force.

use std::path::Path;

use super::*;

const NOW: UtcMillis = UtcMillis(1_767_323_045_678);

fn new(name: &str) -> NewToken {
    NewToken { name: name.into(), role: Role::Viewer, scope: Scope::default(), expires_at: None }
}

fn in_memory() -> Tokens {
    Tokens::open(Arc::new(Facts::open(Path::new(":memory:")).unwrap())).unwrap()
}

#[test]
fn a_token_counts_until_it_is_revoked_or_expires() {
    let tokens = in_memory();
    assert!(!tokens.any());
    assert!(tokens.is_in_force(&Grant::local(), NOW));
    let (token, secret) = tokens.create(NewToken { expires_at: Some(NOW.plus(10)), ..new("board") }, NOW, "eve").unwrap();
    assert!(tokens.any() && !tokens.is_in_force(&Grant::local(), NOW), "from the first token on nobody is let in without");
    let grant = tokens.check(secret.reveal(), NOW.plus(9)).unwrap();
    assert_eq!((grant.identity.name.as_str(), grant.expires_at()), ("board", Some(NOW.plus(10))));
    assert!(tokens.is_in_force(&grant, NOW.plus(9)) && !tokens.is_in_force(&grant, NOW.plus(10)));
    assert_eq!(tokens.check(secret.reveal(), NOW.plus(10)).unwrap_err(), Refusal::Expired { name: "board".into() });
    let last = secret.reveal().to_owned();
    for wrong in ["", "pkg_", &last[1..], &last[..67], &format!("{last}0"), &last.to_uppercase(), &"pkg_0".repeat(10_000)] {
        assert_eq!(tokens.check(wrong, NOW).unwrap_err(), Refusal::Unknown, "{wrong}");
    }
    assert!(matches!(tokens.create(new("board"), NOW, "eve"), Err(TokenError::Taken(_))));
    assert!(matches!(tokens.revoke("7", NOW, "eve"), Err(TokenError::Unknown(_))));
    assert_eq!(tokens.revoke(&token.id.to_string(), NOW.plus(5), "bob").unwrap().revoked_at, Some(NOW.plus(5)));
    assert!(!tokens.is_in_force(&grant, NOW));
    assert_eq!(tokens.check(secret.reveal(), NOW).unwrap_err(), Refusal::Unknown);
    assert!(tokens.any(), "revoking the last token opens nothing");
    // The name is free again, the number is not.
    assert_eq!(tokens.create(new("board"), NOW, "eve").unwrap().0.id, token.id + 1);
}

#[test]
fn all_is_kept_but_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("facts.db");
    let open = || Tokens::open(Arc::new(Facts::open(&path).unwrap())).unwrap();
    let scope = Scope { enterprises: ["acme".to_owned()].into(), outlets: BTreeSet::new(), media: [Medium::Gas].into() };
    let wanted = NewToken { name: "a".into(), role: Role::Reviewer, scope: scope.clone(), expires_at: Some(NOW.plus(9)) };
    let (one, secret) = open().create(wanted, NOW, "eve").unwrap();
    let (_, other) = open().create(new("b"), NOW, "bob").unwrap();
    let tokens = open();
    let grant = tokens.check(secret.reveal(), NOW.plus(3)).unwrap();
    assert_eq!(*grant.identity, Identity { name: "a".into(), role: Role::Reviewer, scope });
    tokens.save_used().unwrap();
    tokens.revoke("b", NOW.plus(4), "bob").unwrap();
    assert!(matches!(tokens.revoke("b", NOW, "bob"), Err(TokenError::Unknown(_))));
    drop(tokens);
    assert_eq!(open().check(other.reveal(), NOW).unwrap_err(), Refusal::Unknown);
    let facts = Facts::open_read_only(&path).unwrap();
    let listed = facts.tokens().unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].0, Token { last_used_at: Some(NOW.plus(3)), ..one });
    assert_eq!(listed[1].0.revoked_at, Some(NOW.plus(4)));
    let changes: Vec<_> = facts.changes(None).unwrap().into_iter().map(|change| (change.what, change.subject, change.who)).collect();
    use crate::store::ChangeKind::{TokenCreated, TokenRevoked};
    let told = |what, subject: &str, who: &str| (what, subject.to_owned(), who.to_owned());
    assert_eq!(changes, [told(TokenCreated, "a", "eve"), told(TokenCreated, "b", "bob"), told(TokenRevoked, "b", "bob")]);
    assert_eq!(facts.changes(Some(TokenRevoked)).unwrap()[0].new, None);
    drop(facts);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in [&secret, &other] {
            let text = secret.reveal().as_bytes();
            assert!(!bytes.windows(32).any(|window| window == &text[4..36]), "a secret is on disk");
        }
    }
    let connection = rusqlite::Connection::open(&path).unwrap();
    for tampering in ["UPDATE change SET who = 'nobody'", "DELETE FROM change"] {
        connection.execute_batch(tampering).unwrap_err();
    }
}

#[test]
fn what_cannot_work_is_refused() {
    for name in ["", "a b", "local", "12", "ä", &"a".repeat(65)] {
        assert!(matches!(new(name).checked(None, NOW), Err(TokenError::Name(_))), "{name}");
    }
    let past = NewToken { expires_at: Some(NOW), ..new("a") };
    assert!(matches!(past.checked(None, NOW), Err(TokenError::Past(_))));
    let regulator = NewToken { role: Role::Regulator, ..new("eco-office") };
    assert_eq!(regulator.clone().checked(None, NOW).unwrap().scope.media, [Medium::Emission].into());
    let scope = Scope { media: [Medium::Water].into(), ..Scope::default() };
    assert_eq!(NewToken { scope: scope.clone(), ..regulator }.checked(None, NOW).unwrap().scope, scope);
}

#[test]
fn tokens_are_bounded() {
    let tokens = in_memory();
    for number in 0..TOKENS_MAX {
        tokens.create(new(&format!("t{number}")), NOW, "eve").unwrap();
    }
    assert!(matches!(tokens.create(new("one-more"), NOW, "eve"), Err(TokenError::Full)));
    tokens.revoke("t5", NOW, "eve").unwrap();
    tokens.create(new("one-more"), NOW, "eve").unwrap();
}
