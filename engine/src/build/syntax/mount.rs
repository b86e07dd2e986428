//! `RUN --mount=type=…`.

use crate::container::size::parse_bytes;
use crate::error::{Error, Result};

/// What a RUN has mounted while it runs. Its texts are still to be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// What it is.
    pub kind: MountKind,
    /// Where; a secret may be in the environment alone.
    pub target: Option<String>,
}

/// The kinds of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, of a stage or an image.
    Bind {
        /// The stage or image; `None`: the context.
        from: Option<String>,
        /// The path there.
        source: String,
        /// Whether it may be changed; changes are thrown away.
        writable: bool,
    },
    /// A folder that outlives builds.
    Cache {
        /// Its name; the target, if none is given.
        id: Option<String>,
        /// What several builds do with it at once.
        sharing: CacheSharing,
        /// What it begins with.
        from: Option<String>,
        /// The path there.
        source: String,
        /// Whether it may not be changed.
        read_only: bool,
        /// The folder's owner and mode.
        owner: Access,
    },
    /// Memory.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
    },
    /// A file that ends in no layer.
    Secret {
        /// Its name.
        id: Option<String>,
        /// A variable that has it.
        variable: Option<String>,
        /// Whether the build fails without.
        required: bool,
        /// The file's owner and mode.
        owner: Access,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// Its name.
        id: Option<String>,
        /// Whether the build fails without.
        required: bool,
        /// The socket's owner and mode.
        owner: Access,
    },
}

/// Owner, group and mode of what is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// What several builds do with the same cache at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheSharing {
    /// They use it together.
    #[default]
    Shared,
    /// A second one gets another folder.
    Private,
    /// A second one waits.
    Locked,
}

/// The fields of one mount, each taken once it is known.
struct Fields<'t> {
    text: &'t str,
    fields: Vec<(String, Option<String>)>,
}

impl RunMount {
    /// Reads `type=cache,target=/x,…`; without a type it is a bind.
    ///
    /// # Errors
    /// A field is unknown or wrong; it is named.
    pub fn parse(text: &str) -> Result<RunMount> {
        let mut fields = Fields::split(text);
        let kind = fields.take(&["type"]);
        let target = fields.take(&["target", "dst", "destination"]);
        let kind = match kind.as_deref().unwrap_or("bind") {
            "bind" => fields.bind()?,
            "cache" => fields.cache()?,
            "tmpfs" => {
                let size = fields.take(&["size"]);
                let size = size.map(|size| parse_bytes("RUN --mount size", &size)).transpose()?;
                MountKind::Tmpfs { size }
            }
            "secret" => fields.secret()?,
            "ssh" => MountKind::Ssh {
                id: fields.take(&["id"]),
                required: fields.switch("required")?,
                owner: fields.access(0o600)?,
            },
            other => {
                return Err(fields.wrong(&format!("type={other}: must be bind, cache, tmpfs, secret or ssh")));
            }
        };
        let needs_target = !matches!(kind, MountKind::Secret { .. } | MountKind::Ssh { .. });
        if needs_target && target.is_none() {
            return Err(fields.wrong("target is missing"));
        }
        fields.finish()?;
        Ok(RunMount { kind, target })
    }
}

impl<'t> Fields<'t> {
    fn split(text: &'t str) -> Fields<'t> {
        let field = |field: &str| match field.split_once('=') {
            Some((name, value)) => (name.trim().to_ascii_lowercase(), Some(value.to_string())),
            None => (field.trim().to_ascii_lowercase(), None),
        };
        Fields { text, fields: quoted_fields(text).iter().map(|text| field(text)).collect() }
    }

    fn take(&mut self, names: &[&str]) -> Option<String> {
        let mut found = None;
        self.fields.retain(|(name, value)| match names.contains(&name.as_str()) && value.is_some() {
            true => {
                found.clone_from(value);
                false
            }
            false => true,
        });
        found
    }

    fn switch(&mut self, name: &str) -> Result<bool> {
        let Some(at) = self.fields.iter().position(|(known, _)| known == name) else { return Ok(false) };
        match self.fields.remove(at).1.as_deref() {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(self.wrong(&format!("{name}={other}: must be true or false"))),
        }
    }

    fn bind(&mut self) -> Result<MountKind> {
        let from = self.take(&["from"]);
        let source = self.take(&["source", "src"]).unwrap_or_default();
        let writable = self.switch("rw")? || self.switch("readwrite")?;
        // The default, said once more; `ro=false` means the other.
        let read_only =
            ["ro", "readonly"].map(|name| match self.fields.iter().any(|(known, _)| known == name) {
                true => self.switch(name).map(Some),
                false => Ok(None),
            });
        let [one, other] = read_only;
        let writable = one?.or(other?).map_or(writable, |read_only| !read_only);
        Ok(MountKind::Bind { from, source, writable })
    }

    fn cache(&mut self) -> Result<MountKind> {
        let sharing = match self.take(&["sharing"]).as_deref() {
            None | Some("shared") => CacheSharing::Shared,
            Some("private") => CacheSharing::Private,
            Some("locked") => CacheSharing::Locked,
            Some(other) => {
                return Err(self.wrong(&format!("sharing={other}: must be shared, private or locked")));
            }
        };
        let read_only = self.switch("ro")? || self.switch("readonly")?;
        self.switch("rw")?;
        self.switch("readwrite")?;
        Ok(MountKind::Cache {
            id: self.take(&["id"]),
            sharing,
            from: self.take(&["from"]),
            source: self.take(&["source", "src"]).unwrap_or_default(),
            read_only,
            owner: self.access(0o755)?,
        })
    }

    fn secret(&mut self) -> Result<MountKind> {
        Ok(MountKind::Secret {
            id: self.take(&["id"]),
            variable: self.take(&["env"]),
            required: self.switch("required")?,
            owner: self.access(0o400)?,
        })
    }

    fn access(&mut self, mode: u32) -> Result<Access> {
        let id = |this: &mut Self, name: &str| match this.take(&[name]) {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| this.wrong(&format!("{name}={text}: must be a number"))),
        };
        let (uid, gid) = (id(self, "uid")?, id(self, "gid")?);
        let mode = match self.take(&["mode"]) {
            None => mode,
            Some(text) => match u32::from_str_radix(&text, 8) {
                Ok(mode @ 0..=0o7777) => mode,
                _ => return Err(self.wrong(&format!("mode={text}: must be octal, as 0755"))),
            },
        };
        Ok(Access { uid, gid, mode })
    }

    fn finish(self) -> Result<()> {
        match self.fields.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(self.wrong(&format!("{name}: not known for this type, or without a value")))
            }
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::invalid(format!("RUN --mount={}: {what}", self.text))
    }
}

/// What stands between commas, but not those in double quotes around a field.
fn quoted_fields(text: &str) -> Vec<String> {
    let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    for letter in text.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            letter => field.push(letter),
        }
    }
    fields.push(field);
    fields
}
