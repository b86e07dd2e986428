//! `--cache-from` and `--cache-to` of `build`, as buildx has them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::build::{CacheMode, CacheTarget, Caches, LayoutShelf, RegistryShelf, Shelf, image_or_registry};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::registry::Access;
use crate::store::Store;

/// A cache that is named.
#[derive(Debug, PartialEq, Eq)]
pub enum CacheName {
    /// In the image that comes out.
    Inline,
    /// In a registry, or in an image.
    Reference(String),
    /// In a folder.
    Folder(CacheFolder),
}

/// A cache in a folder.
#[derive(Debug, PartialEq, Eq)]
pub struct CacheFolder {
    /// Where it is.
    pub path: PathBuf,
    /// Its name there.
    pub tag: Option<String>,
    /// Its digest instead.
    pub digest: Option<Digest>,
}

impl CacheFolder {
    /// On this machine.
    pub fn shelf(self) -> Arc<dyn Shelf> {
        let CacheFolder { path, tag, digest } = self;
        Arc::new(match digest {
            Some(digest) => LayoutShelf::of_digest(path, digest),
            None => LayoutShelf::tagged(path, tag.as_deref()),
        })
    }
}

/// A cache that is to be made.
#[derive(Debug, PartialEq, Eq)]
pub struct CacheWish {
    /// Where.
    pub name: CacheName,
    /// Which steps it has.
    pub mode: CacheMode,
    /// Whether the build goes well without it.
    pub ignores_errors: bool,
}

/// `type=registry,ref=NAME`, `type=local,src=FOLDER`; or names alone.
///
/// # Errors
/// A field is not known, or one is missing.
pub fn parse_sources(text: &str) -> Result<Vec<CacheName>> {
    if !text.contains('=') {
        return Ok(text.split(',').map(|name| CacheName::Reference(name.to_string())).collect());
    }
    Fields::parse("--cache-from", text)?.source().map(|source| vec![source])
}

/// The same by a type and what else is said of it.
///
/// # Errors
/// A field is not known, or one is missing.
pub fn source_of(kind: &str, attributes: &BTreeMap<String, String>) -> Result<CacheName> {
    Fields::of("--cache-from", kind, attributes).source()
}

/// A cache that is to be made, by a type and what else is said of it.
///
/// # Errors
/// A field is not known, or one is missing.
pub fn target_of(kind: &str, attributes: &BTreeMap<String, String>) -> Result<CacheWish> {
    Fields::of("--cache-to", kind, attributes).target()
}

/// `type=inline`, `type=registry,ref=NAME`, `type=local,dest=FOLDER`; or a name alone.
///
/// # Errors
/// A field is not known, or one is missing.
pub fn parse_target(text: &str) -> Result<CacheWish> {
    if !text.contains(['=', ',']) {
        let name = CacheName::Reference(text.to_string());
        return Ok(CacheWish { name, mode: CacheMode::Min, ignores_errors: false });
    }
    Fields::parse("--cache-to", text)?.target()
}

/// Caches by their names; `open` finds folders.
///
/// # Errors
/// A name is none.
pub fn caches(
    store: &Store,
    access: &Arc<Access>,
    sources: Vec<CacheName>,
    targets: Vec<CacheWish>,
    open: impl Fn(CacheFolder) -> Result<Arc<dyn Shelf>>,
) -> Result<Caches> {
    let mut caches = Caches::default();
    for source in sources {
        let reference = |name: &str| reference("--cache-from", name);
        caches.sources.push(match source {
            CacheName::Inline => continue,
            CacheName::Reference(name) => image_or_registry(store, reference(&name)?, access.clone())?,
            CacheName::Folder(folder) => open(folder)?,
        });
    }
    for CacheWish { name, mode, ignores_errors } in targets {
        let shelf: Arc<dyn Shelf> = match name {
            CacheName::Inline => {
                caches.is_inline = true;
                continue;
            }
            CacheName::Reference(name) => {
                let reference = reference("--cache-to", &name)?;
                let shelf = RegistryShelf::target(reference, access.clone());
                Arc::new(shelf.map_err(|error| error.context("--cache-to"))?)
            }
            CacheName::Folder(folder) => open(folder)?,
        };
        caches.targets.push(CacheTarget { shelf, mode, ignores_errors });
    }
    Ok(caches)
}

fn reference(flag: &str, name: &str) -> Result<Reference> {
    Reference::parse(name).map_err(|error| error.context(format!("{flag} {name}")))
}

/// `NAME=VALUE,…`.
struct Fields {
    flag: &'static str,
    text: String,
    fields: Vec<(String, String)>,
}

impl Fields {
    fn parse(flag: &'static str, text: &str) -> Result<Fields> {
        let mut fields = Fields { flag, text: text.to_string(), fields: Vec::new() };
        for field in text.split(',') {
            let pair = field.split_once('=');
            let (name, value) = pair.ok_or_else(|| fields.wrong(&format!("{field}: must be NAME=VALUE")))?;
            fields.fields.push((name.to_string(), value.to_string()));
        }
        Ok(fields)
    }

    fn of(flag: &'static str, kind: &str, attributes: &BTreeMap<String, String>) -> Fields {
        let kind = ("type".to_string(), kind.to_string());
        let others = attributes.iter().map(|(name, value)| (name.clone(), value.clone()));
        let fields: Vec<(String, String)> = [kind].into_iter().chain(others).collect();
        let text: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Fields { flag, text: text.join(","), fields }
    }

    fn source(&self) -> Result<CacheName> {
        self.only(&["type", "ref", "src", "tag", "digest"])?;
        match self.kind()? {
            "registry" => Ok(CacheName::Reference(self.needed("ref")?.to_string())),
            "local" => self.folder("src"),
            other => Err(self.wrong(&format!("type={other}: must be registry or local"))),
        }
    }

    fn target(&self) -> Result<CacheWish> {
        let known =
            ["type", "ref", "dest", "tag", "mode", "ignore-error", "compression", "force-compression"];
        self.only(&[&known[..], &["oci-mediatypes", "image-manifest"]].concat())?;
        // What caches are anyway.
        for (name, usual) in [("compression", "gzip"), ("oci-mediatypes", "true"), ("image-manifest", "true")]
        {
            if let Some(value) = self.get(name).filter(|value| *value != usual) {
                return Err(self.wrong(&format!("{name}={value}: a cache is always {name}={usual}")));
            }
        }
        let ignores_errors = match self.get("ignore-error") {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(self.wrong(&format!("ignore-error={other}: must be true or false"))),
        };
        let name = match self.kind()? {
            "inline" => match ["ref", "dest", "tag"].iter().find(|name| self.get(name).is_some()) {
                Some(name) => {
                    return Err(self.wrong(&format!("{name}: it is in the image, wherever that goes")));
                }
                None => CacheName::Inline,
            },
            "registry" => CacheName::Reference(self.needed("ref")?.to_string()),
            "local" => self.folder("dest")?,
            other => return Err(self.wrong(&format!("type={other}: must be inline, registry or local"))),
        };
        // An image has its own layers alone, whatever the mode.
        let mode = match self.get("mode") {
            None | Some("min") => CacheMode::Min,
            Some("max") => CacheMode::Max,
            Some(other) => return Err(self.wrong(&format!("mode={other}: must be min or max"))),
        };
        Ok(CacheWish { name, mode, ignores_errors })
    }

    fn wrong(&self, what: &str) -> Error {
        Error::invalid(format!("{} {}: {what}", self.flag, self.text))
    }

    fn only(&self, known: &[&str]) -> Result<()> {
        match self.fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(self.wrong(&format!("{name}: must be one of {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn needed(&self, name: &str) -> Result<&str> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| self.wrong(&format!("{name} is missing")))
    }

    fn kind(&self) -> Result<&str> {
        self.needed("type")
    }

    fn folder(&self, name: &str) -> Result<CacheName> {
        let digest = self.get("digest").map(|text| {
            text.parse::<Digest>().map_err(|error| error.context(format!("{} {}", self.flag, self.text)))
        });
        Ok(CacheName::Folder(CacheFolder {
            path: PathBuf::from(self.needed(name)?),
            tag: self.get("tag").map(str::to_string),
            digest: digest.transpose()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_have_a_type() {
        let names = |names: &[&str]| -> Vec<CacheName> {
            names.iter().map(|name| CacheName::Reference(name.to_string())).collect()
        };
        assert_eq!(parse_sources("a:1,b").unwrap(), names(&["a:1", "b"]));
        assert_eq!(parse_sources("type=registry,ref=r/a").unwrap(), names(&["r/a"]));
        let folder = CacheName::Folder(CacheFolder { path: "c".into(), tag: Some("t".into()), digest: None });
        assert_eq!(parse_sources("type=local,src=c,tag=t").unwrap(), [folder]);
        for wrong in ["type=gha", "type=local", "type=registry", "ref=x", "type=local,src=c,foo=1"] {
            let error = parse_sources(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--cache-from {wrong}: ")), "{error}");
        }
        let wish =
            parse_target("type=registry,ref=a,mode=max,ignore-error=true,image-manifest=true").unwrap();
        assert_eq!((wish.mode, wish.ignores_errors), (CacheMode::Max, true));
        assert_eq!(parse_target("type=inline").unwrap().name, CacheName::Inline);
        assert_eq!(parse_target("r/a:1").unwrap().name, CacheName::Reference("r/a:1".into()));
        for wrong in [
            "type=s3,bucket=x",
            "type=local,dest=c,mode=all",
            "type=registry",
            "type=inline,dest=c",
            "type=local,dest=c,ignore-error=1",
        ] {
            let error = parse_target(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--cache-to {wrong}: ")), "{error}");
        }
    }
}
