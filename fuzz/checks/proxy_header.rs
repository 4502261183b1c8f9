//! A reader that asks for what is missing never takes a byte that is not the header's, and what was read survives the way
//! out and back.

use tidegate::proxy_header::{Progress, ProxyHeader};

/// Fails where `bytes` breaks what holds for any input.
pub(crate) fn check(bytes: &[u8]) {
    let mut taken = 0;
    loop {
        let Some(header) = bytes.get(..taken) else { return };
        match ProxyHeader::parse(header) {
            Ok(Progress::Incomplete { missing }) => {
                assert!(missing > 0);
                taken += missing;
            }
            Ok(Progress::Complete(header)) => {
                let line = header.to_line();
                assert_eq!(ProxyHeader::parse(line.as_bytes()), Ok(Progress::Complete(header)));
                return;
            }
            Err(_) => return,
        }
    }
}
