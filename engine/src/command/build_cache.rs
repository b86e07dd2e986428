//! `--cache-from` and `--cache-to` of `build`, as buildx has them.

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
    Folder {
        /// Where it is.
        path: PathBuf,
        /// Its name there.
        tag: Option<String>,
        /// Its digest instead.
        digest: Option<Digest>,
    },
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
    let fields = Fields::parse("--cache-from", text)?;
    fields.only(&["type", "ref", "src", "tag", "digest"])?;
    match fields.kind()? {
        "registry" => Ok(vec![CacheName::Reference(fields.needed("ref")?.to_string())]),
        "local" => Ok(vec![fields.folder("src")?]),
        other => Err(fields.wrong(&format!("type={other}: must be registry or local"))),
    }
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
    let fields = Fields::parse("--cache-to", text)?;
    let known = ["type", "ref", "dest", "tag", "mode", "ignore-error", "compression", "force-compression"];
    fields.only(&[&known[..], &["oci-mediatypes", "image-manifest"]].concat())?;
    // What caches are anyway.
    for (name, usual) in [("compression", "gzip"), ("oci-mediatypes", "true"), ("image-manifest", "true")] {
        if let Some(value) = fields.get(name).filter(|value| *value != usual) {
            return Err(fields.wrong(&format!("{name}={value}: a cache is always {name}={usual}")));
        }
    }
    let name = match fields.kind()? {
        "inline" => CacheName::Inline,
        "registry" => CacheName::Reference(fields.needed("ref")?.to_string()),
        "local" => fields.folder("dest")?,
        other => return Err(fields.wrong(&format!("type={other}: must be inline, registry or local"))),
    };
    let mode = match (fields.get("mode"), &name) {
        (Some("max"), CacheName::Inline) => {
            return Err(
                fields.wrong("mode=max: an image has only its own layers: type=registry or type=local")
            );
        }
        (None | Some("min"), _) => CacheMode::Min,
        (Some("max"), _) => CacheMode::Max,
        (Some(other), _) => return Err(fields.wrong(&format!("mode={other}: must be min or max"))),
    };
    Ok(CacheWish { name, mode, ignores_errors: fields.get("ignore-error") == Some("true") })
}

/// Caches by their names.
///
/// # Errors
/// A name is none.
pub fn caches(
    store: &Store,
    access: &Arc<Access>,
    sources: Vec<CacheName>,
    targets: Vec<CacheWish>,
) -> Result<Caches> {
    let mut caches = Caches::default();
    for source in sources {
        let reference = |name: &str| reference("--cache-from", name);
        caches.sources.push(match source {
            CacheName::Inline => continue,
            CacheName::Reference(name) => image_or_registry(store, reference(&name)?, access.clone())?,
            folder => shelf_of(folder),
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
            folder => shelf_of(folder),
        };
        caches.targets.push(CacheTarget { shelf, mode, ignores_errors });
    }
    Ok(caches)
}

fn shelf_of(folder: CacheName) -> Arc<dyn Shelf> {
    Arc::new(match folder {
        CacheName::Folder { path, tag: _, digest: Some(digest) } => LayoutShelf::of_digest(path, digest),
        CacheName::Folder { path, tag, digest: None } => LayoutShelf::tagged(path, tag.as_deref()),
        CacheName::Inline | CacheName::Reference(_) => LayoutShelf::tagged(".", None),
    })
}

fn reference(flag: &str, name: &str) -> Result<Reference> {
    Reference::parse(name).map_err(|error| error.context(format!("{flag} {name}")))
}

/// `NAME=VALUE,…`.
struct Fields<'t> {
    flag: &'static str,
    text: &'t str,
    fields: Vec<(&'t str, &'t str)>,
}

impl<'t> Fields<'t> {
    fn parse(flag: &'static str, text: &'t str) -> Result<Fields<'t>> {
        let mut fields = Fields { flag, text, fields: Vec::new() };
        for field in text.split(',') {
            let pair = field.split_once('=');
            fields.fields.push(pair.ok_or_else(|| fields.wrong(&format!("{field}: must be NAME=VALUE")))?);
        }
        Ok(fields)
    }

    fn wrong(&self, what: &str) -> Error {
        Error::invalid(format!("{} {}: {what}", self.flag, self.text))
    }

    fn only(&self, known: &[&str]) -> Result<()> {
        match self.fields.iter().find(|(name, _)| !known.contains(name)) {
            Some((name, _)) => Err(self.wrong(&format!("{name}: must be one of {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    fn get(&self, name: &str) -> Option<&'t str> {
        self.fields.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn needed(&self, name: &str) -> Result<&'t str> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| self.wrong(&format!("{name} is missing")))
    }

    fn kind(&self) -> Result<&'t str> {
        self.needed("type")
    }

    fn folder(&self, name: &str) -> Result<CacheName> {
        let digest = self.get("digest").map(|text| {
            text.parse::<Digest>().map_err(|error| error.context(format!("{} {}", self.flag, self.text)))
        });
        Ok(CacheName::Folder {
            path: PathBuf::from(self.needed(name)?),
            tag: self.get("tag").map(str::to_string),
            digest: digest.transpose()?,
        })
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
        let folder = CacheName::Folder { path: "c".into(), tag: Some("t".into()), digest: None };
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
        for wrong in
            ["type=s3,bucket=x", "type=inline,mode=max", "type=local,dest=c,mode=all", "type=registry"]
        {
            let error = parse_target(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--cache-to {wrong}: ")), "{error}");
        }
    }
}
