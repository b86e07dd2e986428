//! Which part of a request a refusal is about: the kernel says at which byte an attribute is
//! (`NLMSGERR_ATTR_OFFS`, linux/netlink.h), and the names of the attributes make that a path like `link
//! info.data` or `elements[3].key`.

use std::fmt::Write;

use crate::attribute::HEADER;
use crate::error::Field;
use crate::reply::{self, align, read_string};

/// What the attributes of a message or of a nest are called.
pub(crate) type Names = &'static [Name];

/// What one attribute is called.
#[derive(Debug)]
pub(crate) struct Name(pub u16, pub &'static str, pub Inside);

/// What an attribute holds.
#[derive(Debug)]
pub(crate) enum Inside {
    Value,
    Nest(Names),
    /// Any number of nests of one kind.
    List(Names),
    /// The same, and the first attribute of each is its name.
    Labelled(Names),
}

/// Names the attribute at `offset` in `attributes`, which is that of the attribute's header or lies in it.
pub(crate) fn at(names: Names, attributes: &[u8], offset: usize) -> Option<Field> {
    let mut field = Field { path: String::new(), item: None, label: None };
    // It ends where nothing further in is known; what has a name by then stays.
    descend(names, attributes, offset, &mut field);
    (!field.path.is_empty()).then_some(field)
}

fn descend(names: Names, attributes: &[u8], offset: usize, field: &mut Field) -> Option<()> {
    let (kind, payload, start) = find(attributes, offset)?;
    let name = names.iter().find(|name| name.0 == kind);
    if !field.path.is_empty() {
        field.path.push('.');
    }
    match name {
        Some(name) => field.path.push_str(name.1),
        None => write!(field.path, "attribute {kind}").ok()?,
    }
    // At the attribute itself, or in a nest of which nothing is known.
    let inside = offset.checked_sub(start + HEADER)?;
    let known = name?;
    match known.2 {
        Inside::Value => Some(()),
        Inside::Nest(names) => descend(names, payload, inside, field),
        Inside::List(names) | Inside::Labelled(names) => {
            let (_, item, start) = find(payload, inside)?;
            let index = reply::Positions::new(payload).take_while(|(_, _, at)| *at < start).count();
            field.item = Some(index);
            write!(field.path, "[{index}]").ok()?;
            if let Inside::Labelled(_) = known.2
                && let Some(Ok((_, label))) = reply::Attributes(item).next()
            {
                let label = read_string(label);
                write!(field.path, " ({label})").ok()?;
                field.label = Some(label);
            }
            descend(names, item, inside.checked_sub(start + HEADER)?, field)
        }
    }
}

/// The attribute that covers `offset`: its type, its payload, and where it begins.
fn find(attributes: &[u8], offset: usize) -> Option<(u16, &[u8], usize)> {
    reply::Positions::new(attributes)
        .find(|(_, payload, start)| (*start..start + align(HEADER + payload.len())).contains(&offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Attributes;

    const OUTER: Names = &[
        Name(1, "name", Inside::Value),
        Name(
            4,
            "parts",
            Inside::Labelled(&[Name(1, "kind", Inside::Value), Name(2, "data", Inside::Nest(&[]))]),
        ),
        Name(5, "list", Inside::List(&[Name(1, "key", Inside::Value)])),
    ];

    /// name (12 bytes) · parts (4 + 2 × 28) · list (4 + 12) · 9
    fn message() -> Vec<u8> {
        let mut data = Attributes::default();
        data.push_u32(7u16, 1);
        let mut item = Attributes::default();
        item.push_text(1u16, "look");
        item.nest_flagged(2, &data);
        let mut parts = Attributes::default();
        parts.nest_flagged(1, &item);
        parts.nest_flagged(1, &item);
        let mut key = Attributes::default();
        key.push_u32(1u16, 2);
        let mut list = Attributes::default();
        list.nest_flagged(1, &key);
        let mut message = Attributes::default();
        message.push_text(1u16, "name");
        message.nest_flagged(4, &parts);
        message.nest_flagged(5, &list);
        message.push_u32(9u16, 3);
        message.0
    }

    #[test]
    fn offsets_become_paths() {
        let message = message();
        let path = |offset| at(OUTER, &message, offset).map(|field| (field.path, field.item));
        let expected = |path: &str, item| Some((path.to_string(), item));
        assert_eq!(path(0), expected("name", None));
        assert_eq!(path(12), expected("parts", None));
        assert_eq!(path(16), expected("parts[0] (look)", Some(0)));
        assert_eq!(path(44), expected("parts[1] (look)", Some(1)));
        assert_eq!(path(48), expected("parts[1] (look).kind", Some(1)));
        assert_eq!(path(60), expected("parts[1] (look).data", Some(1)));
        assert_eq!(path(64), expected("parts[1] (look).data.attribute 7", Some(1)));
        assert_eq!(path(76), expected("list[0]", Some(0)));
        assert_eq!(path(80), expected("list[0].key", Some(0)));
        assert_eq!(path(88), expected("attribute 9", None));
        assert_eq!(path(96), None);
    }

    #[test]
    fn the_name_of_an_item_is_told_by_itself() {
        let message = message();
        let label = |offset| at(OUTER, &message, offset).and_then(|field| field.label);
        assert_eq!(label(44).as_deref(), Some("look"));
        // Not that of a list as a whole, nor where items have none.
        assert_eq!(label(12).or(label(76)), None);
    }

    #[test]
    fn no_offset_and_no_length_leads_out() {
        let message = message();
        for length in 0..message.len() {
            for offset in 0..length + 8 {
                let _ = at(OUTER, &message[..length], offset);
            }
        }
    }
}
