//! Sorts lists and fills maps. The library's sort takes 3 KB for each type of elements; here numbers are sorted, once for all.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Sorts a list; equal elements keep their order.
pub fn sort<T: Ord>(list: &mut [T]) {
    sort_by(list, T::cmp);
}

/// Sorts a list by what `key` says of its elements; equal ones keep their order.
pub fn sort_by_key<T, K: Ord>(list: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(list, |one, other| key(one).cmp(&key(other)));
}

/// Sorts a list as `compare` says; equal elements keep their order.
pub fn sort_by<T>(list: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let mut places = places(list.len(), &|one, other| compare(&list[one], &list[other]));
    for at in 0..list.len() {
        while places[at] != at {
            let place = places[at];
            list.swap(at, place);
            places.swap(at, place);
        }
    }
}

/// Where each element belongs.
#[inline(never)]
fn places(length: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut sorted: Vec<usize> = (0..length).collect();
    sorted.sort_by(|&one, &other| compare(one, other));
    let mut places = vec![0; length];
    for (place, element) in sorted.into_iter().enumerate() {
        places[element] = place;
    }
    places
}

/// What is filled by one key after the other.
pub trait Keyed<K, V>: Default {
    /// Adds a key; one that is there already gets the new value.
    fn put(&mut self, key: K, value: V);
}

impl<K: Ord, V> Keyed<K, V> for BTreeMap<K, V> {
    fn put(&mut self, key: K, value: V) {
        self.insert(key, value);
    }
}

impl Keyed<String, Value> for Map<String, Value> {
    fn put(&mut self, key: String, value: Value) {
        self.insert(key, value);
    }
}

/// Collects into maps. The library's `collect` sorts all pairs first, for each type of them with a sort of its own.
pub trait Collect: Iterator + Sized {
    /// A map of these pairs, of which the last one with a key counts.
    fn collect_map<K, V, M: Keyed<K, V>>(self) -> M
    where
        Self: Iterator<Item = (K, V)>,
    {
        let mut map = M::default();
        self.for_each(|(key, value)| map.put(key, value));
        map
    }

    /// The same of pairs of which each may be missing.
    ///
    /// # Errors
    /// The first one that is an error.
    fn try_collect_map<K, V, E, M: Keyed<K, V>>(mut self) -> Result<M, E>
    where
        Self: Iterator<Item = Result<(K, V), E>>,
    {
        self.try_fold(M::default(), |mut map, pair| {
            let (key, value) = pair?;
            map.put(key, value);
            Ok(map)
        })
    }

    /// A set.
    fn collect_set(self) -> BTreeSet<Self::Item>
    where
        Self::Item: Ord,
    {
        let mut set = BTreeSet::new();
        set.extend(self);
        set
    }
}

impl<I: Iterator> Collect for I {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_all_lengths_are_sorted_and_equal_elements_keep_their_order() {
        let mut number = 1u32;
        for length in 0..200 {
            let mut list: Vec<(u32, usize)> = (0..length)
                .map(|index| {
                    number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (number >> 28, index)
                })
                .collect();
            let mut expected = list.clone();
            expected.sort_by_key(|(number, _)| *number);
            sort_by_key(&mut list, |(number, _)| *number);
            assert_eq!(list, expected);
        }
    }

    #[test]
    fn the_last_one_with_a_key_counts() {
        let pairs = [("b", 1), ("a", 2), ("b", 3)];
        let expected = BTreeMap::from([("a", 2), ("b", 3)]);
        assert_eq!(pairs.into_iter().collect_map::<_, _, BTreeMap<_, _>>(), expected);
        let pair = |pair: (&'static str, i32)| if pair.1 < 4 { Ok(pair) } else { Err(pair.1) };
        assert_eq!(pairs.into_iter().map(pair).try_collect_map(), Ok(expected));
        let wrong = pairs.into_iter().chain([("c", 5), ("d", 6)]);
        assert_eq!(wrong.map(pair).try_collect_map::<_, _, _, BTreeMap<_, _>>(), Err(5));
        assert_eq!([2, 1, 2].into_iter().collect_set(), BTreeSet::from([1, 2]));
    }
}
