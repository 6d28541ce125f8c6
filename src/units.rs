//! Durations, sizes and rates as the configuration writes them: `10s`, `64KiB`, `50/s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A span of time: a whole number and one of `ms s m h d w`; `0` needs no unit. At most ten years (LIM-7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

/// A number of bytes: plain, or with one of `B KiB MiB GiB TiB` (and `kB MB GB TB` by thousands). At most 1 PiB (LIM-7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// How many in which time: `50/s`, `600/min`, `10/h`. At least 1 and at most a thousand million (LIM-7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    amount: u32,
    per: Per,
}

/// How many bytes in which time: `1MiB/s`, `65536/min`. At least 1 byte and at most 1 PiB (LIM-7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRate {
    amount: ByteSize,
    per: Per,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Per {
    Second,
    Minute,
    Hour,
}

/// Why a text is none of these. Says what would have been right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("{0:?} is not a duration: write a whole number with ms, s, m, h, d or w, such as 10s")]
    NotADuration(String),
    #[error("{0:?} is too long: at most {MAX_DAYS}d")]
    TooLong(String),
    #[error(
        "{0:?} is not a size: write a whole number of bytes, or one with KiB, MiB, GiB or TiB, such as 64KiB"
    )]
    NotASize(String),
    #[error("{0:?} is too large: at most 1024TiB")]
    TooLarge(String),
    #[error("{0:?} is not a rate: write a whole number, / and one of s, min or h, such as 50/s")]
    NotARate(String),
    #[error("{0:?} is out of range: a rate is at least 1 and at most 1000000000")]
    RateOutOfRange(String),
    #[error("{0:?} is not a rate of bytes: write a size, / and one of s, min or h, such as 1MiB/s")]
    NotAByteRate(String),
}

impl Period {
    pub const ZERO: Self = Self(Duration::ZERO);

    pub const fn from_millis(millis: u32) -> Self {
        Self(Duration::from_millis(millis as u64))
    }

    pub const fn from_secs(secs: u32) -> Self {
        // A `u32` of seconds is 136 years: only the parser's bound of ten years meets a user.
        Self(Duration::from_secs(secs as u64))
    }

    pub const fn from_minutes(minutes: u16) -> Self {
        Self::from_secs(minutes as u32 * 60)
    }

    pub const fn from_hours(hours: u16) -> Self {
        Self::from_secs(hours as u32 * 3600)
    }

    pub const fn from_days(days: u8) -> Self {
        Self::from_secs(days as u32 * 86_400)
    }

    pub const fn get(self) -> Duration {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Whole seconds for MQTT properties, saturating.
    pub fn as_secs_u32(self) -> u32 {
        u32::try_from(self.0.as_secs()).unwrap_or(u32::MAX)
    }
}

impl ByteSize {
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn kib(kib: u32) -> Self {
        Self((kib as u64) << 10)
    }

    pub const fn mib(mib: u32) -> Self {
        Self((mib as u64) << 20)
    }

    pub const fn gib(gib: u32) -> Self {
        Self((gib as u64) << 30)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// For buffers; saturating where `usize` is smaller than `u64`.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Rate {
    pub const fn per_second(amount: u32) -> Self {
        Self::new(amount, Per::Second)
    }

    pub const fn per_minute(amount: u32) -> Self {
        Self::new(amount, Per::Minute)
    }

    pub const fn per_hour(amount: u32) -> Self {
        Self::new(amount, Per::Hour)
    }

    const fn new(amount: u32, per: Per) -> Self {
        let amount = if amount == 0 { 1 } else { amount };
        Self { amount, per }
    }

    /// Never 0.
    pub const fn amount(self) -> u32 {
        self.amount
    }

    pub const fn period(self) -> Duration {
        self.per.duration()
    }
}

impl ByteRate {
    pub const fn per_second(amount: ByteSize) -> Self {
        let amount = if amount.0 == 0 { ByteSize(1) } else { amount };
        let per = Per::Second;
        Self { amount, per }
    }

    /// Never 0.
    pub const fn amount(self) -> ByteSize {
        self.amount
    }

    pub const fn period(self) -> Duration {
        self.per.duration()
    }
}

impl Per {
    const fn duration(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_secs(60),
            Self::Hour => Duration::from_secs(3600),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "s" => Some(Self::Second),
            "m" | "min" => Some(Self::Minute),
            "h" => Some(Self::Hour),
            _ => None,
        }
    }
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (digits, unit) = split_number(text);
        let millis_each: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "" if text == "0" => 1,
            _ => return Err(UnitError::NotADuration(text.into())),
        };
        let number = number(digits, UnitError::NotADuration, UnitError::TooLong, text)?;
        match number.checked_mul(millis_each) {
            Some(millis) if millis <= MAX_DAYS * 86_400_000 => {
                Ok(Self(Duration::from_millis(millis)))
            }
            Some(_) | None => Err(UnitError::TooLong(text.into())),
        }
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (digits, unit) = split_number(text);
        let each: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(UnitError::NotASize(text.into())),
        };
        let number = number(digits, UnitError::NotASize, UnitError::TooLarge, text)?;
        match number.checked_mul(each) {
            Some(bytes) if bytes <= MAX_BYTES => Ok(Self(bytes)),
            Some(_) | None => Err(UnitError::TooLarge(text.into())),
        }
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::NotARate(text.into());
        let (digits, per) = text.split_once('/').ok_or_else(wrong)?;
        let per = Per::parse(per).ok_or_else(wrong)?;
        let amount = number(digits, UnitError::NotARate, UnitError::RateOutOfRange, text)?;
        match u32::try_from(amount) {
            Ok(amount @ 1..=MAX_RATE) => Ok(Self { amount, per }),
            Ok(_) | Err(_) => Err(UnitError::RateOutOfRange(text.into())),
        }
    }
}

impl FromStr for ByteRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::NotAByteRate(text.into());
        let (size, per) = text.split_once('/').ok_or_else(wrong)?;
        let per = Per::parse(per).ok_or_else(wrong)?;
        match size.parse() {
            Ok(ByteSize(0)) | Err(UnitError::NotASize(_)) => Err(wrong()),
            Ok(amount) => Ok(Self { amount, per }),
            Err(_) => Err(UnitError::TooLarge(text.into())),
        }
    }
}

/// The leading digits and what follows them.
fn split_number(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(digits).unwrap_or((text, ""))
}

/// Digits only: no sign, no blank, no fraction, no leading zero that could be meant as octal.
fn number(
    digits: &str,
    malformed: fn(String) -> UnitError,
    beyond: fn(String) -> UnitError,
    text: &str,
) -> Result<u64, UnitError> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return Err(malformed(text.into()));
    }
    digits.parse().map_err(|_| beyond(text.into()))
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1000, "s"),
        ];
        match units
            .iter()
            .find(|(each, _)| millis >= *each && millis.is_multiple_of(*each))
        {
            Some((each, unit)) => write!(f, "{}{unit}", millis / each),
            None if millis == 0 => f.write_str("0s"),
            None => write!(f, "{millis}ms"),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (1u64 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        match units
            .iter()
            .find(|(each, _)| self.0 >= *each && self.0.is_multiple_of(*each))
        {
            Some((each, unit)) => write!(f, "{}{unit}", self.0 / each),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.amount, self.per.name())
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.amount, self.per.name())
    }
}

/// Reads a unit from text, or from a bare number, which then stands for itself as text.
struct FromText<T>(std::marker::PhantomData<T>, &'static str);

impl<T: FromStr<Err = UnitError>> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

macro_rules! as_text {
    ($($unit:ident: $expecting:literal),+) => {$(
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(FromText(std::marker::PhantomData, $expecting))
            }
        }

        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}

as_text! {
    Period: "a duration such as 10s",
    ByteSize: "a size such as 64KiB",
    Rate: "a rate such as 50/s",
    ByteRate: "a rate of bytes such as 1MiB/s"
}

const MAX_DAYS: u64 = 3660;
const MAX_BYTES: u64 = 1 << 50;
const MAX_RATE: u32 = 1_000_000_000;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Parses, and prints as the shortest way to write the same: `None` where it must not parse.
    fn shown<T: FromStr + fmt::Display>(text: &str) -> Option<String> {
        text.parse::<T>().ok().map(|unit| unit.to_string())
    }

    #[test]
    fn lim_07_a_period_has_a_unit_and_a_range() {
        let rows = [
            ("5s", Some("5s")),
            ("500ms", Some("500ms")),
            ("60s", Some("1m")),
            ("10m", Some("10m")),
            ("10min", Some("10m")),
            ("90m", Some("90m")),
            ("1h", Some("1h")),
            ("7d", Some("7d")),
            ("1w", Some("7d")),
            ("0", Some("0s")),
            ("0s", Some("0s")),
            ("3660d", Some("3660d")),
            ("3661d", None),
            ("5", None),
            ("-5s", None),
            ("+5s", None),
            ("1.5h", None),
            ("1h30m", None),
            ("05s", None),
            (" 5s", None),
            ("5 s", None),
            ("5S", None),
            ("s", None),
            ("", None),
            ("٥s", None),
            ("18446744073709551615d", None),
            ("99999999999999999999s", None),
        ];
        for (text, expected) in rows {
            assert_eq!(shown::<Period>(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn lim_07_a_size_has_a_unit_and_a_range() {
        let rows = [
            ("0", Some("0")),
            ("1", Some("1")),
            ("1000", Some("1000")),
            ("1024", Some("1KiB")),
            ("64KiB", Some("64KiB")),
            ("1MiB", Some("1MiB")),
            ("1GiB", Some("1GiB")),
            ("1kB", Some("1000")),
            ("2MB", Some("2000000")),
            ("10B", Some("10")),
            ("1024TiB", Some("1024TiB")),
            ("1025TiB", None),
            ("64k", None),
            ("64kib", None),
            ("64 KiB", None),
            ("-1", None),
            ("1e3", None),
            ("0x10", None),
            ("010", None),
            ("18446744073709551616", None),
        ];
        for (text, expected) in rows {
            assert_eq!(shown::<ByteSize>(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn lim_07_a_rate_has_a_unit_and_a_range() {
        let rows = [
            ("50/s", Some("50/s")),
            ("600/min", Some("600/min")),
            ("600/m", Some("600/min")),
            ("10/h", Some("10/h")),
            ("1000000000/s", Some("1000000000/s")),
            ("1000000001/s", None),
            ("0/s", None),
            ("50", None),
            ("50/", None),
            ("/s", None),
            ("50/d", None),
            ("-1/s", None),
            ("50 / s", None),
            ("1KiB/s", None),
            ("4294967297/s", None),
        ];
        for (text, expected) in rows {
            assert_eq!(shown::<Rate>(text).as_deref(), expected, "{text:?}");
        }
        let rows = [
            ("1MiB/s", Some("1MiB/s")),
            ("65536/min", Some("64KiB/min")),
            ("0/s", None),
            ("0KiB/s", None),
            ("1MiB", None),
            ("2048TiB/s", None),
        ];
        for (text, expected) in rows {
            assert_eq!(shown::<ByteRate>(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn an_error_says_what_would_be_right() {
        let text = "10".parse::<Period>().unwrap_err().to_string();
        assert_eq!(
            text,
            r#""10" is not a duration: write a whole number with ms, s, m, h, d or w, such as 10s"#
        );
        let text = "4000d".parse::<Period>().unwrap_err().to_string();
        assert_eq!(text, r#""4000d" is too long: at most 3660d"#);
    }

    #[test]
    fn bare_numbers_are_read_as_their_text() {
        assert_eq!(
            serde_json::from_str::<ByteSize>("4096").unwrap(),
            ByteSize::kib(4)
        );
        assert_eq!(serde_json::from_str::<Period>("0").unwrap(), Period::ZERO);
        serde_json::from_str::<Period>("10").unwrap_err();
        serde_json::from_str::<ByteSize>("-1").unwrap_err();
        serde_json::from_str::<ByteSize>("1.5").unwrap_err();
        serde_json::from_str::<Rate>("true").unwrap_err();
        assert_eq!(
            serde_json::to_string(&Rate::per_second(50)).unwrap(),
            "\"50/s\""
        );
    }
}
