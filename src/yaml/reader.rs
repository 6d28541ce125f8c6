//! From the tree to typed values: each problem at its place, and all of them at once.

use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

use super::spanned::{self, Part, Parts};
use super::spelling;
use super::tree::{Entry, Node, Place, Style, Value};
use crate::problem::Problem;

/// Reads the whole tree. A value that cannot be read is reported and taken out, and reading begins anew: so one run shows every problem. What is left, if it makes
/// sense without them, is good for a look at what else is wrong, and for nothing more.
pub(crate) fn read<T: DeserializeOwned>(root: &Node) -> (Option<T>, Vec<Problem>) {
    let mut root = root.clone();
    let mut problems: Vec<Problem> = Vec::new();
    let mut taken_out: Vec<Vec<String>> = Vec::new();
    let left = loop {
        let error = match T::deserialize(Reader(&root)) {
            Ok(value) => break Some(value),
            Err(error) => error,
        };
        let place = error.place.clone().unwrap_or_else(|| root.place.clone());
        let path: Vec<usize> = error.path.iter().rev().copied().collect();
        let mut names = names(&root, &path);
        // A required key that is missing because we took it out was reported already.
        names.extend(error.missing);
        if !taken_out.contains(&names) {
            problems.push(place.problem(error.message));
        }
        if problems.len() >= PROBLEMS || take_out(&mut root, &path).is_none() {
            break None;
        }
        taken_out.push(names);
    };
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    (left, problems)
}

/// More would not be read.
const PROBLEMS: usize = 100;

/// The keys along a path of positions; a list's items have their position for a name.
fn names(root: &Node, path: &[usize]) -> Vec<String> {
    let mut names = Vec::new();
    let mut node = Some(root);
    for step in path {
        let (name, next) = match node.map(|node| &node.value) {
            Some(Value::Mapping(entries)) => {
                let entry = entries.get(*step);
                (
                    entry.map(|entry| entry.key.clone()),
                    entry.map(|entry| &entry.node),
                )
            }
            Some(Value::Sequence(items)) => (None, items.get(*step)),
            Some(Value::Scalar(..)) | None => (None, None),
        };
        names.push(name.unwrap_or_else(|| step.to_string()));
        node = next;
    }
    names
}

/// Removes the value at a path of positions; nothing where the path ends nowhere.
fn take_out(root: &mut Node, path: &[usize]) -> Option<()> {
    let (last, above) = path.split_last()?;
    let mut node = root;
    for step in above {
        node = match &mut node.value {
            Value::Mapping(entries) => &mut entries.get_mut(*step)?.node,
            Value::Sequence(items) => items.get_mut(*step)?,
            Value::Scalar(..) => return None,
        };
    }
    match &mut node.value {
        Value::Mapping(entries) if *last < entries.len() => drop(entries.remove(*last)),
        Value::Sequence(items) if *last < items.len() => drop(items.remove(*last)),
        Value::Mapping(_) | Value::Sequence(_) | Value::Scalar(..) => return None,
    }
    Some(())
}

/// What went wrong, and where: filled in on the way up.
#[derive(Debug)]
pub(crate) struct Error {
    message: String,
    place: Option<Place>,
    /// Positions from the innermost to the outermost.
    path: Vec<usize>,
    missing: Option<String>,
}

impl Error {
    fn at(mut self, place: &Place) -> Self {
        self.place.get_or_insert_with(|| place.clone());
        self
    }

    fn inside(mut self, position: usize) -> Self {
        self.path.push(position);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        Self {
            message,
            place: None,
            path: Vec::new(),
            missing: None,
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!(
            "expected {expected}, found {}",
            shown(unexpected)
        ))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let meant = spelling::suggestion(variant, expected);
        Self::custom(format_args!(
            "unknown value {variant:?}{meant}: one of {}",
            expected.join(", ")
        ))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let meant = spelling::suggestion(field, expected);
        Self::custom(format_args!(
            "unknown key {field:?}{meant}: known here are {}",
            expected.join(", ")
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        let missing = Some(field.to_owned());
        Self {
            missing,
            ..Self::custom(format_args!("the key `{field}` is missing"))
        }
    }
}

fn shown(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a mapping".into(),
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        other @ (Unexpected::Char(_)
        | Unexpected::Bytes(_)
        | Unexpected::NewtypeStruct
        | Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant
        | Unexpected::Other(_)) => other.to_string(),
    }
}

/// What an unquoted word is in YAML's core schema, less the forms that look like something else.
enum Plain<'a> {
    Nothing,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    /// A number in a notation that other readers of YAML take differently: octal, hexadecimal, with a sign, a leading zero, …
    Ambiguous,
    Text(&'a str),
}

impl<'a> Plain<'a> {
    fn of(text: &'a str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Nothing,
            "true" => return Self::Bool(true),
            "false" => return Self::Bool(false),
            "True" | "TRUE" | "False" | "FALSE" => return Self::Ambiguous,
            _ => {}
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole && (digits == "0" || !digits.starts_with('0')) {
            let signed = || text.parse().map_or(Self::Ambiguous, Self::Signed);
            return text.parse().map_or_else(|_| signed(), Self::Unsigned);
        }
        if whole || is_other_number(text) {
            return Self::Ambiguous;
        }
        let numeric = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
        match text.parse::<f64>() {
            Ok(number) if numeric && number.is_finite() => Self::Float(number),
            Ok(_) if numeric => Self::Ambiguous,
            Ok(_) | Err(_) => Self::Text(text),
        }
    }
}

/// Hexadecimal, octal, a plus sign, digits with underscores, infinities.
fn is_other_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str| {
        unsigned.strip_prefix(prefix).is_some_and(|digits| {
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    let underscored = unsigned.starts_with(|first: char| first.is_ascii_digit())
        && unsigned.contains('_')
        && unsigned
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_');
    let plus = text.starts_with('+')
        && !unsigned.is_empty()
        && unsigned
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let special = [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(&unsigned);
    radix("0x") || radix("0o") || radix("0b") || underscored || plus || special
}

/// Reads one value.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a Node);

impl Reader<'_> {
    fn text(&self) -> Option<&str> {
        match &self.0.value {
            Value::Scalar(text, _) => Some(text),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    fn mismatch(&self, expected: &dyn Expected) -> Error {
        let found = match &self.0.value {
            Value::Scalar(text, Style::Plain) => match Plain::of(text) {
                Plain::Nothing => Unexpected::Unit,
                Plain::Ambiguous => return self.ambiguous(text),
                Plain::Bool(value) => Unexpected::Bool(value),
                Plain::Unsigned(_) | Plain::Signed(_) | Plain::Float(_) => {
                    return self
                        .wrong(format_args!("expected {expected}, found the number {text}"));
                }
                Plain::Text(text) => Unexpected::Str(text),
            },
            Value::Scalar(text, Style::Quoted | Style::Outside) => Unexpected::Str(text),
            Value::Sequence(_) => Unexpected::Seq,
            Value::Mapping(_) => Unexpected::Map,
        };
        <Error as de::Error>::invalid_type(found, expected).at(&self.0.place)
    }

    /// A mapping or list is missing. What stands there instead stays untold: it may be a password in the wrong place.
    fn no_collection(&self, expected: &str) -> Error {
        let found = match &self.0.value {
            Value::Scalar(text, Style::Plain) => match Plain::of(text) {
                Plain::Nothing => "nothing",
                Plain::Bool(_) => "`true` or `false`",
                Plain::Unsigned(_) | Plain::Signed(_) | Plain::Float(_) | Plain::Ambiguous => {
                    "a number"
                }
                Plain::Text(_) => "a text",
            },
            Value::Scalar(_, Style::Quoted | Style::Outside) => "a text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        };
        self.wrong(format_args!("expected {expected}, found {found}"))
    }

    fn ambiguous(&self, text: &str) -> Error {
        self.wrong(format_args!("{text} reads differently elsewhere: put quotes around a text, write a number with plain digits, and `true` or `false` in lower case"))
    }

    fn wrong(&self, message: fmt::Arguments<'_>) -> Error {
        <Error as de::Error>::custom(message).at(&self.0.place)
    }

    /// A whole number, in plain digits and without quotes unless it comes from outside.
    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let plain = match &self.0.value {
            Value::Scalar(text, Style::Plain | Style::Outside) => Plain::of(text),
            Value::Scalar(_, Style::Quoted) | Value::Sequence(_) | Value::Mapping(_) => {
                return Err(self.mismatch(&visitor));
            }
        };
        let read = match plain {
            Plain::Unsigned(number) => visitor.visit_u64(number),
            Plain::Signed(number) => visitor.visit_i64(number),
            Plain::Float(number) => visitor.visit_f64(number),
            Plain::Ambiguous => Err(self.ambiguous(self.text().unwrap_or_default())),
            Plain::Nothing | Plain::Bool(_) | Plain::Text(_) => Err(self.mismatch(&visitor)),
        };
        read.map_err(|error: Error| error.at(&self.0.place))
    }
}

macro_rules! as_number {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.number(visitor)
        }
    )+};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let place = &self.0.place;
        let read = match &self.0.value {
            Value::Sequence(_) => return self.deserialize_seq(visitor),
            Value::Mapping(_) => return self.deserialize_map(visitor),
            Value::Scalar(text, Style::Quoted) => visitor.visit_str(text),
            Value::Scalar(text, Style::Plain | Style::Outside) => match Plain::of(text) {
                Plain::Nothing => return Err(self.mismatch(&visitor)),
                Plain::Bool(value) => visitor.visit_bool(value),
                Plain::Unsigned(number) => visitor.visit_u64(number),
                Plain::Signed(number) => visitor.visit_i64(number),
                Plain::Float(number) => visitor.visit_f64(number),
                Plain::Ambiguous => return Err(self.ambiguous(text)),
                Plain::Text(text) => visitor.visit_str(text),
            },
        };
        read.map_err(|error: Error| error.at(place))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.value {
            Value::Scalar(text, Style::Plain | Style::Outside) => match text.as_str() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                _ => Err(self.wrong(format_args!("expected `true` or `false`, found {text:?}"))),
            },
            Value::Scalar(_, Style::Quoted) | Value::Sequence(_) | Value::Mapping(_) => {
                Err(self.mismatch(&"`true` or `false`"))
            }
        }
    }

    as_number! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f32 deserialize_f64
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let read = match &self.0.value {
            Value::Scalar(text, Style::Quoted | Style::Outside) => visitor.visit_str(text),
            Value::Scalar(text, Style::Plain) => match Plain::of(text) {
                Plain::Text(text) => visitor.visit_str(text),
                Plain::Nothing => return Err(self.mismatch(&"a text")),
                Plain::Bool(_)
                | Plain::Unsigned(_)
                | Plain::Signed(_)
                | Plain::Float(_)
                | Plain::Ambiguous => {
                    // What it is stays untold: a password may stand here.
                    return Err(self.wrong(format_args!("expected a text: put quotes around it")));
                }
            },
            Value::Sequence(_) | Value::Mapping(_) => return Err(self.mismatch(&"a text")),
        };
        read.map_err(|error: Error| error.at(&self.0.place))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    /// A key that is there has a value: leaving it out is how nothing is written.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        Err(self.mismatch(&visitor))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        Err(self.mismatch(&visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor
            .visit_newtype_struct(self)
            .map_err(|error| error.at(&self.0.place))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.value {
            Value::Sequence(items) => {
                let items = Items { items, position: 0 };
                visitor
                    .visit_seq(items)
                    .map_err(|error| error.at(&self.0.place))
            }
            Value::Scalar(..) | Value::Mapping(_) => {
                Err(self.no_collection("a list, such as [a, b]"))
            }
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let entries = match &self.0.value {
            Value::Mapping(entries) => entries.as_slice(),
            // A section whose lines are all commented out.
            Value::Scalar(..) if self.0.is_nothing() => &[],
            Value::Scalar(..) | Value::Sequence(_) => {
                return Err(self.no_collection("a mapping, such as {key: value}"));
            }
        };
        let entries = Entries {
            entries,
            position: 0,
        };
        visitor
            .visit_map(entries)
            .map_err(|error| error.at(&self.0.place))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == spanned::NAME {
            let parts = Parts::new(Part::Value(self.0), &self.0.place);
            return visitor.visit_map(parts);
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let one_of = format!("one of {}", variants.join(", "));
        let read = match &self.0.value {
            Value::Scalar(text, style) => match (style, Plain::of(text)) {
                (Style::Plain, Plain::Nothing) => return Err(self.mismatch(&one_of.as_str())),
                (
                    Style::Plain,
                    Plain::Text(_)
                    | Plain::Bool(_)
                    | Plain::Unsigned(_)
                    | Plain::Signed(_)
                    | Plain::Float(_)
                    | Plain::Ambiguous,
                )
                | (Style::Quoted | Style::Outside, _) => {
                    visitor.visit_enum(text.as_str().into_deserializer())
                }
            },
            Value::Mapping(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(Variant(entry)),
                _ => return Err(self.mismatch(&one_of.as_str())),
            },
            Value::Sequence(_) => return Err(self.mismatch(&one_of.as_str())),
        };
        read.map_err(|error: Error| error.at(&self.0.place))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

struct Items<'a> {
    items: &'a [Node],
    position: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let position = self.position;
        let Some(item) = self.items.get(position) else {
            return Ok(None);
        };
        self.position = position.saturating_add(1);
        let read = seed.deserialize(Reader(item));
        read.map(Some)
            .map_err(|error| error.at(&item.place).inside(position))
    }
}

struct Entries<'a> {
    entries: &'a [Entry],
    position: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(entry) = self.entries.get(self.position) else {
            return Ok(None);
        };
        let read = seed.deserialize(Key(entry));
        read.map(Some)
            .map_err(|error| error.at(&entry.place).inside(self.position))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let position = self.position;
        let Some(entry) = self.entries.get(position) else {
            return Err(<Error as de::Error>::custom("a value is missing"));
        };
        self.position = position.saturating_add(1);
        // What a mapping lacks is said at its key, where the eye looks first.
        let place = match &entry.node.value {
            Value::Mapping(_) => &entry.place,
            Value::Scalar(..) if entry.node.is_nothing() => &entry.place,
            Value::Scalar(..) | Value::Sequence(_) => &entry.node.place,
        };
        let read = seed.deserialize(Reader(&entry.node));
        read.map_err(|mut error| {
            if error.missing.is_some() && error.path.is_empty() {
                error.place = Some(place.clone());
            }
            error.at(place).inside(position)
        })
    }
}

/// Reads a key, which is a text.
struct Key<'a>(&'a Entry);

impl Key<'_> {
    fn text(&self) -> de::value::StrDeserializer<'_, Error> {
        self.0.key.as_str().into_deserializer()
    }
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.text().deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.text().deserialize_enum(name, variants, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == spanned::NAME {
            let parts = Parts::new(Part::Key(&self.0.key), &self.0.place);
            return visitor.visit_map(parts);
        }
        self.text().deserialize_struct(name, fields, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// `{variant: value}`
struct Variant<'a>(&'a Entry);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let key: de::value::StrDeserializer<'_, Error> = self.0.key.as_str().into_deserializer();
        let variant = seed
            .deserialize(key)
            .map_err(|error| error.at(&self.0.place))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        let message = format!("{} takes no value", self.0.key);
        Err(<Error as de::Error>::custom(message).at(&self.0.node.place))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(Reader(&self.0.node))
            .map_err(|error| error.at(&self.0.node.place))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        Reader(&self.0.node).deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        Reader(&self.0.node).deserialize_map(visitor)
    }
}
