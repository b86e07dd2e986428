//! How a plan encodes mount trees.

use crate::tree::Tree;
use crate::wire::{Reader, Sink, Value, Wire};

impl<'a> Wire<'a> for Tree<'a> {
    fn encode(&self, out: &mut impl Sink) {
        match *self {
            Tree::Descriptor(index) => {
                1u8.encode(out);
                index.encode(out);
            }
            Tree::Path { path, recursive, nofollow } | Tree::Inside { path, recursive, nofollow } => {
                if matches!(self, Tree::Path { .. }) { 2u8 } else { 3u8 }.encode(out);
                path.encode(out);
                recursive.encode(out);
                nofollow.encode(out);
            }
        }
    }
    fn read(input: &mut Reader<'a>) -> Self {
        match u8::read(input) {
            1 => Tree::Descriptor(u32::read(input)),
            kind @ (2 | 3) => {
                let (path, recursive, nofollow) = (Wire::read(input), Wire::read(input), Wire::read(input));
                match kind {
                    2 => Tree::Path { path, recursive, nofollow },
                    _ => Tree::Inside { path, recursive, nofollow },
                }
            }
            _ => input.fail(Tree::Descriptor(u32::MAX)),
        }
    }
    fn value(&self) -> Value<'a> {
        Value::Tree(*self)
    }
}

impl<'a> Wire<'a> for Option<Tree<'a>> {
    fn encode(&self, out: &mut impl Sink) {
        self.is_some().encode(out);
        if let Some(tree) = self {
            tree.encode(out);
        }
    }
    fn read(input: &mut Reader<'a>) -> Self {
        if bool::read(input) { Some(Tree::read(input)) } else { None }
    }
    fn value(&self) -> Value<'a> {
        self.map_or(Value::Word("none"), Value::Tree)
    }
}
