//! Where the store lies: of root, of an ordinary user, or where the command line says.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use rustix::process::Uid;

use crate::error::{Context, Error, Result};

/// The folders of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What outlives the machine's next start.
    pub data: PathBuf,
    /// What does not: states, sockets, pipes.
    pub runtime: PathBuf,
}

/// What of the environment says where folders are.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `$XDG_DATA_HOME`.
    pub data_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
}

impl Environment {
    /// This process's. Empty and relative values count as none, as the XDG base directory specification says. Without a runtime folder
    /// (`su`, cron) it is the one that a login has, if that is the user's.
    pub fn of_process() -> Environment {
        let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let user = rustix::process::geteuid().as_raw();
        let of_login = Some(PathBuf::from(format!("/run/user/{user}"))).filter(|path| {
            std::fs::symlink_metadata(path).is_ok_and(|status| status.is_dir() && status.uid() == user)
        });
        Environment {
            data_home: folder("XDG_DATA_HOME"),
            runtime_dir: folder("XDG_RUNTIME_DIR").or(of_login),
            home: folder("HOME"),
        }
    }
}

impl Place {
    /// Makes the runtime folder, and makes sure that it is nobody else's: in /tmp anybody may have been faster.
    ///
    /// # Errors
    /// It cannot be made, belongs to another user, or others may write to it.
    pub fn make_runtime(&self) -> Result<()> {
        let shown = || format!("the folder {}", self.runtime.display());
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.runtime);
        made.context(|| format!("make {}", shown()))?;
        let status = std::fs::symlink_metadata(&self.runtime).context(shown)?;
        let user = rustix::process::geteuid().as_raw();
        let is_own = status.is_dir() && (status.uid() == user || status.uid() == 0);
        match is_own && status.mode() & 0o022 == 0 {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "{}: it is another user's, or others may write to it: --exec-root names another one",
                shown()
            ))),
        }
    }

    /// The usual place of a user, with what the command line says instead.
    ///
    /// # Errors
    /// There is no home to put data in; a path is relative.
    pub fn of_user(
        user: Uid,
        environment: &Environment,
        data_root: Option<PathBuf>,
        exec_root: Option<PathBuf>,
    ) -> Result<Place> {
        let data = match data_root {
            Some(path) => absolute("--data-root", path)?,
            None => usual_data(user, environment)?,
        };
        let runtime = match exec_root {
            Some(path) => absolute("--exec-root", path)?,
            None => usual_runtime(user, environment),
        };
        Ok(Place { data, runtime })
    }
}

fn absolute(flag: &str, path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path)
        .map_err(|error| Error::from(error).context(format!("{flag} {}", path.display())))
}

fn usual_data(user: Uid, environment: &Environment) -> Result<PathBuf> {
    if user.is_root() {
        return Ok(PathBuf::from("/var/lib/pillbox"));
    }
    let home = environment.home.as_ref().map(|home| home.join(".local/share"));
    let folder = environment.data_home.clone().or(home).ok_or_else(|| {
        Error::invalid(
            "neither HOME nor XDG_DATA_HOME is set: --data-root says where images and containers are kept",
        )
    })?;
    Ok(folder.join("pillbox"))
}

/// As the runtime's: in /tmp where there is no runtime folder.
fn usual_runtime(user: Uid, environment: &Environment) -> PathBuf {
    match &environment.runtime_dir {
        _ if user.is_root() => PathBuf::from("/run/pillbox"),
        Some(folder) => folder.join("pillbox"),
        None => PathBuf::from(format!("/tmp/pillbox-{}", user.as_raw())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(user: u32, environment: &Environment, data: Option<&str>) -> Result<Place> {
        Place::of_user(Uid::from_raw(user), environment, data.map(PathBuf::from), None)
    }

    #[test]
    fn root_has_the_machines_folders_and_others_their_own() {
        let environment = Environment {
            home: Some("/home/ann".into()),
            runtime_dir: Some("/run/user/1000".into()),
            data_home: None,
        };
        let of_root = place(0, &environment, None).unwrap();
        assert_eq!(of_root, Place { data: "/var/lib/pillbox".into(), runtime: "/run/pillbox".into() });
        let of_user = place(1000, &environment, None).unwrap();
        assert_eq!(of_user.data, PathBuf::from("/home/ann/.local/share/pillbox"));
        assert_eq!(of_user.runtime, PathBuf::from("/run/user/1000/pillbox"));
        let elsewhere = Environment { data_home: Some("/data".into()), ..environment };
        assert_eq!(place(1000, &elsewhere, None).unwrap().data, PathBuf::from("/data/pillbox"));
        assert_eq!(place(1000, &elsewhere, Some("/x")).unwrap().data, PathBuf::from("/x"));
    }

    #[test]
    fn nobodys_home_is_an_error_with_the_remedy() {
        let error = place(1000, &Environment::default(), None).unwrap_err().to_string();
        assert!(error.contains("--data-root"), "{error}");
        let found = place(1000, &Environment::default(), Some("/x")).unwrap();
        assert_eq!(found.runtime, PathBuf::from("/tmp/pillbox-1000"));
    }
}
