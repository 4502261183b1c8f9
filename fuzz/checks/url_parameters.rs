//! Where clients put a token, over RTMP and over HTTP: whatever the text, a token that is found stands in it as it is, and
//! nothing of the text shows in a Debug text.

use tidegate::admission::{TOKEN_PARAMETER, query_parameter};
use tidegate::rtmp::proto::UrlText;

/// Fails where `input` breaks what holds for any input.
pub(crate) fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let url = UrlText::from(&*text);
    let name = url.stream_name();
    assert!(!name.contains('?') && !name.starts_with('/') && text.contains(name));
    assert_eq!(format!("{url:?}"), format!("{:?}", UrlText::default()), "it shows");
    if let Some((_, query)) = text.split_once('?') {
        if let Some(token) = url.parameter(TOKEN_PARAMETER) {
            assert!(!token.contains(['&', '?', '/']));
            assert!(query.contains(&format!("{TOKEN_PARAMETER}={token}")));
        }
        let over_http = query_parameter(query, TOKEN_PARAMETER);
        if !query.contains(['/', '?']) {
            assert_eq!(over_http, url.parameter(TOKEN_PARAMETER), "the doors read the same URL differently");
        }
    } else {
        assert_eq!(url.parameter(TOKEN_PARAMETER), None);
    }
    if let Some(token) = query_parameter(&text, TOKEN_PARAMETER) {
        assert!(!token.contains('&') && text.contains(&format!("{TOKEN_PARAMETER}={token}")));
    }
}
