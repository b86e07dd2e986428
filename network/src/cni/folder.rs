//! Where configurations lie: a folder of files, read in the order of their names.

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::conflist::{Conflist, Plugin, compile, read_document};
use crate::error::{Context, Error, Kind, Result};

/// The folder that runtimes share.
pub const FOLDER: &str = "/etc/cni/net.d";

/// A configuration that was found in a folder.
#[derive(Debug)]
pub struct Found {
    /// The configuration.
    pub conflist: Conflist,
    /// Its file.
    pub path: String,
    /// Why files before it were passed over that are no configurations: for warnings.
    pub skipped: Vec<Error>,
}

impl Conflist {
    /// Reads a file, and plugins from `*.conf` in the folder beside it that has the network's name, unless
    /// the file forbids that (`loadOnlyInlinedPlugins`).
    ///
    /// # Errors
    /// A file cannot be read, or as for [`Conflist::parse`]; with the file's name.
    pub fn read(path: &str) -> Result<Conflist> {
        let text = read_file(path)?;
        let folder = match path.rsplit_once('/') {
            Some(("", _)) => "/",
            Some((folder, _)) => folder,
            None => ".",
        };
        read_document(&text)
            .and_then(|document| compile(document, &text, Some((folder, plugins_beside))))
            .map_err(|error| error.after(path))
    }

    /// Looks for a network in a folder's `*.conflist`, `*.conf` and `*.json`: the first one of that name;
    /// without a name the first file that is right.
    ///
    /// # Errors
    /// There is none; then the error also says what is wrong with the files that were passed over. The first
    /// one of that name is wrong. The folder cannot be read.
    pub fn find(folder: &str, name: Option<&str>) -> Result<Found> {
        let mut skipped = Vec::new();
        for path in files(folder, &["conflist", "conf", "json"])? {
            let text = match read_file(&path) {
                Ok(text) => text,
                Err(error) => {
                    skipped.push(error);
                    continue;
                }
            };
            let within = |error: Error| error.after(&path);
            let read = read_document(&text).map_err(within);
            let is_named = read.as_ref().is_ok_and(|document| name == Some(document.name.as_str()));
            if read.is_ok() && name.is_some() && !is_named {
                continue;
            }
            match read
                .and_then(|document| compile(document, &text, Some((folder, plugins_beside))).map_err(within))
            {
                Ok(conflist) => return Ok(Found { conflist, path, skipped }),
                Err(error) if is_named => return Err(error),
                Err(error) => skipped.push(error),
            }
        }
        let missing = match name {
            Some(name) => format!("CNI network {name:?}: no file in {folder} has this name"),
            None => format!("CNI network: {folder} has no configuration (*.conflist, *.conf, *.json)"),
        };
        let missing = Error::new(Kind::Missing, missing);
        Err(skipped.into_iter().fold(missing, |missing, error| missing.besides(Err(error))))
    }
}

/// Adds the plugins in a folder's `*.conf`; none if there is no such folder.
fn plugins_beside(folder: &str, plugins: &mut Vec<Plugin>) -> Result<()> {
    for path in files(folder, &["conf"])? {
        let plugin = match String::from_utf8(read_file(&path)?) {
            Ok(text) => Plugin::parse(&text),
            Err(_) => Err(Error::invalid(format_args!("is not UTF-8"))),
        };
        plugins.push(plugin.map_err(|error| error.after(&path))?);
    }
    Ok(())
}

/// The files in a folder with one of those endings, in the order of their names; no folder has no files.
fn files(folder: &str, endings: &[&str]) -> Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let read = || -> std::result::Result<Vec<String>, Errno> {
        let mut paths = Vec::new();
        for entry in Dir::new(rustix::fs::open(folder, flags, Mode::empty())?)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
            if endings.contains(&ending) && entry.file_type() != FileType::Directory {
                paths.push(format!("{folder}/{name}"));
            }
        }
        Ok(paths)
    };
    let mut paths = match read() {
        Err(Errno::NOENT) => Vec::new(),
        paths => paths.context(format_args!("read {folder}"))?,
    };
    pillbox_json::order::sort(&mut paths, |left, right| left < right);
    Ok(paths)
}

fn read_file(path: &str) -> Result<Vec<u8>> {
    // A pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let context = format_args!("read {path}");
    let file = rustix::fs::open(path, flags, Mode::empty()).context(context)?;
    let found = rustix::fs::fstat(&file).context(context)?;
    if !FileType::from_raw_mode(found.st_mode).is_file() {
        return Err(Error::invalid(format_args!("{path}: is not a regular file")));
    }
    pillbox_json::read_document(file.into()).context(context)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A folder of the test's own, which is removed afterwards.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("pillbox-cni-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn write(&self, name: &str, text: &str) -> String {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path.into_os_string().into_string().unwrap()
        }

        fn find(&self, name: Option<&str>) -> Result<(String, Vec<String>)> {
            let found = Conflist::find(self.0.to_str().unwrap(), name)?;
            let file = found.path.rsplit_once('/').unwrap().1.to_string();
            Ok((file, found.skipped.iter().map(Error::to_string).collect()))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn network(name: &str) -> String {
        format!(r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{{"type":"a"}}]}}"#)
    }

    #[test]
    fn the_first_file_with_the_name_counts() {
        let folder = Folder::new("names");
        folder.write("30-c.conflist", &network("wanted"));
        folder.write("20-b.conf", r#"{"cniVersion":"0.4.0","name":"wanted","type":"b"}"#);
        folder.write("10-a.conflist", &network("other"));
        folder.write("00-x.json", "{");
        folder.write("00-x.txt", &network("wanted"));
        fs::create_dir(folder.0.join("01.conflist")).unwrap();
        let (file, skipped) = folder.find(Some("wanted")).unwrap();
        assert_eq!((file.as_str(), skipped.len()), ("20-b.conf", 1));
        assert!(
            skipped[0].ends_with(
                "/00-x.json: line 1, column 2: the document ends too early: expected a name in double quotes"
            ),
            "{skipped:?}"
        );
        assert_eq!(folder.find(None).unwrap().0, "10-a.conflist");
    }

    #[test]
    fn a_network_that_is_not_found_is_named_with_the_files_that_are_wrong() {
        let folder = Folder::new("missing");
        let error = folder.find(Some("n")).unwrap_err();
        assert_eq!(error.kind(), Kind::Missing);
        let at = folder.0.display();
        assert_eq!(error.to_string(), format!("CNI network \"n\": no file in {at} has this name"));
        folder.write("a.conflist", "[]");
        let error = folder.find(None).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "CNI network: {at} has no configuration (*.conflist, *.conf, *.json); {at}/a.conflist: [] is not an object"
            )
        );
        let nowhere = Conflist::find(folder.0.join("nowhere").to_str().unwrap(), None).unwrap_err();
        assert!(nowhere.to_string().contains("/nowhere has no configuration"), "{nowhere}");
    }

    #[test]
    fn the_wanted_network_is_not_passed_over_when_it_is_wrong() {
        let folder = Folder::new("wrong");
        folder.write("a.conflist", r#"{"cniVersion":"9.0.0","name":"n","plugins":[{"type":"a"}]}"#);
        folder.write("b.conflist", &network("n"));
        let error = folder.find(Some("n")).unwrap_err().to_string();
        assert!(error.contains("/a.conflist: cniVersion: \"9.0.0\", cniVersions: []: must be"), "{error}");
        assert_eq!(folder.find(None).unwrap().0, "b.conflist");
    }

    #[test]
    fn plugins_stand_in_files_beside_the_list() {
        let folder = Folder::new("beside");
        let path = folder.write("n.conflist", &network("n"));
        folder.write("n/20.conf", r#"{"type":"c"}"#);
        folder.write("n/10.conf", r#"{"type":"b","x":1}"#);
        folder.write("n/10.conflist", "no configuration");
        let kinds = |conflist: &Conflist| -> Vec<String> {
            conflist.plugins.iter().map(|plugin| plugin.kind.clone()).collect()
        };
        let conflist = Conflist::read(&path).unwrap();
        assert_eq!(kinds(&conflist), ["a", "b", "c"]);
        // What is kept has all of them, and needs no file.
        assert_eq!(Conflist::parse(conflist.to_json().as_bytes()).unwrap(), conflist);
        folder.write("n.conflist", r#"{"cniVersion":"1.1.0","name":"n"}"#);
        assert_eq!(kinds(&Conflist::read(&path).unwrap()), ["b", "c"]);
        let inlined = network("n").replace(r#""plugins""#, r#""loadOnlyInlinedPlugins":true,"plugins""#);
        folder.write("n.conflist", &inlined);
        assert_eq!(kinds(&Conflist::read(&path).unwrap()), ["a"]);
        folder.write("n.conflist", r#"{"cniVersion":"1.1.0","name":"n","loadOnlyInlinedPlugins":true}"#);
        assert!(Conflist::read(&path).unwrap_err().to_string().ends_with("n.conflist: plugins: lists none"));
        folder.write("n.conflist", r#"{"cniVersion":"1.1.0","name":"m"}"#);
        let error = Conflist::read(&path).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("nor is there a file *.conf in {}/m", folder.0.display())),
            "{error}"
        );
        folder.write("m/wrong.conf", "{}");
        let error = Conflist::read(&path).unwrap_err().to_string();
        assert!(error.ends_with("/m/wrong.conf: type: missing"), "{error}");
    }

    #[test]
    fn only_regular_files_are_read() {
        let error = Conflist::read("/dev/null").unwrap_err().to_string();
        assert_eq!(error, "/dev/null: is not a regular file");
        let error = Conflist::read("/nowhere.conflist").unwrap_err().to_string();
        assert_eq!(error, "read /nowhere.conflist: no such file or folder");
    }
}
