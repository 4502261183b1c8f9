//! The little that an operator has to be told of a certificate: how long it is good, and who issued it.
//!
//! Everything else about it, its signature included, is the business of whoever connects. What is read here comes from the
//! operator's own file, is walked once from the front, and every length is held against the bytes that are there.

use time::{Date, Month, PrimitiveDateTime, Time};

/// What stands in a certificate (RFC 5280 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// From when on it is good, in seconds since 1970.
    pub(super) not_before: i64,
    /// The last second in which it is good, in seconds since 1970.
    pub(super) not_after: i64,
    /// Whether its subject issued it itself, so that nobody else's certificate belongs to the chain.
    pub(super) is_self_issued: bool,
}

/// The bytes are no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {position} of its DER form: {what} was expected")]
pub(super) struct Malformed {
    position: usize,
    what: &'static str,
}

/// Tags of DER (X.690) that stand on the way to the validity.
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const EXPLICIT_0: u8 = 0xA0;
}

/// Reads a certificate in DER form.
pub(super) fn facts(der: &[u8]) -> Result<Facts, Malformed> {
    let mut outer = Walk { bytes: der, position: 0 };
    let mut certificate = outer.enter(tag::SEQUENCE, "a certificate")?;
    let mut signed = certificate.enter(tag::SEQUENCE, "the signed part")?;
    if signed.bytes.first() == Some(&tag::EXPLICIT_0) {
        signed.enter(tag::EXPLICIT_0, "a version")?;
    }
    signed.enter(tag::INTEGER, "a serial number")?;
    signed.enter(tag::SEQUENCE, "a signature algorithm")?;
    let issuer = signed.enter(tag::SEQUENCE, "an issuer")?.bytes;
    let mut validity = signed.enter(tag::SEQUENCE, "a validity")?;
    let not_before = validity.time()?;
    let not_after = validity.time()?;
    let subject = signed.enter(tag::SEQUENCE, "a subject")?.bytes;
    Ok(Facts { not_before, not_after, is_self_issued: issuer == subject })
}

/// Elements one after another.
struct Walk<'a> {
    bytes: &'a [u8],
    /// Where `bytes` begin in the certificate.
    position: usize,
}

impl<'a> Walk<'a> {
    fn wrong(&self, what: &'static str) -> Malformed {
        Malformed { position: self.position, what }
    }

    /// The content of the next element, which must have this tag; goes on behind it.
    fn enter(&mut self, tag: u8, what: &'static str) -> Result<Self, Malformed> {
        if self.bytes.first() != Some(&tag) {
            return Err(self.wrong(what));
        }
        self.any(what).map(|(_, content)| content)
    }

    fn any(&mut self, what: &'static str) -> Result<(u8, Self), Malformed> {
        let wrong = self.wrong(what);
        let (tag, length, header) = head(self.bytes).ok_or(wrong)?;
        let end = header.checked_add(length).ok_or(wrong)?;
        let content = self.bytes.get(header..end).ok_or(wrong)?;
        let inner = Self { bytes: content, position: self.position + header };
        self.bytes = self.bytes.get(end..).unwrap_or_default();
        self.position += end;
        Ok((tag, inner))
    }

    /// A time of the validity, in seconds since 1970.
    fn time(&mut self) -> Result<i64, Malformed> {
        let wrong = self.wrong("a time");
        let (tag, content) = self.any("a time")?;
        let text = content.bytes.strip_suffix(b"Z").ok_or(wrong)?;
        let (year, rest) = match tag {
            tag::UTC_TIME => {
                let (year, rest) = text.split_at_checked(2).ok_or(wrong)?;
                let year = digits(year).ok_or(wrong)?;
                // RFC 5280 section 4.1.2.5.1: two digits below 50 are of this century.
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            tag::GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4).ok_or(wrong)?;
                (digits(year).ok_or(wrong)?, rest)
            }
            _ => return Err(wrong),
        };
        moment(year, rest).ok_or(wrong)
    }
}

/// Tag, length and bytes of both.
fn head(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if first < 0x80 {
        return Some((tag, first.into(), 2));
    }
    let count = usize::from(first & 0x7F);
    let long = rest.get(..count).filter(|long| (1..=4).contains(&long.len()))?;
    let length = long.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
    Some((tag, length, 2 + count))
}

fn digits(text: &[u8]) -> Option<i32> {
    let all = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| all)?.parse().ok()
}

/// `MMDDHHMMSS` of a year.
fn moment(year: i32, text: &[u8]) -> Option<i64> {
    let mut pairs = text.chunks(2).map(|pair| digits(pair).and_then(|number| u8::try_from(number).ok()));
    let mut next = || pairs.next().flatten();
    let date = Date::from_calendar_date(year, Month::try_from(next()?).ok()?, next()?).ok()?;
    let time = Time::from_hms(next()?, next()?, next()?).ok()?;
    let is_whole = text.len() == 10;
    is_whole.then(|| PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        match u8::try_from(content.len()) {
            Ok(short) if short < 0x80 => bytes.push(short),
            _ => {
                bytes.push(0x82);
                bytes.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            }
        }
        bytes.extend_from_slice(content);
        bytes
    }

    /// As much of a certificate as is read.
    fn certificate(from: Vec<u8>, until: Vec<u8>, issuer: &[u8], subject: &[u8]) -> Vec<u8> {
        let signed = [
            element(0xA0, &element(2, &[2])),
            element(2, &[0x7F; 20]),
            element(0x30, &[6, 1, 0x2A]),
            element(0x30, issuer),
            element(0x30, &[from, until].concat()),
            element(0x30, subject),
            vec![0x30; 200],
        ];
        element(0x30, &element(0x30, &signed.concat()))
    }

    fn utc(text: &str) -> Vec<u8> {
        element(0x17, text.as_bytes())
    }

    fn generalized(text: &str) -> Vec<u8> {
        element(0x18, text.as_bytes())
    }

    #[test]
    fn the_validity_is_read_in_both_forms_of_time() {
        let read = |from, until| {
            let facts = facts(&certificate(from, until, b"a", b"a"));
            facts.map(|facts| (facts.not_before, facts.not_after))
        };
        assert_eq!(
            read(utc("700101000001Z"), utc("491231235959Z")),
            Ok((1, 2_524_607_999)),
            "1970 and 2049 have two digits"
        );
        assert_eq!(
            read(utc("240229120000Z"), generalized("20500101000000Z")),
            Ok((1_709_208_000, 2_524_608_000))
        );
        assert_eq!(read(utc("500101000000Z"), generalized("99991231235959Z")).unwrap().1, 253_402_300_799);
        for bad in ["230229120000Z", "2402291200Z", "240229120000", "24022912000xZ", "241301000000Z", "Z", ""]
        {
            assert!(read(utc(bad), utc("491231235959Z")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_certificate_of_its_own_subject_is_known() {
        let times = || (utc("240101000000Z"), utc("250101000000Z"));
        let ((from, until), (from_too, until_too)) = (times(), times());
        assert!(facts(&certificate(from, until, b"same", b"same")).unwrap().is_self_issued);
        assert!(!facts(&certificate(from_too, until_too, b"issuer", b"subject")).unwrap().is_self_issued);
    }

    #[test]
    fn whatever_is_cut_off_is_told_by_its_place() {
        let whole = certificate(utc("240101000000Z"), utc("250101000000Z"), b"a", b"b");
        for length in 0..whole.len() {
            assert!(facts(&whole[..length]).is_err(), "{length}");
        }
        assert_eq!(
            facts(b"-----BEGIN").unwrap_err().to_string(),
            "byte 0 of its DER form: a certificate was expected"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0_usize..300,
        ) {
            let _ = facts(&bytes);
            let mut whole = certificate(utc("240101000000Z"), utc("250101000000Z"), b"a", b"b");
            let end = whole.len().min(at + bytes.len());
            bytes.truncate(end.saturating_sub(at));
            whole.splice(at.min(end)..end, bytes);
            let _ = facts(&whole);
        }
    }
}
