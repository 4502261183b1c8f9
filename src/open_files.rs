//! How many files, and so sockets, this process may have open.

/// Descriptors that are no connections: listeners, the store's files, the log, the runtime's own.
const DESCRIPTORS_RESERVED: u64 = 128;
/// Calls to webhook receivers that are under way or kept open (`events::webhooks`).
const CALLS_RESERVED: u64 = 512;

/// Raises the process's limit of open files as far as the system allows. Answers with a warning where
/// `connections_max` connections, as many relays and the calls to webhooks do not fit.
pub fn raise_limit(connections_max: u32, relays_max: u32) -> Option<String> {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => shortage(limit, connections_max, relays_max),
        Err(error) => {
            Some(format!("cannot raise the limit of open files: {error}; raise it with `ulimit -n`"))
        }
    }
}

fn shortage(limit: u64, connections_max: u32, relays_max: u32) -> Option<String> {
    let needed = u64::from(connections_max) + u64::from(relays_max) + CALLS_RESERVED + DESCRIPTORS_RESERVED;
    (limit < needed).then(|| {
        format!(
            "only {limit} files may be open, {needed} are needed for connections_max ({connections_max}), \
             relays_max ({relays_max}) and webhooks; raise the hard limit (`ulimit -Hn`, LimitNOFILE of systemd) or lower \
             connections_max"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_the_connections_is_told() {
        assert_eq!(shortage(1690, 1000, 50), None);
        let warning = shortage(1689, 1000, 50).unwrap();
        assert!(warning.contains("1690") && warning.contains("connections_max (1000)"), "{warning}");
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        raise_limit(1, 1);
        let (soft, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}
