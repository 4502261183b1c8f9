//! Starting, refusing to start, and stopping: each refusal is one line that says what is wrong and how to mend it.

#![allow(clippy::expect_used, reason = "test code")]

mod support;

use std::path::{Path, PathBuf};
use support::process::Ended;
use support::{EVENT, Gateway, Live, Peer, Setup, within};

/// Fails unless the process refused in one line that names each of `words`.
#[track_caller]
fn assert_one_line(ended: &Ended, words: &[&str]) {
    assert!(!ended.status.success(), "{ended:?}");
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "one line on stderr: {:?}", ended.stderr);
    let line = ended.stderr.to_lowercase();
    for word in words {
        assert!(line.contains(&word.to_lowercase()), "the line does not name {word:?}: {}", ended.stderr);
    }
    assert!(!line.contains("panicked"), "{}", ended.stderr);
    assert!(!ended.stdout.contains("listening"), "{}", ended.stdout);
}

#[tokio::test]
async fn a_second_server_on_one_data_directory_is_refused() {
    let gateway = Gateway::start().await;
    let ended = gateway.setup.refused().await;
    assert_one_line(&ended, &[&gateway.setup.data_path().to_string_lossy()]);
    gateway.app().await.conference().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_refused() {
    let setup = Setup::new();
    // Below a file nothing can be made, not even by root.
    let file = setup.home().join("file");
    std::fs::write(&file, "not a directory").expect("written");
    let inside = file.join("data");
    let ended = setup.data_dir(&inside).refused().await;
    assert_one_line(&ended, &[&inside.to_string_lossy()]);
}

#[tokio::test]
async fn a_port_in_use_is_refused_and_named() {
    for listener in ["RTMP", "HTTP", "OPS"] {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("its address").to_string();
        let setting = format!("TIDEGATE_{listener}_LISTEN");
        let ended = Setup::new().env(&setting, &address).refused().await;
        assert_one_line(&ended, &[&address]);
    }
}

#[tokio::test]
async fn an_unknown_key_in_the_file_is_refused_and_named() {
    let setup = Setup::new();
    let config = write(&setup, "tidegate.toml", "rtmp_listn = \"127.0.0.1:0\"\n");
    let ended = setup.arg("--config").arg(&config).refused().await;
    assert_one_line(&ended, &["rtmp_listn"]);
}

#[tokio::test]
async fn a_file_that_is_missing_or_broken_is_refused_and_named() {
    let setup = Setup::new();
    let ended = setup.clone().arg("--config").arg("/nowhere/tidegate.toml").refused().await;
    assert_one_line(&ended, &["/nowhere/tidegate.toml"]);
    let config = write(&setup, "broken.toml", "rtmp_listen = [\n");
    let ended = setup.arg("--config").arg(&config).refused().await;
    assert_one_line(&ended, &["broken.toml"]);
}

#[tokio::test]
async fn bad_values_are_refused_and_named() {
    let cases = [
        ("TIDEGATE_RTMP_LISTEN", "nowhere"),
        ("TIDEGATE_RTMP_LISTEN", "127.0.0.1:99999"),
        ("TIDEGATE_DRAIN_MS", "soon"),
        ("TIDEGATE_DRAIN_MS", "-1"),
        ("TIDEGATE_PUBLISHER_GRACE_MS", "99999999999999999999"),
        ("TIDEGATE_MEMBER_TIMEOUT_MS", "ten"),
        ("TIDEGATE_PLAYS_PER_URL", "0"),
        ("TIDEGATE_PUBLIC_RTMP_URL", "ftp://example.org"),
        ("TIDEGATE_PUBLIC_HTTP_URL", "not a url"),
        ("TIDEGATE_MASTER_KEY_FILE", "/nowhere/key"),
    ];
    for (name, value) in cases {
        let ended = Setup::new().env(name, value).refused().await;
        let key = name.trim_start_matches("TIDEGATE_").to_lowercase();
        assert_one_line(&ended, &[&key]);
    }
}

#[tokio::test]
async fn an_unknown_environment_name_only_warns() {
    let gateway = Setup::new().env("TIDEGATE_RTMP_LISTN", "x").start().await;
    let warned = gateway.process.stderr.wait_line(EVENT, "a warning that names it", |line| {
        line.contains("TIDEGATE_RTMP_LISTN").then_some(())
    });
    warned.await.expect("a warning");
    gateway.stop().await;
}

#[tokio::test]
async fn a_newer_data_directory_is_refused_and_left_alone() {
    let gateway = Gateway::start().await;
    gateway.app().await.conference().await;
    let setup = gateway.stop().await;
    let database = find_database(setup.data_path()).expect("an SQLite file in the data directory");
    let set_version = |version: i64| {
        let connection = rusqlite::Connection::open(&database).expect("opens");
        let before: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("version");
        connection.pragma_update(None, "user_version", version).expect("set");
        before
    };
    let own = set_version(i64::from(i32::MAX));
    let ended = setup.refused().await;
    assert_one_line(&ended, &["newer"]);
    assert_eq!(set_version(own), i64::from(i32::MAX), "the refused start changed nothing");
    setup.start().await.stop().await;
}

#[tokio::test]
async fn check_validates_and_leaves() {
    let setup = Setup::new();
    let ended = setup.run(&["serve", "--check"]).await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(!setup.data_path().exists(), "--check makes nothing");
    let config = write(&setup, "tidegate.toml", "drain_ms = \"soon\"\n");
    let config = config.to_string_lossy().into_owned();
    let ended = setup.run(&["serve", "--check", "--config", &config]).await;
    assert_one_line(&ended, &["drain_ms"]);
}

#[tokio::test]
async fn the_printed_config_is_a_config() {
    let setup = Setup::new();
    let printed = setup.run(&["serve", "--print-config"]).await;
    assert!(printed.status.success(), "{printed:?}");
    for key in ["rtmp_listen", "http_listen", "ops_listen", "data_dir", "drain_ms", "publisher_grace_ms"] {
        assert!(printed.stdout.contains(key), "{key} is not in the printed config");
    }
    assert!(printed.stdout.contains('#'), "it is annotated");
    let config = write(&setup, "printed.toml", &printed.stdout).to_string_lossy().into_owned();
    let ended = setup.run(&["serve", "--check", "--config", &config]).await;
    assert!(ended.status.success(), "{ended:?}");
    setup.arg("--config").arg(&config).start().await.stop().await;
}

#[tokio::test]
async fn the_environment_wins_over_the_file() {
    let setup = Setup::new();
    let config = write(&setup, "tidegate.toml", "ops_listen = \"203.0.113.1:9\"\ndrain_ms = 1000\n");
    setup.arg("--config").arg(&config).start().await.stop().await;
}

#[tokio::test]
async fn the_key_is_shown_by_the_command_alone() {
    let gateway = Gateway::start().await;
    let setup = gateway.setup.clone();
    let shown = setup.run(&["key", "show"]).await;
    assert!(shown.status.success(), "beside a running server: {shown:?}");
    assert_eq!(shown.stdout.trim().lines().count(), 1);
    let key = shown.stdout.trim().to_owned();
    let (_, secret) = key.split_once('.').expect("<appId>.<secret>");
    assert!(secret.len() >= 32, "a secret of that length can be guessed: {}", secret.len());
    let console = |text: String| {
        assert!(!text.contains(secret), "the secret is in the server's output");
    };
    console(gateway.process.stdout.text());
    console(gateway.process.stderr.text());
    assert!(
        gateway.process.stdout.text().contains("tidegate key show")
            || gateway.process.stderr.text().contains("tidegate key show"),
        "the console says how to see the key"
    );
    assert_private(setup.data_path());
    let setup = gateway.stop().await;
    assert_eq!(setup.run(&["key", "show"]).await.stdout.trim(), key, "and without a server");
    assert_ne!(Gateway::start().await.app().await.key, key, "each installation has a secret of its own");
}

#[tokio::test]
async fn key_show_before_the_first_start_says_what_to_do() {
    let setup = Setup::new();
    let ended = setup.run(&["key", "show"]).await;
    assert_one_line(&ended, &["serve"]);
}

#[tokio::test]
async fn sigterm_drains_and_exits_with_zero() {
    let gateway = Setup::new().env("TIDEGATE_DRAIN_MS", 500).start().await;
    let conference = gateway.app().await.conference().await;
    let Live { feed, viewer, .. } = Live::of(&conference, "anna").await;
    // A socket that never finishes its handshake must not hold the end up either.
    let _silent = tokio::net::TcpStream::connect(gateway.rtmp).await.expect("connects");
    gateway.stop().await;
    within(EVENT, "both sessions end with the gateway", async {
        (feed.closed().await, viewer.closed().await)
    })
    .await;
}

#[tokio::test]
async fn sigterm_with_nobody_there_is_quick_and_leaves_a_good_directory() {
    // Far beyond the deadline of the test: an idle gateway must not wait for it.
    let gateway = Setup::new().env("TIDEGATE_DRAIN_MS", 600_000).start().await;
    gateway.app().await.conference().await;
    gateway.stop().await.start().await.stop().await;
}

#[tokio::test]
async fn a_host_name_and_several_addresses_are_accepted() {
    let gateway = Setup::new()
        .env("TIDEGATE_RTMP_LISTEN", "127.0.0.1:0,[::]:0")
        .env("TIDEGATE_HTTP_LISTEN", "localhost:0")
        .start()
        .await;
    assert!(gateway.rtmp.is_ipv4(), "the first address of each is told");
    gateway.app().await.conference().await;
    gateway.stop().await;
}

#[tokio::test]
async fn public_urls_are_built_from_the_settings() {
    let gateway = Setup::new().env("TIDEGATE_PUBLIC_RTMP_URL", "rtmp://127.0.0.77:1935").start().await;
    let conference = gateway.app().await.conference().await;
    let anna = conference.member("anna", 3).await;
    let published = anna.publish("RTC1").await.expect("pubStream");
    assert_eq!(published.url.address.to_string(), "127.0.0.77:1935");
    Peer::publish(&published.url.at(gateway.rtmp)).await.expect("the token is bound to no host");
    gateway.stop().await;
}

fn write(setup: &Setup, name: &str, text: &str) -> PathBuf {
    let path = setup.home().join(name);
    std::fs::write(&path, text).expect("written");
    path
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

fn find_database(directory: &Path) -> Option<PathBuf> {
    let is_database =
        |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0"));
    files_below(directory).into_iter().find(is_database)
}

/// Nothing in the data directory may be read by anybody else.
fn assert_private(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).expect("metadata").permissions().mode() & 0o077;
    if mode(directory) == 0 {
        return;
    }
    for file in files_below(directory) {
        assert_eq!(mode(&file), 0, "{} is open to others", file.display());
    }
}
