//! Lines out of what a program writes, for logs that keep one line at a time.

use super::record::Stream;

/// Longer lines come in parts, as Docker has it.
pub const PART_MAX: usize = 16 << 10;

/// A line without its end, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    pub stream: Stream,
    pub text: &'a [u8],
    /// Whether its line ends with it.
    pub is_last: bool,
}

/// The beginnings of lines whose ends have not been written yet.
#[derive(Debug, Default)]
pub struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lines {
    /// Takes what a program wrote.
    pub fn take(&mut self, stream: Stream, content: &[u8], each: &mut dyn FnMut(Part<'_>)) {
        let open = match stream {
            Stream::Stderr => &mut self.stderr,
            Stream::Stdout | Stream::Note => &mut self.stdout,
        };
        for line in content.split_inclusive(|&byte| byte == b'\n') {
            let (mut text, is_last) = match line {
                [text @ .., b'\n'] => (text, true),
                text => (text, false),
            };
            while open.len() + text.len() > PART_MAX {
                let (now, rest) = text.split_at(PART_MAX - open.len());
                open.extend_from_slice(now);
                each(Part { stream, text: open, is_last: false });
                open.clear();
                text = rest;
            }
            match (is_last, open.is_empty()) {
                (true, true) => each(Part { stream, text, is_last }),
                (true, false) => {
                    open.extend_from_slice(text);
                    each(Part { stream, text: open, is_last });
                    open.clear();
                }
                (false, _) => open.extend_from_slice(text),
            }
        }
    }

    /// The program has ended: what is there is a line.
    pub fn finish(&mut self, each: &mut dyn FnMut(Part<'_>)) {
        for (stream, open) in [(Stream::Stdout, &mut self.stdout), (Stream::Stderr, &mut self.stderr)] {
            if !open.is_empty() {
                each(Part { stream, text: open, is_last: true });
                open.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_long_ones_in_parts() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut each = |part: Part<'_>| seen.push((part.stream, part.text.to_vec(), part.is_last));
        lines.take(Stream::Stdout, b"one\ntw", &mut each);
        lines.take(Stream::Stderr, b"wrong\n\n", &mut each);
        lines.take(Stream::Stdout, b"o\n", &mut each);
        let long = vec![b'x'; PART_MAX + 5];
        lines.take(Stream::Stdout, &long, &mut each);
        lines.take(Stream::Stdout, b"\nend", &mut each);
        lines.finish(&mut each);
        let expected: [(Stream, &[u8], bool); 7] = [
            (Stream::Stdout, b"one", true),
            (Stream::Stderr, b"wrong", true),
            (Stream::Stderr, b"", true),
            (Stream::Stdout, b"two", true),
            (Stream::Stdout, &long[..PART_MAX], false),
            (Stream::Stdout, b"xxxxx", true),
            (Stream::Stdout, b"end", true),
        ];
        assert_eq!(seen, expected.map(|(stream, text, is_last)| (stream, text.to_vec(), is_last)));
    }
}
