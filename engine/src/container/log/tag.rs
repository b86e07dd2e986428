//! What a log says of its container: a tag, and chosen labels and variables.

use crate::container::options::LogOptions;
use crate::container::record::ContainerRecord;
use crate::error::{Error, Result};

/// As Docker tags where nothing else is asked for.
const TAG: &str = "{{.ID}}";

/// A container, as its log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSubject {
    /// Its whole id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image, as the command line named it.
    pub image: String,
    /// What `--log-opt tag` makes of it.
    pub tag: String,
    /// Whether a tag was asked for.
    pub has_tag: bool,
    /// The labels and variables that were asked for.
    pub attributes: Vec<(String, String)>,
}

impl LogSubject {
    /// That of a container.
    ///
    /// # Errors
    /// The tag is none.
    pub fn of(record: &ContainerRecord) -> Result<LogSubject> {
        let ContainerRecord { id, name, image, execution, options, .. } = record;
        let LogOptions { tag, labels, variables, .. } = &options.log;
        let image_id = record.image_id().map(ToString::to_string).unwrap_or_default();
        let value = |field: &str| {
            let short = |text: &str| text.get(..12).unwrap_or(text).to_string();
            Some(match field {
                "ID" => short(id),
                "FullID" => id.clone(),
                "Name" => name.clone(),
                "ImageName" => image.clone(),
                "ImageID" => short(image_id.trim_start_matches("sha256:")),
                "ImageFullID" => image_id.clone(),
                "DaemonName" => "box".to_string(),
                _ => return None,
            })
        };
        let label = |name: &String| {
            let value = options.labels.get(name).or(execution.labels.get(name))?;
            Some((name.clone(), value.clone()))
        };
        let environment = execution.env.iter().chain(&options.environment);
        let environment: Vec<(&str, &str)> = environment.filter_map(|text| text.split_once('=')).collect();
        let variable = |name: &String| {
            let (_, value) = environment.iter().rev().find(|(known, _)| known == name)?;
            Some((name.clone(), value.to_string()))
        };
        let attributes = labels.iter().filter_map(label).chain(variables.iter().filter_map(variable));
        Ok(LogSubject {
            tag: fill(tag.as_deref().unwrap_or(TAG), &value)?,
            has_tag: tag.is_some(),
            id: id.clone(),
            name: name.clone(),
            image: image.clone(),
            attributes: attributes.collect(),
        })
    }
}

/// Checks the form of a tag.
///
/// # Errors
/// It has a field that there is not.
pub fn check_tag(tag: &str) -> Result<()> {
    const FIELDS: [&str; 7] = ["ID", "FullID", "Name", "ImageName", "ImageID", "ImageFullID", "DaemonName"];
    fill(tag, &|field| FIELDS.contains(&field).then(String::new)).map(drop)
}

/// Puts values in the place of `{{.FIELD}}`.
fn fill(tag: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let wrong = || {
        Error::invalid(format!(
            "--log-opt tag={tag}: its fields are {{{{.ID}}}}, FullID, Name, ImageName, ImageID, ImageFullID and DaemonName"
        ))
    };
    let (mut text, mut rest) = (String::new(), tag);
    while let Some((before, behind)) = rest.split_once("{{") {
        let (field, behind) = behind.split_once("}}").ok_or_else(wrong)?;
        text += before;
        text += &field.trim().strip_prefix('.').and_then(value).ok_or_else(wrong)?;
        rest = behind;
    }
    Ok(text + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_fields() {
        let value = |field: &str| (field == "Name").then(|| "web".to_string());
        assert_eq!(fill("a-{{.Name}}/{{ .Name }}", &value).unwrap(), "a-web/web");
        for wrong in ["{{.Nome}}", "{{.Name", "{{Name}}"] {
            assert!(fill(wrong, &value).is_err(), "{wrong}");
        }
        assert!(check_tag("{{.ImageName}}-{{.FullID}}").is_ok() && check_tag("{{.Env}}").is_err());
    }
}
