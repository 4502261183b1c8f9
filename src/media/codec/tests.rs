//! The records are what libx264, libx265 and FFmpeg's AAC encoder write for test pictures of known sizes.

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn avc(hex: &str) -> Option<(u32, u32)> {
    avc_size(&bytes(hex)).map(|size| (size.width, size.height))
}

fn hevc(hex: &str) -> Option<(u32, u32)> {
    hevc_size(&bytes(hex)).map(|size| (size.width, size.height))
}

const AVC_BASELINE: &str =
    "0142c016ffe100196742c016d9017051e5f011000003000100000300140f162e4801000568cb83cb20";
const AVC_HIGH: &str =
    "01640028ffe1001b67640028acd940780227e5c044000003000400000300503c60c65801000668ebe3cb22c0fdf8f800";
const AVC_INTERLACED_422: &str =
    "017a0028ffe1001b677a0028bcd94078044fcb8088000003000800000300a0f8b16cb001000768fba3cb3002c0fef8f800";
const AVC_444: &str =
    "01f40020ffe1001c67f40020919b280a20bbc7c7e022000003000200000300281e30632c01000868ebe3c44c000440fff8f800";
const HEVC_CROPPED: &str = "0101600000009000000000005df000fcfdf8f800000f04200001001840010c01ffff016000000300\
    90000003000003005d959809210001002c42010101600000030090000003000003005da00280802d1f596566924caf01680800000300\
    0800000300504022000100074401c172b46240";

#[test]
fn avc_sizes_are_read_with_cropping_interlacing_and_any_chroma() {
    assert_eq!(avc(AVC_BASELINE), Some((360, 640)));
    assert_eq!(avc(AVC_HIGH), Some((1920, 1080)));
    assert_eq!(avc(AVC_INTERLACED_422), Some((1920, 1080)));
    assert_eq!(avc(AVC_444), Some((1282, 722)));
}

#[test]
fn hevc_sizes_are_read_with_cropping() {
    assert_eq!(hevc(HEVC_CROPPED), Some((1280, 718)));
}

#[test]
fn a_record_cut_short_is_unknown() {
    for hex in [AVC_BASELINE, AVC_HIGH, AVC_INTERLACED_422] {
        for bytes_kept in 0..20 {
            assert_eq!(avc(&hex[..bytes_kept * 2]), None);
        }
    }
    for bytes_kept in 0..80 {
        assert_eq!(hevc(&HEVC_CROPPED[..bytes_kept * 2]), None);
    }
}

/// An SPS from its bits; underscores only help the eye.
fn sps(bits: &str) -> Vec<u8> {
    let bits: Vec<u8> = bits.bytes().filter(|&bit| bit != b'_').map(|bit| bit - b'0').collect();
    let byte =
        |eight: &[u8]| eight.iter().enumerate().fold(0, |byte, (place, bit)| byte | (bit << (7 - place)));
    [0x67].into_iter().chain(bits.chunks(8).map(byte)).collect()
}

#[test]
fn an_unbelievable_size_is_unknown() {
    // Baseline, 30 macroblocks high, and as many wide as the number says.
    let width_of = |number: &str| {
        let bits = format!("01000010_00000000_00011110_1_1_1_1_010_0_{number}_000011110_1_0_0");
        avc_sps_size(&sps(&bits)).map(|size| size.width)
    };
    assert_eq!(width_of("000000000010000000000"), Some(PIXELS_MAX));
    assert_eq!(width_of("000000000010000000001"), None);
    assert_eq!(
        width_of(&format!("{}1{}", "0".repeat(31), "1".repeat(31))),
        None,
        "the largest number there is"
    );
    assert_eq!(width_of(&"0".repeat(64)), None, "no number");
}

#[test]
fn scaling_lists_are_stepped_over() {
    // High profile, 4:2:0, one scaling list of which the first delta ends it, 640 x 480, no cropping.
    let bits = "01100100_00000000_00011110_1_010_1_1_0_1_1_000010001_0000000_1_1_1_010_0\
        _00000101000_000011110_1_0_0";
    assert_eq!(avc_sps_size(&sps(bits)), Some(PictureSize { width: 640, height: 480 }));
}

#[test]
fn aac_shapes_are_read() {
    let shape = |config: &[u8]| aac_shape(config).map(|shape| (shape.sample_rate, shape.channels));
    assert_eq!(shape(&[0x11, 0x88, 0x56, 0xE5, 0x00]), Some((48_000, Some(1))));
    assert_eq!(shape(&[0x12, 0x10]), Some((44_100, Some(2))));
    assert_eq!(shape(&[0x2B, 0x11, 0x88, 0x00]), Some((48_000, Some(2))), "SBR names the rate that is heard");
    assert_eq!(shape(&[0x11, 0x80]), Some((48_000, None)), "channels by a table");
    assert_eq!(shape(&[0x17, 0x80, 0x5D, 0xC0, 0x08]), Some((48_000, Some(1))), "a rate spelled out");
    assert_eq!(shape(&[0x16, 0x90]), None, "a reserved rate");
    assert_eq!(shape(&[0x12]), None);
}

#[test]
fn opus_channels_are_read() {
    let shape = opus_shape(b"OpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0").unwrap();
    assert_eq!((shape.sample_rate, shape.channels), (48_000, Some(2)));
    assert_eq!(opus_shape(b"OpusHead"), None);
}

#[test]
fn codecs_are_named_as_the_contract_names_them() {
    let names = [VideoCodec::H264, VideoCodec::H265, VideoCodec::Av1, VideoCodec::Vp9].map(|c| c.to_string());
    assert_eq!(names, ["h264", "h265", "av1", "vp9"]);
    assert_eq!(VideoCodec::from_number(4).to_string(), "4");
    assert_eq!(VideoCodec::from_four_cc(*b"vvc1").to_string(), "vvc1");
    assert_eq!(VideoCodec::from_four_cc([0, b'"', b'a', 0xFF]).to_string(), "\\x00\\\"a\\xff");
    assert_eq!(AudioCodec::from_number(11).to_string(), "11");
    assert_eq!(AudioCodec::from_four_cc(*b"fLaC").to_string(), "fLaC");
}
