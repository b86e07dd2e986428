//! The tags of a repository, page by page.

use serde::Deserialize;
use ureq::http::{Method, header};

use super::Registry;
use super::http::{Request, read};
use crate::error::{Context, Error, Result};
use crate::image::DOCUMENT_MAX;

/// The most pages of a list. Registries have 100 tags or more on each.
const PAGES_MAX: usize = 10_000;

#[derive(Deserialize)]
struct Page {
    /// Null where there are none.
    tags: Option<Vec<String>>,
}

impl Registry {
    /// All tags, as the registry orders them.
    ///
    /// # Errors
    /// There is no such repository; the list is none.
    pub fn tags(&self) -> Result<Vec<String>> {
        let mut tags = Vec::new();
        let mut next = Some(self.url("tags/list"));
        for _ in 0..PAGES_MAX {
            let Some(url) = next else { return Ok(tags) };
            let mut answer = self.send(&Request::new(Method::GET, url))?;
            if !answer.status().is_success() {
                return Err(self.refusal("tags", answer));
            }
            let link = answer.headers().get(header::LINK).and_then(|value| value.to_str().ok());
            next = link.and_then(next_page).map(|page| self.within(page)).transpose()?;
            let text = read(&mut answer, DOCUMENT_MAX).context(|| "tags")?;
            let page: Page = serde_json::from_slice(&text)
                .map_err(|error| Error::corrupt(format!("tags: no list of them: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
        }
        Err(Error::corrupt(format!("tags: their list has more than {PAGES_MAX} pages")))
    }

    /// The address of a page, which is the registry's own.
    fn within(&self, page: &str) -> Result<String> {
        match page.starts_with('/') {
            true => Ok(format!("{}{page}", self.base)),
            false if page.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/')) => {
                Ok(page.to_string())
            }
            false => Err(Error::corrupt(format!(
                "tags: the next page {page} is not the registry's ({})",
                self.base
            ))),
        }
    }
}

/// What stands behind a page: `</v2/a/tags/list?n=100&last=x>; rel="next"`.
fn next_page(link: &str) -> Option<&str> {
    let (page, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.split(';').any(|word| matches!(word.trim(), r#"rel="next""# | "rel=next")).then_some(page)
}

#[cfg(test)]
mod tests {
    use super::next_page;

    #[test]
    fn pages_lead_to_the_next() {
        assert_eq!(
            next_page(r#"</v2/a/tags/list?n=1&last=x>; rel="next""#),
            Some("/v2/a/tags/list?n=1&last=x")
        );
        assert_eq!(next_page(r#"</v2/a>; rel="prev""#), None);
        assert_eq!(next_page("/v2/a"), None);
    }
}
