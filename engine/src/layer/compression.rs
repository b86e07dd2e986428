//! gzip, zstd, xz and bzip2, told apart by their first bytes.

use std::fmt;
use std::io::{BufRead, BufReader, Chain, Cursor, ErrorKind, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::error::{Error, Result};
use crate::stop::{Stop, Stoppable};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];

/// How much is read at once.
const BUFFER: usize = 1 << 17;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Compression {
    /// By what a stream begins with, of which six bytes tell.
    fn of(beginning: &[u8]) -> Option<Compression> {
        let has_level = || beginning.get(3).is_some_and(|level| (b'1'..=b'9').contains(level));
        match beginning {
            gzip if gzip.starts_with(GZIP) => Some(Compression::Gzip),
            zstd if zstd.starts_with(ZSTD) => Some(Compression::Zstd),
            xz if xz.starts_with(XZ) => Some(Compression::Xz),
            bzip2 if bzip2.starts_with(BZIP2) && has_level() => Some(Compression::Bzip2),
            _ => None,
        }
    }

    fn read<'a>(self, stream: impl BufRead + 'a, stop: &Stop) -> Box<dyn Read + 'a> {
        match self {
            Compression::Gzip => Box::new(Gzip(MultiGzDecoder::new(stream))),
            Compression::Zstd => Box::new(Plain(Frames {
                stream,
                decoder: FrameDecoder::new(),
                is_within: false,
                stop: stop.clone(),
            })),
            Compression::Xz => Box::new(xz(stream)),
            Compression::Bzip2 => Box::new(bzip2(stream)),
        }
    }
}

fn xz<R: BufRead>(stream: R) -> Named<XzReader<R>> {
    Named { name: "xz", reader: XzReader::new_mem_limit(stream, true, XZ_MEMORY_MAX) }
}

fn bzip2<R: BufRead>(stream: R) -> Named<MultiBzDecoder<R>> {
    Named { name: "bzip2", reader: MultiBzDecoder::new(stream) }
}

/// A stream with its first bytes before it.
type Begun<R> = BufReader<Chain<Cursor<Vec<u8>>, Source<Stoppable<R>>>>;

/// Looks how a stream is compressed. However few bytes come at first, as many are waited for as tell.
fn begin<R: Read>(stream: R, stop: &Stop) -> Result<(Option<Compression>, Begun<R>)> {
    // Much that comes may be nothing uncompressed, and little very much: both ends are watched.
    let mut stream = Source(stop.over(stream));
    let mut beginning = Vec::with_capacity(XZ.len());
    let begun = (&mut stream).take(XZ.len() as u64).read_to_end(&mut beginning);
    begun.map_err(|error| or_own(error, |error| error))?;
    let compression = Compression::of(&beginning);
    Ok((compression, BufReader::with_capacity(BUFFER, Cursor::new(beginning).chain(stream))))
}

/// Whether a stream that begins so is compressed; six bytes tell.
pub fn is_compressed(beginning: &[u8]) -> bool {
    Compression::of(beginning).is_some()
}

/// What is in a stream, uncompressed.
///
/// # Errors
/// It cannot be read.
pub fn uncompress<'a>(stream: impl Read + 'a, stop: &Stop) -> Result<Box<dyn Read + 'a>> {
    let (compression, stream) = begin(stream, stop)?;
    Ok(match compression {
        Some(compression) => Box::new(stop.over(compression.read(stream, stop))),
        None => Box::new(Plain(stream)),
    })
}

/// What is kept of a stream that becomes a layer: it is uncompressed if no layer may have it compressed so.
///
/// # Errors
/// It cannot be read.
pub fn uncompress_foreign<'a>(
    stream: impl Read + Send + 'a,
    stop: &Stop,
) -> Result<Box<dyn Read + Send + 'a>> {
    let (compression, stream) = begin(stream, stop)?;
    Ok(match compression {
        Some(Compression::Xz) => Box::new(stop.over(xz(stream))),
        Some(Compression::Bzip2) => Box::new(stop.over(bzip2(stream))),
        Some(Compression::Gzip | Compression::Zstd) | None => Box::new(Plain(stream)),
    })
}

/// The same of a layer, which is kept as it comes, and which others have to be able to read.
///
/// # Errors
/// It cannot be read, or no image may have it compressed so.
pub fn uncompress_layer<'a>(stream: impl Read + 'a, stop: &Stop) -> Result<Box<dyn Read + 'a>> {
    let (compression, stream) = begin(stream, stop)?;
    let refused = |name: &str| {
        Err(Error::invalid(format!(
            "it is compressed with {name}: layers have gzip, zstd or neither: {name} -d makes a tar of it"
        )))
    };
    match compression {
        Some(Compression::Xz) => refused("xz"),
        Some(Compression::Bzip2) => refused("bzip2"),
        Some(compression) => Ok(Box::new(stop.over(compression.read(stream, stop)))),
        None => Ok(Box::new(Plain(stream))),
    }
}

/// The most memory for what an xz stream refers back to, in kilobytes: `xz -9` needs 65 MB.
const XZ_MEMORY_MAX: u32 = 512 << 10;

/// A stream of gzip's. Where it comes from, a registry or a file, may have errors of its own.
struct Gzip<R>(MultiGzDecoder<R>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let gzip = |error: std::io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => cut("gzip"),
            _ => error,
        };
        self.0.read(buffer).map_err(|error| or_own(error, gzip))
    }
}

/// Where what is compressed comes from. Its errors are told from those of its readers by their type.
struct Source<R>(R);

/// An error of a source.
#[derive(Debug)]
struct SourceError(std::io::Error);

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SourceError {}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer).map_err(|error| std::io::Error::new(error.kind(), SourceError(error)))
    }
}

/// An error of the source as it was, or else in the words of `reader`.
fn or_own(error: std::io::Error, reader: impl FnOnce(std::io::Error) -> std::io::Error) -> std::io::Error {
    match error.downcast::<SourceError>() {
        Ok(SourceError(own)) => own,
        Err(error) => reader(error),
    }
}

/// A stream with the errors of its source as they were.
struct Plain<R>(R);

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer).map_err(|error| or_own(error, |error| error))
    }
}

fn cut(name: &str) -> std::io::Error {
    std::io::Error::new(ErrorKind::UnexpectedEof, format!("{name}: it is cut, its end is missing"))
}

/// A stream whose errors say what it is.
struct Named<R> {
    name: &'static str,
    reader: R,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Named { name, reader } = self;
        let named = |error: std::io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => cut(name),
            ErrorKind::OutOfMemory => std::io::Error::other(Error::invalid(format!(
                "{name}: it needs more than {XZ_MEMORY_MAX} KB of memory to be read"
            ))),
            _ => std::io::Error::other(Error::corrupt(format!("{name}: {error}"))),
        };
        reader.read(buffer).map_err(|error| or_own(error, named))
    }
}

/// All frames of a zstd stream, one after the other. Those that carry no data are passed over: zstd:chunked has its table of
/// contents in one.
struct Frames<R: BufRead> {
    stream: R,
    decoder: FrameDecoder,
    is_within: bool,
    /// Nothing comes out before a whole window is there, which may have 100 MB.
    stop: Stop,
}

impl<R: BufRead> Frames<R> {
    /// Begins the next frame; false at the end.
    fn begin(&mut self) -> std::io::Result<bool> {
        loop {
            if self.stream.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.stream) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if std::io::copy(&mut (&mut self.stream).take(length), &mut std::io::sink())? < length {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(wrong(error)),
            }
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.is_within {
                if !self.begin()? {
                    return Ok(0);
                }
                self.is_within = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.stop.check().map_err(std::io::Error::other)?;
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.stream, one).map_err(wrong)?;
            }
            match self.decoder.read(buffer)? {
                0 => self.is_within = false,
                length => return Ok(length),
            }
        }
    }
}

fn wrong(error: FrameDecoderError) -> std::io::Error {
    std::io::Error::other(Error::corrupt(format!("zstd: {error}")))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// As xz 5.8 writes it.
    const TEXT_XZ: &str =
        "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAIc29tZSB0ZXh0AAAAAJGAVGO7L3CvAAEhCWwYxdUftvN9AQAAAAAEWVo=";

    /// With `dict=1GiB`.
    const LARGE_XZ: &str = "/Td6WFoAAATm1rRGAgAhASQAAABeH8f5AQAAeAAAAABFru+D+O4WCgABGQGlLIHMH7bzfQEAAAAABFla";

    /// As bzip2 1.0.8 writes them: nothing, some text, and lines in several blocks.
    const EMPTY_BZIP2: &str = "QlpoORdyRThQkAAAAAA=";
    const TEXT_BZIP2: &str = "QlpoOTFBWSZTWfss58IAAAKRgEAAAgKMQCAAMQwBBk9HI8RJRdyRThQkPss58IA=";
    const LINES_BZIP2: &str = "QlpoMTFBWSZTWV9HFZsAOpVZAAAQQAB/4AIlIACQKYACaCaqoNqYyj1NEoE1SUWOElFhJReaSi+UlFzSUXVJRd0lFmkotUlFklAmyUCbJQJ+JQJslAn8xQVkmU1lROxdjAELzWQAAEEAAf+ACJSAAkCmAAmgmqqNNG0yj1NEoE1SUXqkouaSi90lFjpJRYSUXmkou6SizSUWqSiySgTZKBNkoE/EoE2SgT+YoKyTKazeREc2gAOjrIAACCAAP/ABEpAAOCmAAmgUqo09Rpsk9TSUU1VD1VDFUPdUPlUOaoY+1Q6CMhGgjKUU2lFNpRT8lFNpRT+LuSKcKEgx8XtjAA==";

    fn read(bytes: &[u8]) -> String {
        let mut text = String::new();
        uncompress(bytes, &Stop::default()).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// A stream that breaks.
    struct Breaking<'a>(&'a [u8]);

    impl Read for Breaking<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::new(ErrorKind::UnexpectedEof, "incomplete deflate stream")),
                length => Ok(length),
            }
        }
    }

    /// Whatever its words are, also those of a reader.
    #[test]
    fn an_error_of_the_source_stays_as_it_is() {
        let mut gzip = flate2::read::GzEncoder::new(&b"some text"[..], flate2::Compression::fast());
        let mut compressed = Vec::new();
        gzip.read_to_end(&mut compressed).unwrap();
        let bzip2 = STANDARD.decode(TEXT_BZIP2).unwrap();
        for bytes in [&compressed[..12], &bzip2[..30], b"no archive"] {
            let stop = Stop::default();
            let error = uncompress(Breaking(bytes), &stop).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), "incomplete deflate stream");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
        let cut = uncompress(&compressed[..12], &Stop::default()).unwrap().read_to_end(&mut Vec::new());
        assert_eq!(cut.unwrap_err().to_string(), "gzip: it is cut, its end is missing");
    }

    #[test]
    fn streams_are_told_apart() {
        let mut gzip = flate2::read::GzEncoder::new(&b"some text"[..], flate2::Compression::fast());
        let mut compressed = Vec::new();
        gzip.read_to_end(&mut compressed).unwrap();
        assert_eq!(read(&compressed), "some text");
        assert_eq!(read(&compressed.repeat(2)), "some textsome text");
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let compressed = ruzstd::encoding::compress_to_vec(&b"some text"[..], level);
        assert_eq!(read(&compressed), "some text");
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        assert_eq!(
            read(&[&compressed, &skipped, &compressed].map(|part| &part[..]).concat()),
            "some textsome text"
        );
        assert_eq!(read(b"some text"), "some text");
        assert_eq!(read(b""), "");
        assert_eq!(read(b"BZh!"), "BZh!");
    }

    /// A byte at a time, as they may come through a pipe.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn streams_are_told_apart_however_slowly_they_come() {
        let mut gzip = flate2::read::GzEncoder::new(&b"some text"[..], flate2::Compression::fast());
        let mut compressed = Vec::new();
        gzip.read_to_end(&mut compressed).unwrap();
        for stream in [&compressed, &STANDARD.decode(TEXT_XZ).unwrap(), &b"some text".to_vec()] {
            let mut text = String::new();
            uncompress(Slow(stream), &Stop::default()).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "some text");
            let mut kept = Vec::new();
            uncompress_foreign(Slow(stream), &Stop::default()).unwrap().read_to_end(&mut kept).unwrap();
            assert_eq!(kept, if *stream == compressed { &compressed[..] } else { b"some text" });
        }
        let cut = uncompress(&compressed[..12], &Stop::default())
            .unwrap()
            .read_to_end(&mut Vec::new())
            .unwrap_err();
        assert_eq!(cut.to_string(), "gzip: it is cut, its end is missing");
    }

    #[test]
    fn xz_is_checked_and_bounded() {
        let xz = STANDARD.decode(TEXT_XZ).unwrap();
        assert_eq!((read(&xz), read(&xz.repeat(2))), ("some text".into(), "some textsome text".into()));
        let error = |bytes: &[u8]| {
            uncompress(bytes, &Stop::default()).unwrap().read_to_end(&mut Vec::new()).unwrap_err()
        };
        for length in XZ.len()..xz.len() {
            assert_eq!(error(&xz[..length]).kind(), ErrorKind::UnexpectedEof, "{length}");
        }
        for bit in XZ.len() * 8..xz.len() * 8 {
            let mut broken = xz.clone();
            broken[bit / 8] ^= 0x80 >> (bit % 8);
            let error = error(&broken);
            let is_cut = error.kind() == ErrorKind::UnexpectedEof;
            assert!(is_cut || error.to_string().starts_with("xz: "), "{bit}: {error}");
        }
        assert_eq!(error(&xz[..20]).to_string(), "xz: it is cut, its end is missing");
        let refused = uncompress_layer(&xz[..], &Stop::default()).err().unwrap().to_string();
        assert_eq!(
            refused,
            "it is compressed with xz: layers have gzip, zstd or neither: xz -d makes a tar of it"
        );
        let large = STANDARD.decode(LARGE_XZ).unwrap();
        assert_eq!(error(&large).to_string(), "xz: it needs more than 524288 KB of memory to be read");
    }

    #[test]
    fn bzip2_is_checked() {
        let [empty, text, lines] =
            [EMPTY_BZIP2, TEXT_BZIP2, LINES_BZIP2].map(|text| STANDARD.decode(text).unwrap());
        assert_eq!(read(&empty), "");
        assert_eq!(read(&[&text[..], &empty, &text].concat()), "some textsome text");
        let wanted: String = (0..30_000).map(|number| format!("{} line\n", number % 10)).collect();
        assert_eq!(read(&lines), wanted);
        let whole = |bytes: &[u8]| {
            let mut all = Vec::new();
            uncompress(bytes, &Stop::default()).unwrap().read_to_end(&mut all).map(|_| all)
        };
        for length in BZIP2.len() + 1..text.len() {
            assert_eq!(whole(&text[..length]).unwrap_err().kind(), ErrorKind::UnexpectedEof, "{length}");
        }
        // Neither the level, in the fourth byte, nor the last bits are part of a checksum.
        for bit in (BZIP2.len() + 1) * 8..text.len() * 8 {
            let mut broken = text.clone();
            broken[bit / 8] ^= 0x80 >> (bit % 8);
            match whole(&broken) {
                Ok(read) => assert_eq!(read, b"some text", "{bit}"),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
                Err(error) => assert!(error.to_string().starts_with("bzip2: "), "{bit}: {error}"),
            }
        }
        assert!(whole(&[&text[..], b"more"].concat()).is_err());
    }
}
