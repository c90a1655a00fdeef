//! Stamps: instants in milliseconds and their one canonical spelling.
//!
//! Lives here: parsing foreign spellings, printing ours, the rule for the next stamp (DESIGN §3). Not
//! here: who reads the clock (`platform`).

use crate::core::error::{Code, Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Stamps further ahead of server time than this never advance a clock and are clamped by the server.
pub const MAX_AHEAD_MS: i64 = 5 * 60 * 1000;

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub i64);

impl Stamp {
    /// Parses ISO 8601 as JavaScript, Python and SQL servers write it: any fraction, `Z`, an offset, or no
    /// zone (then UTC). Only years 0000–9999.
    ///
    /// ```
    /// # use homing::core::stamp::Stamp;
    /// let a = Stamp::parse("2024-06-15T14:32:00.000Z").unwrap();
    /// assert_eq!(a, Stamp::parse("2024-06-15 16:32:00.000999+02:00").unwrap());
    /// assert_eq!(a.to_string(), "2024-06-15T14:32:00.000Z");
    /// ```
    ///
    /// # Errors
    /// `invalid-record` when the text is not a date.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| Error::new(Code::InvalidRecord, "not an ISO 8601 date"))
    }

    /// The stamp of a version made on `previous` at `now` (server time where an offset is known).
    ///
    /// ```
    /// # use homing::core::stamp::Stamp;
    /// assert_eq!(Stamp::next(Stamp(5), Some(Stamp(9))), Stamp(10));
    /// assert_eq!(Stamp::next(Stamp(20), Some(Stamp(9))), Stamp(20));
    /// ```
    #[must_use]
    pub fn next(now: Stamp, previous: Option<Stamp>) -> Stamp {
        previous.map_or(now, |p| now.max(Stamp(p.0.saturating_add(1)))).min(LAST)
    }
}

const LAST: Stamp = Stamp(253_402_300_799_999);

fn digits(bytes: &[u8], from: usize, n: usize) -> Option<i64> {
    let mut value = 0;
    for b in bytes.get(from..from + n)? {
        value = value * 10 + i64::from(b.is_ascii_digit().then(|| b - b'0')?);
    }
    Some(value)
}

fn parse(text: &str) -> Option<Stamp> {
    let b = text.trim().as_bytes();
    let (year, month, day) = (digits(b, 0, 4)?, digits(b, 5, 2)?, digits(b, 8, 2)?);
    if b.get(4) != Some(&b'-') || b.get(7) != Some(&b'-') || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let midnight = days_from_civil(year, month, day) * 86_400_000;
    if b.len() == 10 {
        return Some(Stamp(midnight));
    }
    if !matches!(b.get(10), Some(b'T' | b't' | b' ')) || b.get(13) != Some(&b':') {
        return None;
    }
    let (hour, minute) = (digits(b, 11, 2)?, digits(b, 14, 2)?);
    let mut at = 16;
    let mut second = 0;
    if b.get(at) == Some(&b':') {
        second = digits(b, 17, 2)?;
        at = 19;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut millis = 0;
    if matches!(b.get(at), Some(b'.' | b',')) {
        at += 1;
        let mut scale = 100;
        let start = at;
        while let Some(d) = b.get(at).filter(|d| d.is_ascii_digit()) {
            millis += i64::from(d - b'0') * scale;
            scale /= 10;
            at += 1;
        }
        if at == start {
            return None;
        }
    }
    let offset = match b.get(at) {
        None => 0,
        Some(b'Z' | b'z') if b.len() == at + 1 => 0,
        Some(sign @ (b'+' | b'-')) => {
            let h = digits(b, at + 1, 2)?;
            let m = match (b.len() - at - 1, b.get(at + 3)) {
                (2, None) => 0,
                (4, _) => digits(b, at + 3, 2)?,
                (5, Some(b':')) => digits(b, at + 4, 2)?,
                _ => return None,
            };
            if h > 23 || m > 59 {
                return None;
            }
            (h * 60 + m) * 60_000 * if *sign == b'-' { -1 } else { 1 }
        }
        Some(_) => return None,
    };
    Some(Stamp(midnight + ((hour * 60 + minute) * 60 + second) * 1000 + millis - offset))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.clamp(-62_167_219_200_000, LAST.0);
        let (days, time) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
        let (year, month, day) = civil_from_days(days);
        let (s, milli) = (time / 1000, time % 1000);
        // Every record has one: by hand this takes a tenth of the time of a format with widths.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let places = [(0, 4, year), (5, 2, month), (8, 2, day), (11, 2, s / 3600), (14, 2, s / 60 % 60), (17, 2, s % 60), (20, 3, milli)];
        for (from, digits, mut number) in places {
            for place in text.iter_mut().skip(from).take(digits).rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Stamp::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(ms in -62_167_219_200_000i64..=253_402_300_799_999) {
            prop_assert_eq!(Stamp::parse(&Stamp(ms).to_string()).unwrap(), Stamp(ms));
        }
        #[test]
        fn order_of_text_is_order_of_instants(a in 0i64..=253_402_300_799_999, b in 0i64..=253_402_300_799_999) {
            prop_assert_eq!(Stamp(a).to_string().cmp(&Stamp(b).to_string()), a.cmp(&b));
        }
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") { let _ = Stamp::parse(&text); }
        #[test]
        fn no_date_like_text_panics(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,+Z-]{0,20}") { let _ = Stamp::parse(&text); }
    }

    #[test]
    fn foreign_spellings_are_instants() {
        let want = Stamp::parse("2025-03-01T10:00:00.250Z").unwrap();
        for text in [
            "2025-03-01T10:00:00.25",
            "2025-03-01 10:00:00.250123",
            "2025-03-01T07:00:00,25-03:00",
            "2025-03-01T12:30:00.250+0230",
            "2025-03-01T12:00:00.250+02",
        ] {
            assert_eq!(Stamp::parse(text).unwrap(), want, "{text}");
        }
        assert_eq!(Stamp::parse("2025-03-01T10:00").unwrap().to_string(), "2025-03-01T10:00:00.000Z");
        for bad in [
            "",
            "yesterday",
            "2025-02-30",
            "2025-13-01",
            "2025-03-01T25:00",
            "2025-03-01T10:00:00.Z",
            "2025-03-01T10:00:00+2",
            "2025-03-01T10:00:00Zx",
        ] {
            assert!(Stamp::parse(bad).is_err(), "{bad}");
        }
    }
}
