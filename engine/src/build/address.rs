//! Addresses of repositories of git, and of what is meant in them.

use crate::error::{Error, Result};

/// How addresses begin that are of git whatever follows.
const STARTS: [&str; 4] = ["git@", "git://", "ssh://", "github.com/"];

/// Where a repository is, and what of it is meant: `https://host/path.git#REFERENCE:FOLDER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitAddress {
    remote: String,
    /// A branch, a tag or a commit; empty: the default branch.
    reference: String,
    /// The folder in it; empty: all of it.
    folder: String,
}

/// What becomes of `.git`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GitFolder {
    /// It goes.
    #[default]
    Removed,
    /// It stays.
    Kept,
}

impl GitAddress {
    /// Whether a text is an address of git.
    pub fn is_one(text: &str) -> bool {
        let path = text.split(['#', '?']).next().unwrap_or_default();
        let is_url = text.starts_with("http://") || text.starts_with("https://");
        STARTS.iter().any(|start| text.starts_with(start)) || (is_url && path.ends_with(".git"))
    }

    /// Reads an address.
    ///
    /// # Errors
    /// Something of it cannot be.
    pub fn parse(text: &str) -> Result<GitAddress> {
        let wrong = |what: &str| Error::invalid(format!("{text}: {what}"));
        let (remote, fragment) = text.split_once('#').unwrap_or((text, ""));
        if remote.contains('?') {
            return Err(wrong(
                "a query is not known: #REFERENCE:FOLDER says what of the repository is meant",
            ));
        }
        let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        let is_odd =
            |letter: char| letter.is_whitespace() || letter.is_control() || "+^~?*[\\".contains(letter);
        if reference.starts_with('-') || reference.contains(is_odd) || remote.contains(char::is_control) {
            return Err(wrong("must be ADDRESS#REFERENCE:FOLDER, of a branch, a tag or a commit"));
        }
        let remote = match remote.strip_prefix("github.com/") {
            Some(_) => format!("https://{remote}"),
            None => remote.to_string(),
        };
        Ok(GitAddress { remote, reference: reference.to_string(), folder: folder.to_string() })
    }

    /// Whether always the same is meant.
    pub fn is_fixed(&self) -> bool {
        is_commit(&self.reference)
    }

    /// Where it is.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// A branch, a tag or a commit; empty: the default branch.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The folder in it that is meant.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Without password; of http without name as well, which may be a token. For ssh a name belongs to the address.
    pub fn shown(&self) -> String {
        let Some((scheme, rest)) = self.remote.split_once("://") else { return self.remote.clone() };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let Some((name, host)) = host.rsplit_once('@') else { return self.remote.clone() };
        match name.split_once(':').map_or(name, |(name, _)| name) {
            name if scheme == "ssh" => format!("{scheme}://{name}@{host}/{path}"),
            _ => format!("{scheme}://{host}/{path}"),
        }
    }

    /// How addresses on its host begin, with name and password and as they are shown; `None` if that is the same. What is shown reaches
    /// the host by a setting of git, so that nothing that stays has the password.
    pub fn credential(&self) -> Option<(String, String)> {
        let begin = |text: &str| {
            let (scheme, rest) = text.split_once("://")?;
            Some(format!("{scheme}://{}/", rest.split('/').next()?))
        };
        let (own, shown) = (begin(&self.remote)?, begin(&self.shown())?);
        (own != shown).then_some((own, shown))
    }

    /// A text of git's without name and password.
    pub fn redacted(&self, text: &str) -> String {
        match self.credential() {
            Some((own, shown)) => text.replace(own.trim_end_matches('/'), shown.trim_end_matches('/')),
            None => text.to_string(),
        }
    }

    /// `https://host/`: what a header is for.
    pub fn scope(&self) -> Option<String> {
        let (scheme, rest) =
            self.remote.split_once("://").filter(|(scheme, _)| scheme.starts_with("http"))?;
        let host = rest.split('/').next()?.rsplit('@').next()?;
        Some(format!("{scheme}://{host}/"))
    }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_reference_and_a_folder() {
        let parse = |text: &str| {
            let GitAddress { remote, reference, folder } = GitAddress::parse(text).unwrap();
            (remote, reference, folder)
        };
        let of = |remote: &str, reference: &str, folder: &str| {
            (remote.to_string(), reference.to_string(), folder.to_string())
        };
        assert_eq!(parse("https://h/a.git#v1:b/c"), of("https://h/a.git", "v1", "b/c"));
        assert_eq!(parse("git@h:a/b.git#:c"), of("git@h:a/b.git", "", "c"));
        assert_eq!(parse("github.com/a/b"), of("https://github.com/a/b", "", ""));
        for wrong in
            ["https://h/a.git#-x", "https://h/a.git#a b", "https://h/a.git?ref=x", "https://h/a.git#+a"]
        {
            assert!(GitAddress::parse(wrong).unwrap_err().to_string().starts_with(wrong), "{wrong}");
        }
        for (text, is_one) in [
            ("https://h/a.git", true),
            ("https://h/a.git#x", true),
            ("https://h/a.tar", false),
            ("ssh://git@h/a", true),
            ("./a.git", false),
        ] {
            assert_eq!(GitAddress::is_one(text), is_one, "{text}");
        }
        let secret = GitAddress::parse("https://me:word@h:1/a.git").unwrap();
        assert_eq!(
            (secret.shown(), secret.scope()),
            ("https://h:1/a.git".into(), Some("https://h:1/".into()))
        );
        let of_ssh = GitAddress::parse("ssh://me:word@h:1/a.git").unwrap();
        assert_eq!(of_ssh.shown(), "ssh://me@h:1/a.git");
        assert_eq!(of_ssh.credential(), Some(("ssh://me:word@h:1/".into(), "ssh://me@h:1/".into())));
        assert_eq!(of_ssh.redacted("at ssh://me:word@h:1/b"), "at ssh://me@h:1/b");
        assert_eq!(GitAddress::parse("https://h/a.git").unwrap().credential(), None);
    }
}
