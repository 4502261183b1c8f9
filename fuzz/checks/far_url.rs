//! The URL of a far server: what is taken can be taken again, asks for what it names, and shows nothing that may be a key.

use tidegate::rtmp::relay::{FarUrl, URL_BYTES_MAX};

/// Parts of a URL that are shorter may stand in any sentence.
const SECRET_BYTES_MIN: usize = 4;

/// Fails where `input` breaks what holds for any input.
pub(crate) fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(url) = FarUrl::parse(&text) else { return };
    assert!(text.len() <= URL_BYTES_MAX);
    assert_eq!(FarUrl::parse(url.expose()).as_ref(), Ok(&url));
    assert!(url.port() > 0);
    assert!(!url.host().is_empty() && !url.host().contains(['/', '@', '?', '#', '[', ']', '%', '\\']), "{}", url.host());

    // Before the path stand scheme, host and port, and no more.
    let shown = url.to_string();
    assert!(shown.ends_with("/…"), "{shown}");
    assert_eq!(shown.matches('/').count(), 4, "{shown}");
    assert_eq!(format!("{url:?}"), shown);
    // The name is behind the last slash of the path, or of all.
    let path = text.split_once('?').map_or(&*text, |(path, _)| path);
    let name = path.rsplit('/').next().unwrap_or_default();
    let said = url.scrub(&format!("no {text} here\n"));
    if name.len() >= SECRET_BYTES_MIN && !"no  here…".contains(name) && !path.ends_with("//") {
        let bare = said.replace('…', "");
        assert!(!bare.contains(name) || !text.contains(&format!("/{name}")), "{name} in {said}");
    }
    assert!(!said.contains(|letter: char| letter.is_control()));
}
