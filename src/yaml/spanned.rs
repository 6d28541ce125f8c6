//! A value that knows where it was written.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::reader::{Error, Reader};
use super::tree::{Node, Place};

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    line: u64,
    column: u64,
}

impl Location {
    pub(crate) fn new(line: u64, column: u64) -> Self {
        Self { line, column }
    }

    pub(crate) fn of(place: &Place) -> Self {
        Self {
            line: place.line,
            column: place.column,
        }
    }

    pub fn line(self) -> u64 {
        self.line
    }

    pub fn column(self) -> u64 {
        self.column
    }
}

/// A value and where it stands. Only the reader of this module can tell: any other deserializer fails.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    pub value: T,
    pub at: Location,
}

/// What [`Spanned`] asks a deserializer for, in this order.
pub(super) const NAME: &str = "$wardgate::yaml::Spanned";
const FIELDS: [&str; 3] = ["line", "column", "value"];

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Parts<T> {
            type Value = Spanned<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value that knows its place")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Spanned<T>, A::Error> {
                fn next<'de, V: Deserialize<'de>, A: MapAccess<'de>>(
                    map: &mut A,
                    name: &'static str,
                ) -> Result<V, A::Error> {
                    match map.next_key::<String>()? {
                        Some(key) if key == name => map.next_value(),
                        Some(_) | None => Err(A::Error::custom("no place is known here")),
                    }
                }
                let [line, column, value] = FIELDS;
                let at = Location {
                    line: next(&mut map, line)?,
                    column: next(&mut map, column)?,
                };
                let value = next(&mut map, value)?;
                Ok(Spanned { value, at })
            }
        }
        deserializer.deserialize_struct(NAME, &FIELDS, Parts(PhantomData))
    }
}

/// The parts of a [`Spanned`]: of a value in the tree, or of a key, which is a text.
pub(super) struct Parts<'a> {
    of: Part<'a>,
    at: Location,
    step: usize,
}

pub(super) enum Part<'a> {
    Value(&'a Node),
    Key(&'a str),
}

impl<'a> Parts<'a> {
    pub(super) fn new(of: Part<'a>, place: &Place) -> Self {
        let at = Location::of(place);
        Self { of, at, step: 0 }
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let name = FIELDS.get(self.step).copied();
        let read = name.map(|name| seed.deserialize(text(name)));
        read.transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let step = self.step;
        self.step = step.saturating_add(1);
        let number = serde::de::value::U64Deserializer::<Error>::new;
        match (step, &self.of) {
            (0, _) => seed.deserialize(number(self.at.line)),
            (1, _) => seed.deserialize(number(self.at.column)),
            (_, Part::Value(node)) => seed.deserialize(Reader(node)),
            (_, Part::Key(key)) => seed.deserialize(text(key)),
        }
    }
}

fn text(text: &str) -> serde::de::value::StrDeserializer<'_, Error> {
    serde::de::value::StrDeserializer::new(text)
}
