//! Users and groups, as the image's own /etc/passwd and /etc/group have them. Pure.

use crate::error::{Error, Result};

/// The texts of the image's files; empty where there is none.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/group`.
    pub group: String,
}

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// All its groups, `gid` first: a program that gives that one up has it no more.
    pub groups: Vec<u32>,
}

impl Accounts {
    /// Who is meant by `USER`, `USER:GROUP`, by names or numbers; nothing means root. A number is never looked up as a name.
    ///
    /// # Errors
    /// There is no such name. Who has asked for `wanted`, and all of it, the caller says.
    pub fn find(&self, wanted: &str) -> Result<Account> {
        let (user, group) = match wanted.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (wanted, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let (name, uid, own_gid) = self.user(user)?;
        let mut account = Account { uid, gid: own_gid, groups: Vec::new() };
        if let Some(group) = group {
            account.gid = self.group(group).ok_or_else(|| missing("group", group))?;
        }
        account.groups.push(account.gid);
        // Whoever names a group wants no others.
        if group.is_none()
            && let Some(name) = name
        {
            account.add(self.groups_of(&name));
        }
        Ok(account)
    }

    /// More groups for an account: those of `--group-add`.
    ///
    /// # Errors
    /// There is no such name.
    pub fn add_groups(&self, account: &mut Account, additional: &[String]) -> Result<()> {
        for group in additional {
            let named = |error: Error| error.context(format!("--group-add {group}"));
            account.add([self.group(group).ok_or_else(|| missing("group", group)).map_err(named)?]);
        }
        Ok(())
    }

    /// Name, user id and group id.
    fn user(&self, wanted: &str) -> Result<(Option<String>, u32, u32)> {
        let number = number(wanted)?;
        let mut lines = self.passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            Some((name.to_string(), uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?))
        });
        match number {
            Some(uid) => {
                let found = lines.find(|(_, known, _)| *known == uid);
                Ok(found.map_or((None, uid, 0), |(name, uid, gid)| (Some(name), uid, gid)))
            }
            None => {
                let found = lines.find(|(name, ..)| name == wanted);
                found.map(|(name, uid, gid)| (Some(name), uid, gid)).ok_or_else(|| missing("user", wanted))
            }
        }
    }

    fn group(&self, wanted: &str) -> Option<u32> {
        if let Ok(Some(gid)) = number(wanted) {
            return Some(gid);
        }
        self.group_lines().find(|(name, ..)| *name == wanted).map(|(_, gid, _)| gid)
    }

    fn groups_of(&self, user: &str) -> Vec<u32> {
        let lines =
            self.group_lines().filter(|(_, _, members)| members.split(',').any(|member| member == user));
        lines.map(|(_, gid, _)| gid).collect()
    }

    fn group_lines(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
            Some((name, gid.parse().ok()?, fields.next().unwrap_or_default()))
        })
    }
}

impl Account {
    fn add(&mut self, groups: impl IntoIterator<Item = u32>) {
        for gid in groups {
            if !self.groups.contains(&gid) {
                self.groups.push(gid);
            }
        }
    }
}

/// What is all digits is a number, and must be one that the kernel takes.
fn number(text: &str) -> Result<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id != u32::MAX => Ok(Some(id)),
        _ => Err(Error::invalid(format!("{text}: must be at most 4294967294"))),
    }
}

fn missing(kind: &str, name: &str) -> Error {
    let file = if kind == "user" { "passwd" } else { "group" };
    Error::invalid(format!("the image's /etc/{file} has no {kind} {name:?}: give a number, or another name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd:
                "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/false\n1000:x:0:0::/:/bin/sh\nbroken\n"
                    .into(),
            group: "root:x:0:\nweb:x:34:\nlogs:x:50:web,root\ndisk:x:6:root\n".into(),
        }
    }

    fn found(wanted: &str) -> (u32, u32, Vec<u32>) {
        let Account { uid, gid, groups } = accounts().find(wanted).unwrap();
        (uid, gid, groups)
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(found(""), (0, 0, vec![0, 50, 6]));
        assert_eq!(found("web"), (33, 34, vec![34, 50]));
        assert_eq!(found("33"), (33, 34, vec![34, 50]));
        assert_eq!(found("web:disk"), (33, 6, vec![6]));
        assert_eq!(found("web:77"), (33, 77, vec![77]));
        assert_eq!(found("4242"), (4242, 0, vec![0]));
        // A number is no name, whatever the image says.
        assert_eq!(found("1000"), (1000, 0, vec![0]));
        let mut more = accounts().find("web").unwrap();
        accounts().add_groups(&mut more, &["disk".into(), "50".into()]).unwrap();
        assert_eq!(more.groups, [34, 50, 6]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let refused = |wanted: &str| accounts().find(wanted).unwrap_err().to_string();
        assert!(refused("nobody").starts_with("the image's /etc/passwd has no user \"nobody\": give"));
        assert!(refused("web:none").starts_with("the image's /etc/group has no group \"none\""));
        assert!(refused("4294967295").contains("at most 4294967294"));
        assert!(refused("-1").contains("no user \"-1\""));
        assert_eq!(Accounts::default().find("0:0").unwrap().uid, 0);
        let mut account = accounts().find("web").unwrap();
        let error = accounts().add_groups(&mut account, &["none".into()]).unwrap_err().to_string();
        assert!(error.starts_with("--group-add none: the image's /etc/group has no group"), "{error}");
    }
}
