use std::net::Ipv4Addr;

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn closed() -> Policy {
    Policy::new(|_| false)
}

fn loopback() -> Policy {
    Policy::new(|address| address.is_loopback())
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn every_class_of_inner_address_is_refused() {
    for (address, class) in [
        ("0.0.0.0", "an unspecified address"),
        ("0.1.2.3", "an unspecified address"),
        ("127.0.0.1", "a loopback address"),
        ("127.255.255.255", "a loopback address"),
        ("10.0.0.1", "a private address"),
        ("10.255.255.255", "a private address"),
        ("172.16.0.1", "a private address"),
        ("172.31.255.255", "a private address"),
        ("192.168.0.1", "a private address"),
        ("169.254.0.1", "a link-local address"),
        ("169.254.169.254", "a metadata address"),
        ("168.63.129.16", "a metadata address"),
        ("100.100.100.200", "a metadata address"),
        ("192.0.0.192", "a metadata address"),
        ("100.64.0.1", "an address behind a carrier's NAT"),
        ("100.127.255.255", "an address behind a carrier's NAT"),
        ("192.0.0.8", "a special address"),
        ("192.0.2.1", "an address for documentation"),
        ("198.51.100.1", "an address for documentation"),
        ("203.0.113.1", "an address for documentation"),
        ("198.19.255.255", "an address for benchmarks"),
        ("224.0.0.1", "a multicast address"),
        ("239.255.255.250", "a multicast address"),
        ("240.0.0.1", "a reserved address"),
        ("255.255.255.255", "a reserved address"),
        ("::", "an unspecified address"),
        ("::1", "a loopback address"),
        ("::ffff:127.0.0.1", "a loopback address"),
        ("::ffff:10.1.2.3", "a private address"),
        ("::ffff:169.254.169.254", "a metadata address"),
        ("::7f00:1", "an IPv4 address inside IPv6"),
        ("64:ff9b::7f00:1", "a NAT64 address"),
        ("64:ff9b::808:808", "a NAT64 address"),
        ("64:ff9b:1::1", "a NAT64 address"),
        ("2001::1", "a Teredo address"),
        ("2002:7f00:1::", "a 6to4 address"),
        ("100::1", "a discard address"),
        ("2001:db8::1", "an address for documentation"),
        ("fd00:ec2::254", "a metadata address"),
        ("fc00::1", "a private address"),
        ("fdff::1", "a private address"),
        ("fe80::1", "a link-local address"),
        ("febf::1", "a link-local address"),
        ("fec0::1", "a private address"),
        ("ff02::1", "a multicast address"),
    ] {
        assert_eq!(refused_class(address.parse().unwrap()), Some(class), "{address}");
        assert_eq!(closed().check_address(address.parse().unwrap()), Err(Forbidden::Address { class }));
    }
}

#[test]
fn public_addresses_beside_them_are_called() {
    for address in [
        "1.0.0.0",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "2600::1",
        "2001:4860:4860::8888",
        "2a00::1",
    ] {
        assert_eq!(closed().check_address(address.parse().unwrap()), Ok(()), "{address}");
    }
}

#[test]
fn the_operators_list_opens_what_it_names_and_nothing_else() {
    let lan = Policy::new(|address| address == IpAddr::from([10, 0, 0, 7]));
    for open in ["10.0.0.7", "::ffff:10.0.0.7"] {
        assert_eq!(lan.check_address(open.parse().unwrap()), Ok(()), "{open}");
    }
    for shut in ["10.0.0.8", "127.0.0.1", "64:ff9b::a00:7"] {
        assert!(lan.check_address(shut.parse().unwrap()).is_err(), "{shut}");
    }
}

#[test]
fn urls_that_are_never_called_are_known_without_resolving() {
    let check = |text: &str| closed().check_url(&url(text));
    assert_eq!(check("https://hooks.example.com/a?b=c"), Ok(()));
    assert_eq!(check("http://8.8.8.8:8080/"), Ok(()));
    assert_eq!(check("ftp://hooks.example.com/"), Err(Forbidden::Scheme));
    assert_eq!(check("file:///etc/passwd"), Err(Forbidden::Scheme));
    assert_eq!(check("https://user@hooks.example.com/"), Err(Forbidden::UserInfo));
    assert_eq!(check("https://:pass@hooks.example.com/"), Err(Forbidden::UserInfo));
    assert_eq!(check("https://hooks.example.com:0/"), Err(Forbidden::Host));
    let long = format!("https://hooks.example.com/{}", "x".repeat(URL_BYTES_MAX));
    assert_eq!(check(&long), Err(Forbidden::TooLong));
    // Spellings of 127.0.0.1 and of the metadata service.
    for literal in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost/",
    ] {
        assert!(matches!(check(literal), Err(Forbidden::Address { .. })), "{literal}");
    }
    assert_eq!(loopback().check_url(&url("http://localhost:9/")), Ok(()));
}

#[tokio::test]
async fn a_name_leads_to_permitted_addresses_only() {
    // The hosts file gives this name on every system.
    let refused = closed().resolve("localhost", 80).await;
    assert!(matches!(refused, Err(ResolveError::Forbidden(Forbidden::Address { .. }))), "{refused:?}");
    let found = loopback().resolve("localhost", 80).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{found:?}");
    assert!(closed().resolve("10.0.0.1", 80).await.is_err());
}

/// Answers each connection with `answer` and gives what was asked.
async fn server(answer: &'static str) -> (Url, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = url(&format!("http://{}/hook?key=hidden", listener.local_addr().unwrap()));
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"{}") {
            let mut chunk = [0; 1024];
            let read = stream.read(&mut chunk).await.unwrap();
            assert_ne!(read, 0, "the request ends with its body");
            asked.extend_from_slice(&chunk[..read]);
        }
        let _ = stream.write_all(answer.as_bytes()).await;
        String::from_utf8(asked).unwrap()
    });
    (url, asked)
}

const PATIENT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_post_carries_its_headers_and_brings_the_status() {
    let (url, asked) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
    let outbound = Outbound::new(loopback(), PATIENT);
    let headers = [("tidegate-signature", "t=1,v1=00".to_owned())];
    assert_eq!(outbound.post_json(&url, &headers, Bytes::from_static(b"{}")).await, Ok(204));
    let asked = asked.await.unwrap().to_lowercase();
    assert!(asked.starts_with("post /hook?key=hidden http/1.1\r\n"), "{asked}");
    for line in ["content-type: application/json", "tidegate-signature: t=1,v1=00", "user-agent: tidegate/"] {
        assert!(asked.contains(&format!("\r\n{line}")), "{line} in {asked}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (target, followed) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let answer =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
    let (url, asked) = server(answer.leak()).await;
    let outbound = Outbound::new(loopback(), PATIENT);
    assert_eq!(outbound.post_json(&url, &[], Bytes::from_static(b"{}")).await, Ok(307));
    asked.await.unwrap();
    assert!(!followed.is_finished());
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(ANSWER_BYTES_MAX + 1));
    let (url, _asked) = server(answer.leak()).await;
    let outbound = Outbound::new(loopback(), PATIENT);
    let answered = outbound.post_json(&url, &[], Bytes::from_static(b"{}")).await;
    assert_eq!(answered, Err(CallError::TooLarge));
}

#[tokio::test]
async fn what_is_forbidden_is_not_even_connected_to() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let outbound = Outbound::new(closed(), PATIENT);
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let url = url(&format!("http://{host}:{port}/"));
        let answered = outbound.post_json(&url, &[], Bytes::from_static(b"{}")).await;
        assert!(matches!(answered, Err(CallError::Forbidden(Forbidden::Address { .. }))), "{answered:?}");
    }
    // As a name that resolves to a refused address fails in the client's own resolver.
    let client = client(&closed()).unwrap();
    let error = client.post(format!("http://localhost:{port}/")).send().await.unwrap_err();
    assert!(matches!(call_error(&error), CallError::Forbidden(_)), "{error:?}");
    let accepted = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(accepted.is_err(), "nobody connected");
}

#[tokio::test]
async fn an_error_names_neither_url_nor_query() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let gone = url(&format!("http://{}/hook?key=hidden", listener.local_addr().unwrap()));
    drop(listener);
    let outbound = Outbound::new(loopback(), PATIENT);
    let error = outbound.post_json(&gone, &[], Bytes::from_static(b"{}")).await.unwrap_err();
    assert!(matches!(&error, CallError::Unreachable(_)), "{error:?}");
    assert!(!error.to_string().contains("hidden") && !error.to_string().contains("hook"), "{error}");
}

/// A resolver that answers when the test lets it.
#[derive(Default)]
struct Resolver {
    /// Lookups under way, and whether they may end.
    state: Mutex<(usize, bool)>,
    changed: parking_lot::Condvar,
}

impl Resolver {
    fn look_up(&self) {
        let mut state = self.state.lock();
        state.0 += 1;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |(_, may_end)| !*may_end);
    }
}

#[tokio::test]
async fn lookups_that_hang_hold_so_many_threads_and_no_more() {
    let resolver = Arc::new(Resolver::default());
    let asked = Arc::clone(&resolver);
    let lookup = move |_: &str, port| {
        asked.look_up();
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    };
    let policy = Policy { lookup: Arc::new(lookup), ..loopback() };
    for number in 0..LOOKUPS_MAX {
        // Given up at once, as a call does whose time is over.
        let host = format!("{number}.example");
        let mut call = policy.resolve(&host, 80).boxed();
        assert!((&mut call).now_or_never().is_none());
    }
    let all_hang = Arc::clone(&resolver);
    let wait = move || {
        let mut state = all_hang.state.lock();
        all_hang.changed.wait_while(&mut state, |(count, _)| *count < LOOKUPS_MAX);
    };
    tokio::task::spawn_blocking(wait).await.unwrap();
    let mut late = Box::pin(policy.resolve("late.example", 80));
    assert!((&mut late).now_or_never().is_none());
    assert_eq!((resolver.state.lock().0, policy.lookups.available_permits()), (LOOKUPS_MAX, 0));
    // A literal address needs no lookup.
    assert!(policy.resolve("127.0.0.1", 80).now_or_never().unwrap().is_ok());
    resolver.state.lock().1 = true;
    resolver.changed.notify_all();
    assert_eq!(late.await.unwrap(), [SocketAddr::from(([127, 0, 0, 1], 80))]);
}
