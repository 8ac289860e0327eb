//! Which user of the operating system acts, for the table of changes.

/// Name of the user that runs this process; by `sudo`, also who called it. A number where the system has no name for it.
pub fn user() -> String {
    let uid = rustix::process::getuid();
    let name = name(uid.as_raw());
    match std::env::var("SUDO_USER") {
        Ok(caller) if uid.is_root() && !caller.is_empty() && caller != name => format!("{name} (sudo by {caller})"),
        _ => name,
    }
}

/// Name of a user; a number where the system has no name for it.
pub fn name(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(&users, uid).unwrap_or_else(|| format!("uid {uid}"))
}

/// The name of a user in the form of `/etc/passwd` (passwd(5)): `name:password:uid:...`.
fn name_of(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_number() {
        let users = "root:x:0:0:root::/bin/sh\nbroken\n:x:7:\ngateway:x:990:990::/nonexistent:/usr/sbin/nologin\n";
        assert_eq!(name_of(users, 990).as_deref(), Some("gateway"));
        assert_eq!((name_of(users, 99), name_of(users, 7)), (None, None));
        assert!(!user().is_empty());
    }
}
