//! From what stands in a file or in the environment to a checked value.

use std::net::IpAddr;
use std::path::PathBuf;

use figment::Figment;
use figment::value::Value;
use ipnet::IpNet;

use super::settings::{Preset, Setting};
use super::{ConfigError, Origin};
use crate::listen::ListenAddresses;
use crate::secret::Secret;
use crate::telemetry::{self, LogFormat};

/// A value longer than this is cut where an error shows it: the error stays one line that can be read.
const SHOWN_CHARS_MAX: usize = 80;
/// Shortest ops token: sixteen random characters cannot be guessed over a network.
const OPS_TOKEN_CHARS_MIN: usize = 16;
/// Longest ops token; an HTTP header line has to hold it.
const OPS_TOKEN_CHARS_MAX: usize = 256;
/// Most address ranges in one list: each request is compared with all of them.
const ADDRESS_RANGES_MAX: usize = 64;

/// What was given for a setting, before its type looks at it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given<'a> {
    /// A whole number, already in range.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(&'a str),
}

impl<'a> Given<'a> {
    fn text(self, form: &str) -> Result<&'a str, String> {
        match self {
            Given::Text(text) => Ok(text.trim()),
            Given::Number(_) | Given::Flag(_) => Err(form.to_owned()),
        }
    }
}

/// The type of a setting.
pub(super) trait SettingValue: Sized {
    /// What a value looks like: "a comma list of host:port".
    const FORM: &'static str;
    /// Whether the value must never be shown.
    const SECRET: bool = false;
    /// Takes `given`, or answers what it should have been, in words that follow "which is not".
    fn take(given: Given<'_>) -> Result<Self, String>;
}

/// Reads values by their row in the table, from all layers at once.
pub(super) struct Reader<'a> {
    pub(super) layers: &'a Figment,
}

impl Reader<'_> {
    /// The value of `setting`: the environment's, else the file's, else the default.
    pub(super) fn value<T: SettingValue>(&self, setting: &'static Setting) -> Result<T, ConfigError> {
        let Ok(value) = self.layers.find_value(setting.key) else {
            return T::take(setting.default.given())
                .map_err(|rule| setting.wrong("left at its default".to_owned(), Origin::Default, rule));
        };
        let origin = Origin::of(self.layers.get_metadata(value.tag()), setting.key);
        let given = match (&setting.default, &value) {
            (Preset::Number { min, max, .. }, _) => whole_number(&value, &origin)
                .filter(|number| (min..=max).contains(&number))
                .map(Given::Number)
                .ok_or_else(|| format!("a whole number from {min} to {max}")),
            (Preset::Flag(_), _) => {
                flag(&value, &origin).map(Given::Flag).ok_or_else(|| bool::FORM.to_owned())
            }
            (Preset::Text(_), Value::String(_, text)) => Ok(Given::Text(text)),
            (Preset::Text(_), _) => Err(format!("a text in quotes: {}", T::FORM)),
        };
        given.and_then(T::take).map_err(|rule| setting.wrong(shown(setting, &value), origin, rule))
    }
}

impl Preset {
    fn given(&self) -> Given<'static> {
        match self {
            Self::Number { default, .. } => Given::Number(*default),
            Self::Flag(flag) => Given::Flag(*flag),
            Self::Text(text) => Given::Text(text),
        }
    }
}

impl Setting {
    fn wrong(&self, shown: String, origin: Origin, rule: String) -> ConfigError {
        ConfigError::WrongValue { key: self.key, shown, origin, rule }
    }
}

/// The value, fit for an error line.
fn shown(setting: &Setting, value: &Value) -> String {
    if setting.secret {
        return "set to a text that is not shown".to_owned();
    }
    let text = match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_f64()) {
            (Some(whole), _) => whole.to_string(),
            (None, Some(fraction)) => fraction.to_string(),
            (None, None) => "a number".to_owned(),
        },
        Value::Char(_, letter) => format!("{letter:?}"),
        Value::Array(..) => "an array".to_owned(),
        Value::Dict(..) => "a table".to_owned(),
        Value::Empty(..) => "empty".to_owned(),
    };
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

/// A number of the file, or the digits of an environment variable; a quoted number in a file is a mistake.
fn whole_number(value: &Value, origin: &Origin) -> Option<u64> {
    match (value, origin) {
        (Value::String(_, text), Origin::Environment(_)) => {
            let digits = text.trim();
            digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)?.parse().ok()
        }
        (Value::Num(_, number), _) => u64::try_from(number.to_i128()?).ok(),
        _ => None,
    }
}

/// A flag of the file, or its word in an environment variable; a quoted word in a file is a mistake.
fn flag(value: &Value, origin: &Origin) -> Option<bool> {
    match (value, origin) {
        (Value::String(_, text), Origin::Environment(_)) => text.trim().parse().ok(),
        (Value::Bool(_, flag), _) => Some(*flag),
        _ => None,
    }
}

impl SettingValue for bool {
    const FORM: &'static str = "true or false";

    fn take(given: Given<'_>) -> Result<Self, String> {
        match given {
            Given::Flag(flag) => Ok(flag),
            Given::Number(_) | Given::Text(_) => Err(Self::FORM.to_owned()),
        }
    }
}

macro_rules! number_values {
    ($($number:ty),+) => { $(
        impl SettingValue for $number {
            const FORM: &'static str = "a whole number";

            fn take(given: Given<'_>) -> Result<Self, String> {
                match given {
                    Given::Number(number) => Self::try_from(number).map_err(|_| Self::FORM.to_owned()),
                    Given::Flag(_) | Given::Text(_) => Err(Self::FORM.to_owned()),
                }
            }
        }
    )+ };
}

number_values!(u32, u64, usize);

impl<T: SettingValue> SettingValue for Option<T> {
    const FORM: &'static str = T::FORM;
    const SECRET: bool = T::SECRET;

    fn take(given: Given<'_>) -> Result<Self, String> {
        if given.text(T::FORM)?.is_empty() { Ok(None) } else { T::take(given).map(Some) }
    }
}

impl SettingValue for PathBuf {
    const FORM: &'static str = "a path";

    fn take(given: Given<'_>) -> Result<Self, String> {
        match given.text(Self::FORM)? {
            "" => Err(Self::FORM.to_owned()),
            path => Ok(path.into()),
        }
    }
}

impl SettingValue for ListenAddresses {
    const FORM: &'static str = "a comma list of host:port, such as \"0.0.0.0:1935,[::]:1935\"";

    fn take(given: Given<'_>) -> Result<Self, String> {
        given.text(Self::FORM)?.parse().map_err(|error| format!("{} ({error})", Self::FORM))
    }
}

impl SettingValue for LogFormat {
    const FORM: &'static str = "\"text\" or \"json\"";

    fn take(given: Given<'_>) -> Result<Self, String> {
        match given.text(Self::FORM)? {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Self::FORM.to_owned()),
        }
    }
}

/// A log filter that [`telemetry::start_logging`] takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The filter as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SettingValue for LogFilter {
    const FORM: &'static str = "a level, or a comma list with module=level";

    fn take(given: Given<'_>) -> Result<Self, String> {
        let text = given.text(Self::FORM)?;
        telemetry::check_filter(text).map_err(|error| format!("{} ({error})", Self::FORM))?;
        Ok(Self(text.to_owned()))
    }
}

/// What opens /metrics to other hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpsToken(pub Secret);

impl SettingValue for OpsToken {
    const FORM: &'static str = "16 to 256 visible ASCII characters, such as `openssl rand -hex 32` makes";
    const SECRET: bool = true;

    fn take(given: Given<'_>) -> Result<Self, String> {
        let text = given.text(Self::FORM)?;
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (OPS_TOKEN_CHARS_MIN..=OPS_TOKEN_CHARS_MAX).contains(&text.len()) {
            Ok(Self(Secret::new(text.to_owned())))
        } else {
            Err(Self::FORM.to_owned())
        }
    }
}

/// Where phones reach RTMP: scheme and authority, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicRtmpUrl(String);

impl PublicRtmpUrl {
    /// `rtmp://live.example.com:1935`: a path that begins with a slash can be appended.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SettingValue for PublicRtmpUrl {
    const FORM: &'static str =
        "rtmp:// or rtmps:// and a host, without a path, such as \"rtmp://live.example.com\"";

    fn take(given: Given<'_>) -> Result<Self, String> {
        let text = given.text(Self::FORM)?.trim_end_matches('/');
        match split_url(text, &["rtmp://", "rtmps://"]) {
            Some((authority, "")) if is_authority(authority) => Ok(Self(text.to_owned())),
            _ => Err(Self::FORM.to_owned()),
        }
    }
}

/// Where phones and browsers reach HTTP: scheme, authority and perhaps a path, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicHttpUrl(String);

impl PublicHttpUrl {
    /// `https://live.example.com/gateway`: a path that begins with a slash can be appended.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SettingValue for PublicHttpUrl {
    const FORM: &'static str =
        "http:// or https:// and a host, perhaps a path, such as \"https://live.example.com\"";

    fn take(given: Given<'_>) -> Result<Self, String> {
        let text = given.text(Self::FORM)?.trim_end_matches('/');
        match split_url(text, &["http://", "https://"]) {
            Some((authority, path)) if is_authority(authority) && is_plain_path(path) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(Self::FORM.to_owned()),
        }
    }
}

fn split_url<'a>(text: &'a str, schemes: &[&str]) -> Option<(&'a str, &'a str)> {
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme))?;
    Some(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; no user name, no password.
fn is_authority(text: &str) -> bool {
    let (host_is_good, rest) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, rest)) => (host.parse::<std::net::Ipv6Addr>().is_ok(), rest),
        None => {
            let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            (!host.is_empty() && host.bytes().all(name), rest)
        }
    };
    let port_is_good = match rest.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok_and(|port| port != 0),
        None => rest.is_empty(),
    };
    host_is_good && port_is_good
}

fn is_plain_path(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~'))
}

/// A list of address ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressRanges(Vec<IpNet>);

impl AddressRanges {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `address` lies in one of the ranges. An IPv4 address that came over an IPv6 socket counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|range| range.contains(&address))
    }
}

/// Most origins in one list: more than an app has sites.
const ORIGINS_MAX: usize = 64;

/// Origins of web pages; `None` is all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsOriginList(pub Option<Vec<String>>);

impl SettingValue for CorsOriginList {
    const FORM: &'static str =
        "\"*\", or a comma list of up to 64 origins, such as \"https://app.example,http://localhost:3000\"";

    fn take(given: Given<'_>) -> Result<Self, String> {
        let text = given.text(Self::FORM)?;
        if text.trim() == "*" {
            return Ok(Self(None));
        }
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let origins: Option<Vec<_>> = parts.map(|part| is_origin(part).then(|| part.to_owned())).collect();
        match origins {
            Some(origins) if origins.len() <= ORIGINS_MAX => Ok(Self(Some(origins))),
            _ => Err(Self::FORM.to_owned()),
        }
    }
}

/// Whether `text` is what a browser sends as Origin (RFC 6454 section 7): scheme, host, port, and nothing behind it.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
    };
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(plain))
}

impl SettingValue for AddressRanges {
    const FORM: &'static str = "a comma list of up to 64 address ranges, such as \"10.0.0.0/8,fd00::/8\"";

    fn take(given: Given<'_>) -> Result<Self, String> {
        let text = given.text(Self::FORM)?;
        if text.is_empty() {
            return Ok(Self::default());
        }
        let range = |part: &str| {
            let part = part.trim();
            part.parse::<IpNet>().ok().or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from))
        };
        let ranges: Option<Vec<IpNet>> = text.split(',').map(range).collect();
        match ranges {
            Some(ranges) if ranges.len() <= ADDRESS_RANGES_MAX => Ok(Self(ranges)),
            _ => Err(Self::FORM.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken<T: SettingValue>(text: &str) -> Option<T> {
        T::take(Given::Text(text)).ok()
    }

    #[test]
    fn public_urls_are_kept_without_a_slash_at_the_end() {
        for (given, kept) in [
            ("rtmp://live.example.com", "rtmp://live.example.com"),
            ("rtmps://live.example.com:443/", "rtmps://live.example.com:443"),
            ("rtmp://[2001:db8::1]:1935", "rtmp://[2001:db8::1]:1935"),
        ] {
            assert_eq!(taken::<PublicRtmpUrl>(given).unwrap().as_str(), kept);
        }
        assert_eq!(taken::<PublicHttpUrl>("https://a.example/gw/").unwrap().as_str(), "https://a.example/gw");
    }

    #[test]
    fn public_urls_that_would_break_the_urls_built_from_them_are_refused() {
        for bad in [
            "live.example.com",
            "http://live.example.com",
            "rtmp://",
            "rtmp://a/live",
            "rtmp://a:0",
            "rtmp://a:99999",
            "rtmp://user:pass@a",
            "rtmp://a?x=1",
            "rtmp://[::1",
            "rtmp://a b",
        ] {
            assert_eq!(taken::<PublicRtmpUrl>(bad), None, "{bad}");
        }
        for bad in ["https://a/?x=1", "https://a#b", "rtmp://a", "https://a/b c", "https://u@a"] {
            assert_eq!(taken::<PublicHttpUrl>(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_empty_optional_value_is_not_set() {
        assert_eq!(taken::<Option<PublicHttpUrl>>(" "), Some(None));
        assert_eq!(taken::<Option<OpsToken>>(""), Some(None));
        assert_eq!(taken::<Option<OpsToken>>("short"), None);
        assert_eq!(taken::<PathBuf>(""), None);
    }

    #[test]
    fn address_ranges_know_their_addresses_in_both_families() {
        assert_eq!(taken::<CorsOriginList>("*"), Some(CorsOriginList(None)));
        assert_eq!(taken::<CorsOriginList>(""), Some(CorsOriginList(Some(vec![]))));
        let origins = ["https://app.example", "http://localhost:3000", "http://[::1]:3000"];
        let list = CorsOriginList(Some(origins.map(str::to_owned).to_vec()));
        assert_eq!(taken(&origins.join(", ")), Some(list));
        for bad in
            ["app.example", "https://", "https://app.example/", "https://App.example", "*, https://a.example"]
        {
            assert_eq!(taken::<CorsOriginList>(bad), None, "{bad}");
        }
        let ranges: AddressRanges = taken("10.0.0.0/8, 192.0.2.7, fd00::/8").unwrap();
        for inside in ["10.255.0.1", "::ffff:10.0.0.1", "192.0.2.7", "fd12::1"] {
            assert!(ranges.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "fe80::1", "::1"] {
            assert!(!ranges.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(!taken::<AddressRanges>("").unwrap().contains("127.0.0.1".parse().unwrap()));
        for bad in ["10.0.0.0/33", "10.0.0.0/8,", "example.com", &["10.0.0.1"; 65].join(",")] {
            assert_eq!(taken::<AddressRanges>(bad), None, "{bad}");
        }
    }
}
