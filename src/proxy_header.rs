//! The PROXY protocol, versions 1 and 2, as its specification of 2020 has it (haproxy.org, `proxy-protocol.txt`): a header
//! with which a proxy that passes TCP on says who its client is.
//!
//! Bytes in, results out. [`ProxyHeader::parse`] is given all bytes that have come and tells how many more certainly belong
//! to the header, so that a reader which asks for no more than those never takes a byte of what follows.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// What version 2 begins with (section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with (section 2.1).
const WORD: &[u8] = b"PROXY ";
/// The longest header of version 1, its end of line included (section 2.1).
const LINE_BYTES_MAX: usize = 107;
/// Signature, version and command, family, length (section 2.2).
const FIXED_BYTES: usize = 16;
/// Longest body of a header of version 2. The addresses take 36 bytes; what proxies add about the client's TLS takes a few
/// hundred, and a client certificate a few thousand.
const BODY_BYTES_MAX: usize = 4096;
/// Two addresses and ports of IPv4.
const BODY_BYTES_V4: usize = 12;
/// Two addresses and ports of IPv6.
const BODY_BYTES_V6: usize = 36;

/// What a proxy says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Somebody else's, passed on.
    Client {
        /// The client.
        source: SocketAddr,
        /// What the client connected to.
        destination: SocketAddr,
    },
    /// The proxy's own, such as a health check, or one whose client it does not know.
    Unknown,
}

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// At least `missing` more bytes belong to it.
    Incomplete {
        /// Not zero.
        missing: usize,
    },
    /// The bytes are a header, from the first to the last.
    Complete(ProxyHeader),
}

/// Why bytes are no PROXY header. Each names the byte from which on they are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// Something else begins here.
    #[error(
        "byte {position}: no PROXY header begins like this; let the proxy send one (HAProxy: send-proxy-v2)"
    )]
    NoHeader {
        /// The first byte that no header has.
        position: usize,
    },
    /// Version 1, and not as it is written.
    #[error("byte {position}: {what} was expected in a PROXY header of version 1")]
    Line {
        /// Where it should have stood.
        position: usize,
        /// What.
        what: &'static str,
    },
    /// Version 2, and not as it is written.
    #[error("byte {position}: {what} in a PROXY header of version 2 ({byte:#04x})")]
    Fixed {
        /// Where it stands.
        position: usize,
        /// What is wrong.
        what: &'static str,
        /// The byte.
        byte: u8,
    },
    /// Version 2 with a body of a length that cannot be.
    #[error(
        "byte 14: a PROXY header of version 2 with a body of {bytes} bytes; from {min} to 4096 are taken"
    )]
    BodyLength {
        /// What the header says.
        bytes: usize,
        /// What its addresses take.
        min: usize,
    },
}

impl ProxyHeader {
    /// Reads the bytes that have come so far. They must not hold more than the header: ask for [`Progress::Incomplete`]'s
    /// `missing` and no more.
    pub fn parse(bytes: &[u8]) -> Result<Progress, ProxyHeaderError> {
        match bytes.first() {
            None => Ok(Progress::Incomplete { missing: SIGNATURE.len() }),
            Some(b'P') => parse_line(bytes),
            Some(_) => parse_binary(bytes),
        }
    }

    /// Writes the header as a proxy does: version 1.
    pub fn to_line(self) -> String {
        match self {
            Self::Client { source, destination } => {
                let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
                let (from, to) = (source.ip(), destination.ip());
                format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
            }
            Self::Unknown => "PROXY UNKNOWN\r\n".to_owned(),
        }
    }
}

/// Whether `bytes` go on as `expected` does; else where they do not.
fn begins_as(bytes: &[u8], expected: &[u8]) -> Result<(), ProxyHeaderError> {
    match bytes.iter().zip(expected).position(|(byte, expected)| byte != expected) {
        Some(position) => Err(ProxyHeaderError::NoHeader { position }),
        None => Ok(()),
    }
}

fn parse_line(bytes: &[u8]) -> Result<Progress, ProxyHeaderError> {
    begins_as(bytes, WORD)?;
    let Some(end) = bytes.iter().position(|byte| *byte == b'\r') else {
        if bytes.len() >= LINE_BYTES_MAX - 1 {
            return Err(ProxyHeaderError::Line { position: bytes.len(), what: "the end of the line" });
        }
        // The shortest line is longer than the signature of version 2; behind that, its end is still to come.
        let missing = SIGNATURE.len().saturating_sub(bytes.len()).max(2);
        return Ok(Progress::Incomplete { missing });
    };
    if end > LINE_BYTES_MAX - 2 {
        return Err(ProxyHeaderError::Line { position: LINE_BYTES_MAX - 2, what: "the end of the line" });
    }
    match bytes.get(end + 1) {
        None => return Ok(Progress::Incomplete { missing: 1 }),
        Some(b'\n') => {}
        Some(_) => return Err(ProxyHeaderError::Line { position: end + 1, what: "a line feed" }),
    }
    let mut words = Words { rest: bytes.get(WORD.len()..end), position: WORD.len() };
    match words.next() {
        // The rest of such a line is to be skipped (section 2.1).
        b"UNKNOWN" => Ok(Progress::Complete(ProxyHeader::Unknown)),
        b"TCP4" => words.client::<Ipv4Addr>("an IPv4 address").map(Progress::Complete),
        b"TCP6" => words.client::<Ipv6Addr>("an IPv6 address").map(Progress::Complete),
        _ => Err(ProxyHeaderError::Line { position: WORD.len(), what: "TCP4, TCP6 or UNKNOWN" }),
    }
}

/// Words with one space between two.
struct Words<'a> {
    /// `None` behind the last one.
    rest: Option<&'a [u8]>,
    /// Where the rest begins in the header.
    position: usize,
}

impl<'a> Words<'a> {
    /// The next word; an empty one where there is none.
    fn next(&mut self) -> &'a [u8] {
        let rest = self.rest.unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b' ');
        self.rest = end.and_then(|end| rest.get(end + 1..));
        let word = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
        self.position += word.len() + usize::from(self.rest.is_some());
        word
    }

    /// The next word, read as `T` and written the same way again where that is `exact`.
    fn read<T: FromStr + fmt::Display>(
        &mut self,
        what: &'static str,
        exact: bool,
    ) -> Result<T, ProxyHeaderError> {
        let position = self.position;
        let wrong = ProxyHeaderError::Line { position, what };
        let word = core::str::from_utf8(self.next()).map_err(|_| wrong)?;
        let value: T = word.parse().map_err(|_| wrong)?;
        if exact && value.to_string() != word { Err(wrong) } else { Ok(value) }
    }

    fn client<A>(mut self, address: &'static str) -> Result<ProxyHeader, ProxyHeaderError>
    where
        A: FromStr + fmt::Display + Into<IpAddr>,
    {
        let (from, to): (A, A) = (self.read(address, false)?, self.read(address, false)?);
        // A sign or a leading zero is no decimal number here.
        let (from_port, to_port): (u16, u16) = (self.read("a port", true)?, self.read("a port", true)?);
        if self.rest.is_some() {
            return Err(ProxyHeaderError::Line { position: self.position, what: "the end of the line" });
        }
        Ok(ProxyHeader::Client {
            source: SocketAddr::new(from.into(), from_port),
            destination: SocketAddr::new(to.into(), to_port),
        })
    }
}

fn parse_binary(bytes: &[u8]) -> Result<Progress, ProxyHeaderError> {
    begins_as(bytes, &SIGNATURE)?;
    let wrong = |position, what, byte| Err(ProxyHeaderError::Fixed { position, what, byte });
    let command = match bytes.get(12) {
        None => 0x21,
        Some(&byte) if byte >> 4 != 2 => return wrong(12, "an unknown version", byte),
        Some(&byte) if byte & 0x0F > 1 => return wrong(12, "an unknown command", byte),
        Some(&byte) => byte,
    };
    let is_local = command == 0x20;
    let body_min = match bytes.get(13) {
        // What a proxy says of a connection of its own does not count.
        Some(_) if is_local => 0,
        // No address, or that of a socket in the proxy's file system.
        None | Some(0x00 | 0x31) => 0,
        Some(0x11) => BODY_BYTES_V4,
        Some(0x21) => BODY_BYTES_V6,
        Some(&byte) => return wrong(13, "a family that TCP does not have", byte),
    };
    let &[.., high, low] = bytes.get(..FIXED_BYTES).unwrap_or_default() else {
        return Ok(Progress::Incomplete { missing: FIXED_BYTES - bytes.len() });
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < body_min || length > BODY_BYTES_MAX {
        return Err(ProxyHeaderError::BodyLength { bytes: length, min: body_min });
    }
    let body = bytes.get(FIXED_BYTES..).unwrap_or_default();
    if let Some(missing) = length.checked_sub(body.len()).filter(|missing| *missing > 0) {
        return Ok(Progress::Incomplete { missing });
    }
    Ok(Progress::Complete(addresses(body, body_min)))
}

/// The addresses at the beginning of a body, which is long enough for them. What stands behind them is not read.
fn addresses(body: &[u8], bytes: usize) -> ProxyHeader {
    fn client<const N: usize>(body: &[u8]) -> Option<ProxyHeader>
    where
        IpAddr: From<[u8; N]>,
    {
        let (from, rest) = body.split_first_chunk::<N>()?;
        let (to, rest) = rest.split_first_chunk::<N>()?;
        let (from_port, rest) = rest.split_first_chunk::<2>()?;
        let to_port = rest.first_chunk::<2>()?;
        Some(ProxyHeader::Client {
            source: SocketAddr::new((*from).into(), u16::from_be_bytes(*from_port)),
            destination: SocketAddr::new((*to).into(), u16::from_be_bytes(*to_port)),
        })
    }
    let found = match bytes {
        BODY_BYTES_V4 => client::<4>(body),
        BODY_BYTES_V6 => client::<16>(body),
        _ => None,
    };
    found.unwrap_or(ProxyHeader::Unknown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(bytes: &[u8]) -> ProxyHeader {
        match ProxyHeader::parse(bytes) {
            Ok(Progress::Complete(header)) => header,
            other => panic!("{other:?}"),
        }
    }

    fn client(source: &str, destination: &str) -> ProxyHeader {
        ProxyHeader::Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0xC3, 0x50, 0x07, 0x8F];

    #[test]
    fn lines_of_the_specification_are_read() {
        assert_eq!(
            parsed(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
            client("255.255.255.255:65535", "255.255.255.255:65535")
        );
        assert_eq!(
            parsed(b"PROXY TCP6 ffff:f:f:f:f:f:f:ffff ::1 1 0\r\n"),
            client("[ffff:f:f:f:f:f:f:ffff]:1", "[::1]:0")
        );
        assert_eq!(parsed(b"PROXY UNKNOWN\r\n"), ProxyHeader::Unknown);
        assert_eq!(parsed(b"PROXY UNKNOWN ffff:f::1 what ever 65535\r\n"), ProxyHeader::Unknown);
    }

    #[test]
    fn binary_headers_are_read_and_what_is_added_is_skipped() {
        let expected = client("203.0.113.7:50000", "192.0.2.1:1935");
        assert_eq!(parsed(&binary(0x21, 0x11, &V4)), expected);
        assert_eq!(parsed(&binary(0x21, 0x11, &[&V4[..], &[4, 0, 1, 0]].concat())), expected);
        let mut v6 = [0; 36];
        (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 3, 4);
        assert_eq!(parsed(&binary(0x21, 0x21, &v6)), client("[::1]:3", "[::2]:4"));
        for own in [binary(0x20, 0x00, &[]), binary(0x20, 0x11, &V4), binary(0x20, 0xFF, b"x")] {
            assert_eq!(parsed(&own), ProxyHeader::Unknown, "a health check");
        }
        assert_eq!(parsed(&binary(0x21, 0x00, b"x")), ProxyHeader::Unknown);
        assert_eq!(parsed(&binary(0x21, 0x31, &[0; 216])), ProxyHeader::Unknown);
    }

    #[test]
    fn what_is_no_header_is_refused_at_the_first_byte_that_is_none() {
        for (bytes, position) in [
            (&b"\x03\0\0\0"[..], 0),
            (b"\x16\x03\x01", 0),
            (b"GET / HTTP/1.1\r\n", 0),
            (b"POST / HTTP/1.1\r\n", 1),
            (b"PROXY\t", 5),
            (b"\r\n\r\n\0\r\nQUIX", 10),
        ] {
            let refused = ProxyHeader::parse(bytes).unwrap_err();
            assert_eq!(refused, ProxyHeaderError::NoHeader { position }, "{bytes:?}");
        }
        for line in [
            "PROXY tcp4 1.1.1.1 2.2.2.2 1 2",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 ",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3",
            "PROXY TCP4  1.1.1.1 2.2.2.2 1 2",
            "PROXY TCP4 1.1.1.01 2.2.2.2 1 2",
            "PROXY TCP4 ::1 ::2 1 2",
            "PROXY TCP6 1.1.1.1 2.2.2.2 1 2",
            "PROXY TCP4 1.1.1.1 2.2.2.2 01 2",
            "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2",
            "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536",
            "PROXY ",
        ] {
            assert!(ProxyHeader::parse(format!("{line}\r\n").as_bytes()).is_err(), "{line}");
        }
        assert!(ProxyHeader::parse(b"PROXY UNKNOWN\rx").is_err());
        for bytes in [
            binary(0x11, 0x11, &V4),
            binary(0x22, 0x11, &V4),
            binary(0x21, 0x12, &V4),
            binary(0x21, 0x41, &V4),
            binary(0x21, 0x11, &V4[..11]),
            binary(0x21, 0x21, &V4),
            binary(0x21, 0x11, &[0; BODY_BYTES_MAX + 1]),
        ] {
            assert!(ProxyHeader::parse(&bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_header_without_end_is_refused_in_time() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 16));
        assert_eq!(longest.len(), LINE_BYTES_MAX);
        assert_eq!(parsed(longest.as_bytes()), ProxyHeader::Unknown);
        let longer = longest.replace("x\r", "xx\r");
        assert!(ProxyHeader::parse(&longer.as_bytes()[..LINE_BYTES_MAX]).is_err());
        // What a header says of itself is refused before its body has come.
        assert!(ProxyHeader::parse(&binary(0x21, 0x11, &[0; BODY_BYTES_MAX + 1])[..FIXED_BYTES]).is_err());
    }

    /// Feeds `bytes` as a reader does that asks for what is missing, in pieces of at most `piece`.
    fn read(bytes: &[u8], piece: usize) -> (Result<ProxyHeader, ProxyHeaderError>, usize) {
        let mut taken = 0;
        loop {
            match ProxyHeader::parse(&bytes[..taken]) {
                Ok(Progress::Complete(header)) => return (Ok(header), taken),
                Ok(Progress::Incomplete { missing }) => {
                    assert!(missing > 0);
                    taken += missing.min(piece);
                }
                Err(error) => return (Err(error), taken),
            }
        }
    }

    prop_compose! {
        fn header()(v6: bool, from: u128, to: u128, from_port: u16, to_port: u16) -> ProxyHeader {
            let address = |bits: u128| -> IpAddr {
                if v6 {
                    Ipv6Addr::from_bits(bits).into()
                } else {
                    Ipv4Addr::from_bits(u32::try_from(bits >> 96).unwrap()).into()
                }
            };
            ProxyHeader::Client {
                source: SocketAddr::new(address(from), from_port),
                destination: SocketAddr::new(address(to), to_port),
            }
        }
    }

    fn to_binary(header: ProxyHeader, added: &[u8]) -> Vec<u8> {
        let ProxyHeader::Client { source, destination } = header else { return binary(0x20, 0, added) };
        let mut body = Vec::new();
        for address in [source.ip(), destination.ip()] {
            match address {
                IpAddr::V4(address) => body.extend(address.octets()),
                IpAddr::V6(address) => body.extend(address.octets()),
            }
        }
        body.extend(source.port().to_be_bytes());
        body.extend(destination.port().to_be_bytes());
        body.extend_from_slice(added);
        binary(0x21, if source.is_ipv4() { 0x11 } else { 0x21 }, &body)
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back_in_any_split_and_not_a_byte_more(
            header in header(),
            added in proptest::collection::vec(any::<u8>(), 0..300),
            piece in 1_usize..300,
        ) {
            for written in [header.to_line().into_bytes(), to_binary(header, &added)] {
                let mut bytes = written.clone();
                bytes.extend(b"what follows belongs to somebody else, however long it is".repeat(100));
                prop_assert_eq!(read(&bytes, piece), (Ok(header), written.len()));
            }
        }

        #[test]
        fn a_beginning_is_never_refused_and_never_enough(
            header in header(),
            added in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            for written in [header.to_line().into_bytes(), to_binary(header, &added)] {
                for end in 0..written.len() {
                    let progress = ProxyHeader::parse(&written[..end]);
                    let fits = matches!(progress, Ok(Progress::Incomplete { missing }) if end + missing <= written.len());
                    prop_assert!(fits, "{progress:?} at {end} of {written:?}");
                }
            }
        }

        #[test]
        fn no_bytes_are_too_strange(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            line in "PROXY [ -~]{0,120}\r\n",
            command: u8,
            family: u8,
        ) {
            let _ = ProxyHeader::parse(&bytes);
            let _ = ProxyHeader::parse(line.as_bytes());
            let _ = ProxyHeader::parse(&binary(command, family, &bytes));
        }
    }
}
