//! Heredocs: `<<EOF`, `<<-EOF`, `<<"EOF"`, with the lines that follow.

use super::word::split_words;

/// A heredoc and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, which is also the name of its file.
    pub name: String,
    /// Its lines.
    pub content: String,
    /// Whether variables in it are expanded.
    pub expands: bool,
    /// `<<-`: tabs at the beginnings of its lines are none of it.
    pub chomps: bool,
}

impl Heredoc {
    /// The beginning of one, if a word of a line is that: `3<<-EOF`.
    pub fn parse(word: &str) -> Option<Heredoc> {
        let rest = word.trim_start_matches(|letter: char| letter.is_ascii_digit()).strip_prefix("<<")?;
        let (chomps, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        if rest.is_empty() || rest.contains('<') {
            return None;
        }
        let name: String = rest.chars().filter(|letter| !matches!(letter, '"' | '\'' | '\\')).collect();
        let expands = name.len() == rest.len();
        (!name.is_empty()).then(|| Heredoc { name, content: String::new(), expands, chomps })
    }

    /// Whether a line is the beginning of one and nothing else.
    pub fn is_all_of(line: &str, escape: char) -> bool {
        matches!(&split_words(line, escape)[..], [word] if Heredoc::parse(word).is_some())
    }

    /// Its content without the tabs that are none of it.
    pub fn text(&self) -> String {
        match self.chomps {
            false => self.content.clone(),
            true => self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect(),
        }
    }
}
