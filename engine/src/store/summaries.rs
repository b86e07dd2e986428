//! Short texts of containers at rest, in one file: a list of hundreds reads that instead of a file or two for each. It is no state:
//! it can be deleted at any moment. Of one that is torn, what is not whole is no text that its reader takes.

use crate::order;

use std::ops::Range;
use std::path::PathBuf;

use super::at_rest::{REST, Rest};
use super::{Containers, SUMMARIES, read_whole, write_without_sync};

/// How many containers that are not in the file yet, or are no longer as they are there, are worth writing it; of many one in eight.
const WORTH_WRITING: usize = 32;

/// The texts.
#[derive(Debug)]
pub struct Summaries {
    path: PathBuf,
    bytes: Vec<u8>,
    /// In order.
    places: Vec<(Rest, Range<usize>)>,
}

impl Summaries {
    /// Those that are known.
    pub fn read(containers: &Containers) -> Summaries {
        let path = containers.folder().join(SUMMARIES);
        // What cannot be read is not known.
        let bytes = read_whole(&path, <[u8]>::to_vec).ok().flatten().unwrap_or_default();
        Summaries { path, places: places(&bytes), bytes }
    }

    /// That of a container in this state.
    pub fn find(&self, rest: &Rest) -> Option<&[u8]> {
        let found = self.places.binary_search_by(|(known, _)| known.cmp(rest)).ok()?;
        self.bytes.get(self.places[found].1.clone())
    }

    /// Writes those of all containers at rest, if that is worth it. A text that was known already is `None`.
    pub fn keep(&self, mut all: Vec<(Rest, Option<Vec<u8>>)>) {
        let fresh = all.iter().filter(|(_, text)| text.is_some()).count();
        let stale = (self.places.len() + fresh).saturating_sub(all.len());
        if fresh.max(stale) < WORTH_WRITING.max(all.len() / 8) {
            return;
        }
        order::sort_by_key(&mut all, |(rest, _)| *rest);
        let mut bytes = Vec::new();
        for (rest, text) in &all {
            let Some(text) = text.as_deref().or_else(|| self.find(rest)) else { continue };
            let Ok(length) = u32::try_from(text.len()) else { continue };
            bytes.extend_from_slice(rest.as_bytes());
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text);
        }
        // On a full disk, or if another command lists at the same moment, the next one tries again.
        let _ = write_without_sync(&self.path, &bytes);
    }
}

/// Where the texts stand: each behind its container's state and its own length.
fn places(bytes: &[u8]) -> Vec<(Rest, Range<usize>)> {
    let mut places: Vec<(Rest, Range<usize>)> = Vec::new();
    let mut rest = bytes;
    while let Some((state, behind)) = rest.split_first_chunk::<REST>()
        && let Some((length, behind)) = behind.split_first_chunk()
        && let Ok(length) = usize::try_from(u32::from_be_bytes(*length))
        && length <= behind.len()
    {
        let begin = bytes.len() - behind.len();
        places.push((Rest::from(*state), begin..begin + length));
        rest = &behind[length..];
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(number: u8) -> Rest {
        Rest::from([number; REST])
    }

    #[test]
    fn texts_are_found_again_and_torn_ones_are_not() {
        let folder = std::env::temp_dir().join(format!("pillbox-summaries-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join(SUMMARIES);
        let text = |number: u8| vec![number; usize::from(number)];
        let none = Summaries { path: path.clone(), bytes: Vec::new(), places: Vec::new() };
        none.keep((0..31).map(|number| (rest(number), Some(text(number)))).collect());
        assert!(!path.exists(), "written for fewer than are worth it");
        none.keep((0..40).rev().map(|number| (rest(number), Some(text(number)))).collect());
        let read = |bytes: Vec<u8>| Summaries { path: path.clone(), places: places(&bytes), bytes };
        let whole = std::fs::read(&path).unwrap();
        let known = read(whole.clone());
        assert!((0..40).all(|number| known.find(&rest(number)) == Some(&text(number)[..])));
        assert_eq!(known.find(&rest(40)), None);
        // Known ones are carried over.
        known.keep((30..80).map(|number| (rest(number), (number >= 40).then(|| text(number)))).collect());
        let known = read(std::fs::read(&path).unwrap());
        assert_eq!((known.find(&rest(29)), known.places.len()), (None, 50));
        assert!((30..80).all(|number| known.find(&rest(number)) == Some(&text(number)[..])));
        for length in 0..whole.len() {
            let torn = read(whole[..length].to_vec());
            assert!((0..40).all(|number| torn.find(&rest(number)).is_none_or(|found| found == text(number))));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
