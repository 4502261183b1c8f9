//! What a publish or play request names: the stream, and the token wherever the peer has put it.

use std::net::SocketAddr;

use super::Gateway;
use super::proto::UrlText;
use super::proto::server::ConnectRequest;
use crate::admission::{Admitted, Asked, TOKEN_PARAMETER};
use crate::domain::{Direction, Refusal, Timestamp};
use crate::hub::Protocol;
use crate::media::HevcForm;

/// Name of the parameter of a play URL by which a player says which form of HEVC it reads.
const HEVC_PARAMETER: &str = "hevc";

impl Gateway {
    /// Lets a request in or says why not; asks memory only.
    pub(super) fn admit(
        &self,
        connect: &ConnectRequest,
        name: &UrlText,
        direction: Direction,
        peer: SocketAddr,
        now: Timestamp,
    ) -> Result<Admitted, Refusal> {
        self.admission.admit(Asked {
            stream: name.stream_name(),
            token: token(connect, name),
            direction,
            protocol: Protocol::Rtmp,
            peer,
            now,
        })
    }
}

/// The token, wherever the peer's URL parser has put it: with the stream name, with the app, or in tcUrl.
fn token<'a>(connect: &'a ConnectRequest, name: &'a UrlText) -> Option<&'a str> {
    [name, &connect.app, &connect.tc_url].into_iter().find_map(|text| text.parameter(TOKEN_PARAMETER))
}

/// The form in which a player reads HEVC: what its URL says, else what its connect says. One that says nothing is taken
/// for one that is older than Enhanced RTMP.
pub(super) fn hevc_form(connect: &ConnectRequest, name: &UrlText) -> HevcForm {
    let texts = [name, &connect.app, &connect.tc_url].into_iter();
    let asked = texts.filter_map(|text| text.parameter(HEVC_PARAMETER)).find_map(HevcForm::parse);
    let told = if connect.reads_enhanced("hvc1") { HevcForm::Enhanced } else { HevcForm::Legacy };
    asked.unwrap_or(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(app: &str, tc_url: &str) -> ConnectRequest {
        ConnectRequest { app: app.into(), tc_url: tc_url.into(), ..ConnectRequest::default() }
    }

    #[test]
    fn the_token_is_found_wherever_a_url_parser_leaves_it() {
        let plain = connect("live", "rtmp://h/live");
        let name = UrlText::from("s__Of_MS_a");
        let with_token = UrlText::from("s__Of_MS_a?x=1&t=AB-_9");
        assert_eq!(token(&plain, &with_token), Some("AB-_9"));
        assert_eq!(token(&connect("live?t=AB", "rtmp://h/live"), &name), Some("AB"));
        assert_eq!(token(&connect("live?t=AB/", "rtmp://h/live"), &name), Some("AB"));
        assert_eq!(token(&connect("live", "rtmp://h:1935/live?a=b&t=AB"), &name), Some("AB"));
        assert_eq!(token(&connect("live", "rtmp://h/live/s__Of_MS_a?t=AB"), &name), Some("AB"));
        assert_eq!(token(&plain, &name), None);
        assert_eq!(token(&plain, &"s?tt=1&at=2".into()), None);
        let named =
            |four_cc: &str| ConnectRequest { four_cc_list: vec![four_cc.to_owned()], ..plain.clone() };
        for (connect, url, form) in [
            (&plain, "s?t=AB", HevcForm::Legacy),
            (&named("hvc1"), "s?t=AB", HevcForm::Enhanced),
            (&named("av01"), "s?t=AB", HevcForm::Legacy),
            (&named("*"), "s?t=AB&hevc=legacy", HevcForm::Legacy),
            (&plain, "s?hevc=enhanced&t=AB", HevcForm::Enhanced),
            (&plain, "s?hevc=other", HevcForm::Legacy),
        ] {
            assert_eq!(hevc_form(connect, &url.into()), form, "{url}");
        }
    }
}
