//! The flags of `build` that have fields: what comes out, secrets, agents.

use std::path::PathBuf;

use crate::build::{Destination, Output, Secret};
use crate::error::{Error, Result};
use crate::reference::Reference;

/// What comes out, and what becomes of it.
#[derive(Debug)]
pub struct BuildOutput {
    /// As the builder has it.
    pub output: Output,
    /// More names of the image.
    pub names: Vec<Reference>,
    /// Whether it goes to registries.
    pub is_pushed: bool,
}

/// `type=local,dest=FOLDER`, or a folder alone, or `-` for a tar on stdout.
pub fn parse_output(text: &str) -> Result<BuildOutput> {
    let of = |output: Output| BuildOutput { output, names: Vec::new(), is_pushed: false };
    if text == "-" {
        return Ok(of(Output::Tar(Destination::Stdout)));
    }
    if !text.is_empty() && !text.contains(['=', ',']) {
        return Ok(of(Output::Folder(PathBuf::from(text))));
    }
    let wrong = |what: &str| Error::invalid(format!("--output {text}: {what}"));
    let (mut kind, mut destination, mut named) = ("", None, of(Output::Nothing));
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("type", value)) => kind = value,
            Some(("dest" | "destination", "")) => return Err(wrong("dest is empty")),
            Some(("dest" | "destination", value)) => destination = Some(value),
            Some(("name", value)) => {
                named.names.push(Reference::parse(value).map_err(|error| wrong(&error.to_string()))?)
            }
            Some(("push", "true")) => named.is_pushed = true,
            Some(("push", "false") | ("load", "true")) => {}
            _ => return Err(wrong(&format!("{field}: must be type=…, dest=…, name=… or push=true"))),
        }
    }
    let to = |path: &str| match path {
        "-" => Destination::Stdout,
        path => Destination::File(PathBuf::from(path)),
    };
    named.is_pushed |= kind == "registry";
    named.output = match (kind, destination) {
        ("image" | "registry" | "docker", None) => Ok(Output::Image),
        ("cacheonly", None) => Ok(Output::Nothing),
        ("local", Some("-")) => Err(wrong("a folder cannot go to stdout: type=tar can")),
        ("local", Some(folder)) => Ok(Output::Folder(PathBuf::from(folder))),
        ("local", None) => Err(wrong("dest is missing")),
        ("tar", Some(path)) => Ok(Output::Tar(to(path))),
        ("docker" | "oci", Some(path)) => Ok(Output::Archive(to(path))),
        ("tar" | "oci", None) => Err(wrong("dest is missing: - is stdout")),
        ("image" | "registry" | "cacheonly", Some(_)) => Err(wrong("dest: it goes into the store")),
        _ => Err(wrong("type must be image, registry, local, tar, docker, oci or cacheonly")),
    }?;
    Ok(named)
}

/// `id=NAME,src=FILE`, `id=NAME,env=VARIABLE`; `id=NAME` alone is the variable of that name, or the file.
pub fn parse_secret(text: &str) -> Result<(String, Secret)> {
    let wrong = |what: &str| Error::invalid(format!("--secret {text}: {what}"));
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("id", value)) if !value.is_empty() => id = Some(value.to_string()),
            Some(("src" | "source", value)) => file = Some(value.to_string()),
            Some(("env", value)) => variable = Some(value.to_string()),
            Some(("type", value @ ("file" | "env"))) => kind = Some(value),
            _ => return Err(wrong(&format!("{field}: must be id=NAME, src=FILE or env=VARIABLE"))),
        }
    }
    let id = id.ok_or_else(|| wrong("id is missing"))?;
    // With `type=env` the source is a variable.
    if kind == Some("env") && variable.is_none() {
        variable = file.take().or_else(|| Some(id.clone()));
    }
    let own = std::env::var_os(variable.as_deref().unwrap_or(&id));
    let bytes = |value: std::ffi::OsString| Secret::Value(value.into_encoded_bytes());
    let secret = match (file, variable, own) {
        (Some(path), None, _) => Secret::File(PathBuf::from(path)),
        (Some(_), Some(_), _) => return Err(wrong("src and env: leave one of them out")),
        (None, Some(_), Some(value)) => bytes(value),
        (None, Some(variable), None) => return Err(wrong(&format!("there is no variable {variable}"))),
        (None, None, Some(value)) if kind.is_none() => bytes(value),
        (None, None, _) => Secret::File(PathBuf::from(&id)),
    };
    match &secret {
        Secret::File(path) if !path.is_file() => Err(wrong(&format!("there is no file {}", path.display()))),
        _ => Ok((id, secret)),
    }
}

/// `default` is the agent of `SSH_AUTH_SOCK`; `ID=SOCKET` another one.
pub fn parse_ssh(text: &str) -> Result<(String, PathBuf)> {
    use std::os::unix::fs::FileTypeExt;
    let wrong = |what: &str| Error::invalid(format!("--ssh {text}: {what}"));
    let (id, path) = text.split_once('=').unwrap_or((text, ""));
    let path = match path {
        "" => std::env::var_os("SSH_AUTH_SOCK")
            .map(PathBuf::from)
            .ok_or_else(|| wrong("SSH_AUTH_SOCK is not set"))?,
        path => PathBuf::from(path),
    };
    match std::fs::metadata(&path) {
        Ok(status) if status.file_type().is_socket() => Ok((id.to_string(), path)),
        Ok(_) => Err(wrong("it is no agent's socket: start ssh-agent, and add the key to it")),
        Err(_) => Err(wrong(&format!("there is no {}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_have_a_type() {
        let parse = |text| format!("{:?}", parse_output(text).unwrap().output);
        assert_eq!(parse("out"), "Folder(\"out\")");
        assert_eq!(parse("-"), "Tar(Stdout)");
        assert_eq!(parse("type=oci,dest=x.tar"), "Archive(File(\"x.tar\"))");
        assert_eq!(parse("type=docker"), "Image");
        assert_eq!(parse("type=cacheonly"), "Nothing");
        let pushed = parse_output("type=registry,name=r/a:1").unwrap();
        assert!(pushed.is_pushed && pushed.names.len() == 1);
        for wrong in [
            "",
            ",",
            "out,",
            "type=local",
            "type=local,dest=-",
            "type=tar,dest=",
            "type=x",
            "type=tar,foo=1",
            "type=image,dest=x",
        ] {
            assert!(parse_output(wrong).unwrap_err().to_string().starts_with(&format!("--output {wrong}: ")));
        }
    }

    #[test]
    fn secrets_are_files_or_variables() {
        assert_eq!(
            parse_secret("id=a,src=Cargo.toml").unwrap(),
            ("a".into(), Secret::File("Cargo.toml".into()))
        );
        let path = std::env::var("PATH").unwrap().into_bytes();
        assert_eq!(parse_secret("id=a,env=PATH").unwrap().1, Secret::Value(path.clone()));
        assert_eq!(parse_secret("id=a,type=env,src=PATH").unwrap().1, Secret::Value(path));
        for wrong in ["src=x", "id=a,src=/nonesuch", "id=a,env=NONESUCH_VARIABLE", "id=a,foo=b"] {
            assert!(parse_secret(wrong).is_err(), "{wrong}");
        }
    }
}
