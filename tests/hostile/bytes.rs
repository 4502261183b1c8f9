//! Inputs that are known to kill RTMP servers, sent to a running one. Each ends one connection or nothing.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Scene;
use crate::support::raw::{self, amf, message_type as kind};
use crate::support::{EVENT, within};

/// How deep nested AMF0 values go: beyond what a thread's stack holds for a recursive reader.
const NESTING: usize = 12_000;

/// Sends bytes behind a handshake and lets the gateway answer or close; gives what it said.
async fn send(scene: &Scene, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(scene.gateway.rtmp).await.expect("connects");
    raw::handshake(&mut stream).await.expect("the handshake");
    send_rest(stream, bytes).await
}

async fn send_rest(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    within(EVENT, "the gateway takes or ends a hostile connection", async {
        // Either half may fail once the gateway has had enough: that is its right.
        let (mut reader, mut writer) = stream.split();
        let write = async {
            let _ = writer.write_all(bytes).await;
            let _ = writer.shutdown().await;
        };
        let (_, _) = tokio::join!(write, reader.read_to_end(&mut said));
    })
    .await;
    said
}

/// A message of any type on stream 1, behind a connect that was sent and not awaited.
fn connected(app: &str, bytes: &[u8]) -> Vec<u8> {
    let mut all = raw::connect(app, "rtmp://127.0.0.1/live");
    all.extend(raw::create_stream(2.0));
    all.extend(bytes);
    all
}

fn data(values: &[Vec<u8>]) -> Vec<u8> {
    raw::message(4, 0, kind::DATA, 1, &values.concat())
}

/// Values that a command or data message may hold, each of which ended a session or a process elsewhere.
fn strange_amf() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nested arrays", amf::nested_arrays(NESTING)),
        ("more nested arrays than a message holds", amf::nested_arrays(70_000)),
        ("nested objects", amf::nested_objects(NESTING)),
        ("a strict array of 2^32-1 values", vec![10, 0xFF, 0xFF, 0xFF, 0xFF]),
        (
            "an ECMA array without end",
            [vec![8, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1, b'k'], amf::number(1.0)].concat(),
        ),
        ("a string longer than the message", vec![2, 0xFF, 0xFF, b'x']),
        ("a long string longer than the message", vec![12, 0xFF, 0xFF, 0xFF, 0xFF, b'x']),
        ("a date", vec![11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a reference", vec![7, 0, 1]),
        ("the switch to AMF3", vec![17, 1]),
        ("a typed object", vec![16, 0, 1, b'T', 0, 1, b'k', 5, 0, 0, 9]),
        ("XML", vec![15, 0, 0, 0, 1, b'x']),
        ("an unknown marker", vec![0xEE, 1, 2, 3]),
        ("a string that is no UTF-8", amf::string([0xFF, 0xFE, 0x80])),
        ("a key that is no UTF-8", vec![3, 0, 2, 0xFF, 0xFE, 5, 0, 0, 9]),
        ("NaN", amf::number(f64::NAN)),
    ]
}

#[tokio::test]
async fn strange_values_end_one_connection_at_most() {
    let mut scene = Scene::set().await;
    for (what, value) in strange_amf() {
        let command = raw::command(0, &[amf::string("connect"), amf::number(1.0), value.clone()]);
        send(&scene, &command).await;
        let as_name = [amf::string("publish"), amf::number(3.0), amf::null(), value.clone()];
        send(&scene, &connected("live", &raw::command(1, &as_name))).await;
        let metadata = data(&[amf::string("@setDataFrame"), amf::string("onMetaData"), value.clone()]);
        send(&scene, &connected("live", &metadata)).await;
        let amf3 = raw::message(3, 0, kind::COMMAND_AMF3, 0, &[vec![0], value.clone()].concat());
        send(&scene, &amf3).await;
        send(&scene, &raw::message(4, 0, kind::DATA_AMF3, 1, &[vec![0], value].concat())).await;
        scene.assert_unharmed(what).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn short_commands_end_one_connection_at_most() {
    let mut scene = Scene::set().await;
    let cases = [
        ("a lone @setDataFrame", data(&[amf::string("@setDataFrame")])),
        ("@setDataFrame without its value", data(&[amf::string("@setDataFrame"), amf::string("onMetaData")])),
        ("an empty data message", raw::message(4, 0, kind::DATA, 1, &[])),
        ("an empty command", raw::message(3, 0, kind::COMMAND, 0, &[])),
        ("a command that is a name", raw::command(0, &[amf::string("connect")])),
        ("a command of two values", raw::command(0, &[amf::string("connect"), amf::number(1.0)])),
        ("a command whose name is a number", raw::command(0, &[amf::number(1.0), amf::number(1.0)])),
        ("play without a name", raw::command(1, &[amf::string("play"), amf::number(0.0), amf::null()])),
        ("publish without a name", raw::command(1, &[amf::string("publish"), amf::number(0.0), amf::null()])),
        ("an aggregate of nothing", raw::message(4, 0, kind::AGGREGATE, 1, &[])),
        ("an aggregate cut short", raw::message(4, 0, kind::AGGREGATE, 1, &[9, 0xFF, 0xFF, 0xFF, 0])),
        ("an unknown message type", raw::message(4, 0, 99, 1, &[1, 2, 3])),
    ];
    for (what, bytes) in cases {
        send(&scene, &bytes).await;
        send(&scene, &connected("live", &bytes)).await;
        scene.assert_unharmed(what).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn strange_chunks_end_one_connection_at_most() {
    let mut scene = Scene::set().await;
    let control = |message_kind: u8, value: u32| raw::message(2, 0, message_kind, 0, &value.to_be_bytes());
    // Legal: sound between two chunks of one picture.
    let mut interleaved = raw::header(6, 0, 300, kind::VIDEO, 1);
    interleaved.extend([0x17; 128]);
    interleaved.extend(raw::message(4, 0, kind::AUDIO, 1, &[0xAF, 1, 2, 3]));
    interleaved.extend([&[0xC6][..], &[0; 128], &[0xC6], &[0; 44]].concat());
    let mut abandoned = raw::header(6, 0, 300, kind::VIDEO, 1);
    abandoned.extend([0x17; 128]);
    abandoned.extend(control(kind::ABORT, 6));
    abandoned.extend(raw::message(6, 0, kind::VIDEO, 1, &[0x17, 1, 0, 0, 0]));
    let mut shrunk = raw::header(6, 0, 300, kind::VIDEO, 1);
    shrunk.extend([0x17; 128]);
    // The same chunk stream goes on with a type 1 header that declares a shorter message.
    shrunk.extend([0x46, 0, 0, 1, 0, 0, 5, kind::VIDEO, 1, 2, 3, 4, 5]);
    let mut extended = raw::message(6, 10, kind::VIDEO, 1, &[0x17, 1]);
    extended.extend([0x46, 0xFF, 0xFF, 0xFF, 0, 0, 2, kind::VIDEO, 0, 0, 0, 1, 0x17, 1]);
    extended.extend([0x86, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x17, 1]);
    let cases = [
        ("interleaved chunks", interleaved),
        ("an aborted message", abandoned),
        ("a message that shrinks half-way", shrunk),
        ("a small extended delta", extended),
        ("type 3 without history", vec![0xC6, 1, 2, 3, 4]),
        ("type 1 without history", vec![0x46, 0, 0, 1, 0, 0, 1, kind::VIDEO, 1]),
        ("type 2 without history", vec![0x86, 0, 0, 1, 1]),
        (
            "chunk streams of two and three bytes",
            vec![0x00, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0, 0x01, 0xFF, 0xFF],
        ),
        ("a chunk size of 0", control(kind::SET_CHUNK_SIZE, 0)),
        ("a chunk size of 1", control(kind::SET_CHUNK_SIZE, 1)),
        ("a chunk size of 2^31-1", control(kind::SET_CHUNK_SIZE, 0x7FFF_FFFF)),
        ("a chunk size of 2^31", control(kind::SET_CHUNK_SIZE, 0x8000_0000)),
        ("a chunk size cut short", raw::message(2, 0, kind::SET_CHUNK_SIZE, 0, &[0])),
        ("a window of 0", control(kind::WINDOW_ACKNOWLEDGEMENT, 0)),
        ("an abort of a stream never seen", control(kind::ABORT, 4_000_000_000)),
        ("an unknown user control", raw::message(2, 0, kind::USER_CONTROL, 0, &[0xFF, 0xFF, 1])),
        ("an empty user control", raw::message(2, 0, kind::USER_CONTROL, 0, &[])),
        ("media before anything", raw::message(6, 0, kind::VIDEO, 0, &[0x17, 1, 0, 0, 0])),
        ("empty media", raw::message(6, 0, kind::VIDEO, 1, &[])),
    ];
    for (what, bytes) in cases {
        let mut followed = bytes;
        followed.extend(raw::create_stream(9.0));
        send(&scene, &followed).await;
        send(&scene, &connected("live", &followed)).await;
        scene.assert_unharmed(what).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn names_of_any_kind_are_only_names() {
    let mut scene = Scene::set().await;
    let long = "n".repeat(60_000);
    let names = [
        "",
        "?",
        "?t=",
        "\0",
        "..",
        "../../etc/passwd",
        "%2e%2e",
        "/",
        "a/b/c",
        "?t=%",
        "?t=%F",
        long.as_str(),
    ];
    for name in names {
        let what = format!("the name {:?}", name.get(..20).unwrap_or(name));
        let said = send(&scene, &connected("live", &raw::play(1, name))).await;
        assert!(!contains(&said, b"NetStream.Play.Start"), "{what} plays");
        let said = send(&scene, &connected("live", &raw::publish(1, name))).await;
        assert!(!contains(&said, b"NetStream.Publish.Start"), "{what} publishes");
        send(&scene, &connected(name, &raw::play(1, name))).await;
        scene.assert_unharmed(&what).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn a_name_that_looks_like_another_is_another_one() {
    let mut scene = Scene::set().await;
    let (name, token) = (scene.url.stream.clone(), scene.url.token.clone());
    let changed = |text: String| format!("{text}?t={token}").into_bytes();
    let mut names = vec![
        changed(name.to_uppercase()),
        changed(name.replace('_', "%5F")),
        changed(name.replace('_', "%255F")),
        changed(format!("{name}/")),
        changed(format!("{name}/.")),
        changed(format!("./{name}")),
        changed(format!("x/../{name}")),
        changed(format!("{name}\0")),
        changed(format!("{name} ")),
        changed(format!("{name}\u{301}")),
        changed(format!("{name}.flv")),
        changed(name.replace("RTC1", "\u{ff32}TC1")),
    ];
    for junk in [&b"\xFF"[..], b"\xC0\xAF", b"\xED\xA0\x80"] {
        names.push([name.as_bytes(), junk, b"?t=", token.as_bytes()].concat());
        names.push([name.as_bytes(), b"?t=", token.as_bytes(), junk].concat());
    }
    for asked in names {
        let what = String::from_utf8_lossy(&asked).into_owned();
        for call in ["play", "publish"] {
            let values = [amf::string(call), amf::number(0.0), amf::null(), amf::string(&asked)];
            let said = send(&scene, &connected("live", &raw::command(1, &values))).await;
            assert!(!contains(&said, b".Start"), "{call} of {what:?} is let in");
        }
    }
    // As it is, the name is good, behind the slash that some encoders put in front too.
    for asked in [changed(name.clone()), changed(format!("/{name}"))] {
        let values = [amf::string("play"), amf::number(0.0), amf::null(), amf::string(&asked)];
        let mut stream = crate::stranger(&scene.gateway).await;
        let bytes = [raw::create_stream(2.0), raw::command(1, &values)].concat();
        stream.write_all(&bytes).await.expect("sent");
        let mut said = Vec::new();
        within(EVENT, "a play that is let in", async {
            while !contains(&said, b"NetStream.Play.Start") {
                assert_ne!(stream.read_buf(&mut said).await.expect("bytes"), 0, "closed");
            }
        })
        .await;
    }
    scene.assert_unharmed("names that look alike").await;
    scene.end().await;
}

#[tokio::test]
async fn half_handshakes_and_noise_end_one_connection_at_most() {
    let mut scene = Scene::set().await;
    let mut noise = vec![3];
    // A linear congruential sequence: any bytes will do, but the same ones each time.
    noise.extend((0_u32..60_000).scan(1_u32, |state, _| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes().first().copied()
    }));
    let cases = [
        ("a version that is none", vec![0x16; 2000]),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("one byte", vec![3]),
        ("half a handshake", vec![3; 700]),
        ("noise", noise),
    ];
    for (what, bytes) in cases {
        let stream = TcpStream::connect(scene.gateway.rtmp).await.expect("connects");
        send_rest(stream, &bytes).await;
        scene.assert_unharmed(what).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn floods_before_authentication_cost_little() {
    /// Enough that an unbounded reader would show it, little enough for a test.
    const COMMANDS: usize = 20_000;
    let mut scene = Scene::set().await;
    let create = raw::create_stream(2.0).repeat(COMMANDS);
    let connect = raw::connect("live", "rtmp://127.0.0.1/live").repeat(COMMANDS);
    let release = [amf::string("releaseStream"), amf::number(2.0), amf::null(), amf::string("x")];
    let release = raw::command(0, &release).repeat(COMMANDS);
    let publish = [amf::string("FCPublish"), amf::number(3.0), amf::null(), amf::string("x")];
    let publish = raw::command(0, &publish).repeat(COMMANDS);
    let floods =
        [("createStream", create), ("connect", connect), ("releaseStream", release), ("FCPublish", publish)];
    for (number, (what, bytes)) in (1_u8..).zip(floods) {
        send(&scene, &connected("live", &bytes)).await;
        assert!(
            (scene.reached("commands_before_admission_max").await - f64::from(number)).abs() < 0.5,
            "{what}"
        );
        scene.assert_unharmed(what).await;
    }
    scene.end().await;
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
