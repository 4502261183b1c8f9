//! Byte-exact sessions of made-up peers, for tests. They are also the seeds of the fuzz targets.

use bytes::BytesMut;

use super::amf0::{self, Value, object};

/// Appends one chunk with a header of type 0, 1 or 2. `length` is that of the whole message.
pub(crate) struct Chunk<'a> {
    pub(crate) format: u8,
    pub(crate) csid: u32,
    pub(crate) time: u32,
    pub(crate) length: usize,
    pub(crate) type_id: u8,
    pub(crate) stream: u32,
    pub(crate) piece: &'a [u8],
}

impl Chunk<'_> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        basic_header(out, self.format, self.csid);
        out.extend_from_slice(&self.time.min(0xFF_FFFF).to_be_bytes()[1..]);
        if self.format <= 1 {
            out.extend_from_slice(&u32::try_from(self.length).unwrap().to_be_bytes()[1..]);
            out.push(self.type_id);
        }
        if self.format == 0 {
            out.extend_from_slice(&self.stream.to_le_bytes());
        }
        if self.time >= 0xFF_FFFF {
            out.extend_from_slice(&self.time.to_be_bytes());
        }
        out.extend_from_slice(self.piece);
    }
}

/// Appends a chunk with a header of type 3; `extended` where the sender repeats the extended timestamp.
pub(crate) fn type3(out: &mut Vec<u8>, csid: u32, extended: Option<u32>, piece: &[u8]) {
    basic_header(out, 3, csid);
    if let Some(value) = extended {
        out.extend_from_slice(&value.to_be_bytes());
    }
    out.extend_from_slice(piece);
}

fn basic_header(out: &mut Vec<u8>, format: u8, csid: u32) {
    let top = format << 6;
    match csid {
        2..=63 => out.push(top | u8::try_from(csid).unwrap()),
        64..=319 => out.extend([top, u8::try_from(csid - 64).unwrap()]),
        _ => {
            let [low, high, ..] = (csid - 64).to_le_bytes();
            out.extend([top | 1, low, high]);
        }
    }
}

/// Appends a whole message: type 0 and type 3 chunks without a repeated timestamp.
pub(crate) fn message(
    out: &mut Vec<u8>,
    chunk_size: usize,
    csid: u32,
    type_id: u8,
    stream: u32,
    body: &[u8],
) {
    let mut pieces = body.chunks(chunk_size);
    let piece = pieces.next().unwrap_or_default();
    Chunk { format: 0, csid, time: 0, length: body.len(), type_id, stream, piece }.write(out);
    for piece in pieces {
        type3(out, csid, None, piece);
    }
}

/// AMF0 values one after another.
pub(crate) fn values(values: &[Value]) -> Vec<u8> {
    let mut body = BytesMut::new();
    for value in values {
        amf0::encode(&mut body, value);
    }
    body.to_vec()
}

/// The body of a command.
pub(crate) fn command(name: &str, transaction: f64, arguments: &[Value]) -> Vec<u8> {
    let mut all = vec![Value::from(name), Value::Number(transaction)];
    all.extend_from_slice(arguments);
    values(&all)
}

/// The command object of `connect`.
pub(crate) fn connect_object() -> Value {
    object([
        ("app", "live?vhost=a".into()),
        ("flashVer", "FMLE/3.0 (compatible; test)".into()),
        ("tcUrl", "rtmp://host:1935/live?t=secret-token".into()),
        ("objectEncoding", Value::Number(0.0)),
        ("fourCcList", Value::StrictArray(vec!["hvc1".into(), "av01".into()])),
        ("capsEx", Value::Number(3.0)),
    ])
}

/// Bytes that tell where they were cut.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// The chunk size that the recorded publisher announces.
const CHUNK: usize = 1024;

/// `connect` to `publish`, as librtmp says it.
pub(crate) fn publish_commands() -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, 128, 3, 20, 0, &command("connect", 1.0, &[connect_object()]));
    message(&mut out, 128, 2, 5, 0, &2_500_000_u32.to_be_bytes());
    message(&mut out, 128, 2, 1, 0, &u32::try_from(CHUNK).unwrap().to_be_bytes());
    let name = || Value::from("RTC1__Of_MS_1?t=secret-token");
    message(&mut out, CHUNK, 3, 20, 0, &command("releaseStream", 2.0, &[Value::Null, name()]));
    message(&mut out, CHUNK, 3, 20, 0, &command("FCPublish", 3.0, &[Value::Null, name()]));
    message(&mut out, CHUNK, 3, 20, 0, &command("createStream", 4.0, &[Value::Null]));
    message(&mut out, CHUNK, 3, 20, 0, &command("_checkbw", 5.0, &[Value::Null]));
    let publish = command("publish", 6.0, &[Value::Null, name(), "live".into()]);
    message(&mut out, CHUNK, 8, 20, 1, &publish);
    out
}

/// What viewers get of [`publish_media`]: message type, timestamp, bytes (0 for data, which is checked apart).
pub(crate) const PUBLISHED: &[(u8, u32, usize)] = &[
    (18, 0, 0),
    (9, 40, 5),
    (8, 41, 7),
    (8, 61, 7),
    (9, 80, 2500),
    (9, 0x0100_0000, 1500),
    (9, 0x0200_0001, 1100),
    (9, 0x0300_0002, 1100),
    (8, 0, 9),
    (9, 20, 9),
];

/// Interleaving, an abort, extended timestamps on full and delta headers with and without repetition, an empty
/// message, an aggregate, and the end of the stream.
pub(crate) fn publish_media() -> Vec<u8> {
    let mut out = Vec::new();
    let out_ref = &mut out;
    let metadata = object([("width", Value::Number(360.0)), ("encoder", "test".into())]);
    message(out_ref, CHUNK, 4, 18, 1, &values(&["@setDataFrame".into(), "onMetaData".into(), metadata]));
    let video = pattern(2500);
    let head = |format, csid, time, length, type_id| Chunk {
        format,
        csid,
        time,
        length,
        type_id,
        stream: 1,
        piece: &[],
    };
    Chunk { piece: &video[..5], ..head(0, 6, 40, 5, 9) }.write(out_ref);
    // Audio between the chunks of a video message.
    Chunk { piece: &video[..CHUNK], ..head(1, 6, 40, 2500, 9) }.write(out_ref);
    Chunk { piece: &video[..7], ..head(0, 4, 41, 7, 8) }.write(out_ref);
    type3(out_ref, 6, None, &video[CHUNK..2 * CHUNK]);
    Chunk { piece: &video[..7], ..head(2, 4, 20, 7, 8) }.write(out_ref);
    type3(out_ref, 6, None, &video[2 * CHUNK..]);
    // An empty message, then one that is given up.
    Chunk { ..head(1, 4, 20, 0, 8) }.write(out_ref);
    Chunk { piece: &video[..CHUNK], ..head(0, 7, 99, 2000, 9) }.write(out_ref);
    message(out_ref, CHUNK, 2, 2, 0, &7_u32.to_be_bytes());
    // Extended timestamps: full and repeated, delta and repeated, delta and not repeated.
    Chunk { piece: &video[..CHUNK], ..head(0, 6, 0x0100_0000, 1500, 9) }.write(out_ref);
    type3(out_ref, 6, Some(0x0100_0000), &video[CHUNK..1500]);
    Chunk { piece: &video[..CHUNK], ..head(1, 6, 0x0100_0001, 1100, 9) }.write(out_ref);
    type3(out_ref, 6, Some(0x0100_0001), &video[CHUNK..1100]);
    Chunk { piece: &video[..CHUNK], ..head(2, 6, 0x0100_0001, 1100, 9) }.write(out_ref);
    type3(out_ref, 6, None, &video[CHUNK..1100]);
    // Its own timestamp is 0, so the parts are moved to 0 and 20.
    message(out_ref, CHUNK, 9, 22, 1, &aggregate(&[(8, 105, &video[..9]), (9, 125, &video[..9])]));
    message(&mut out, CHUNK, 2, 4, 0, &[0, 6, 0, 0, 1, 2]);
    message(&mut out, CHUNK, 3, 20, 0, &command("FCUnpublish", 7.0, &[Value::Null, "RTC1__Of_MS_1".into()]));
    message(&mut out, CHUNK, 3, 20, 0, &command("deleteStream", 8.0, &[Value::Null, Value::Number(1.0)]));
    out
}

/// The body of an aggregate message.
pub(crate) fn aggregate(parts: &[(u8, u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (type_id, time, body) in parts {
        out.push(*type_id);
        let length = u32::try_from(body.len()).unwrap();
        out.extend_from_slice(&length.to_be_bytes()[1..]);
        let [high, t0, t1, t2] = time.to_be_bytes();
        out.extend([t0, t1, t2, high, 0, 0, 0]);
        out.extend_from_slice(body);
        out.extend_from_slice(&(length + 11).to_be_bytes());
    }
    out
}

/// A player from `connect` to `play`.
pub(crate) fn play_commands() -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, 128, 3, 20, 0, &command("connect", 1.0, &[connect_object()]));
    message(&mut out, 128, 2, 5, 0, &2_500_000_u32.to_be_bytes());
    message(&mut out, 128, 3, 20, 0, &command("createStream", 2.0, &[Value::Null]));
    let name = || Value::from("RTC1__Of_MS_1?t=secret-token");
    message(&mut out, 128, 3, 20, 0, &command("FCSubscribe", 3.0, &[Value::Null, name()]));
    message(&mut out, 128, 3, 20, 0, &command("getStreamLength", 4.0, &[Value::Null, name()]));
    let play = command(
        "play",
        5.0,
        &[Value::Null, name(), Value::Number(-2.0), Value::Number(-1.0), Value::Boolean(true)],
    );
    message(&mut out, 128, 8, 20, 1, &play);
    message(&mut out, 128, 2, 4, 0, &[0, 3, 0, 0, 0, 1, 0, 0, 3, 232]);
    out
}

/// What the recorded player says while it plays.
pub(crate) fn play_controls() -> Vec<u8> {
    let mut out = Vec::new();
    let pause = |paused| command("pause", 0.0, &[Value::Null, Value::Boolean(paused), Value::Number(10.0)]);
    message(&mut out, 128, 8, 20, 1, &pause(true));
    message(&mut out, 128, 8, 20, 1, &pause(false));
    let receive = |name| command(name, 0.0, &[Value::Null, Value::Boolean(false)]);
    message(&mut out, 128, 8, 20, 1, &receive("receiveAudio"));
    message(&mut out, 128, 8, 20, 1, &receive("receiveVideo"));
    message(&mut out, 128, 2, 3, 0, &5000_u32.to_be_bytes());
    message(&mut out, 128, 3, 20, 0, &command("deleteStream", 0.0, &[Value::Null, Value::Number(1.0)]));
    out
}

#[test]
fn fuzz_seeds_are_the_recordings() {
    let seeds = [
        ("chunk_reader/publish", [publish_commands(), publish_media()].concat()),
        ("chunk_reader/play", [play_commands(), play_controls()].concat()),
        ("server_session/publish", [publish_commands(), publish_media()].concat()),
        ("server_session/play", [play_commands(), play_controls()].concat()),
        ("amf0/connect", command("connect", 1.0, &[connect_object()])),
        ("amf0/every_kind", amf0::every_kind_of_value()),
    ];
    for (name, bytes) in seeds {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        if std::env::var_os("TIDEGATE_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let seed = std::fs::read(&path).unwrap_or_default();
        assert!(seed == bytes, "{name} differs; run this test once with TIDEGATE_WRITE_SEEDS=1");
    }
}
