//! The little of the codecs that we read: how large the pictures are and how the sound is shaped.
//!
//! Sources: ISO/IEC 14496-15 (`avcC`, `hvcC`), ITU-T H.264 §7.3.2.1.1, ITU-T H.265 §7.3.2.2, ISO/IEC 14496-3 §1.6.2.1
//! (AudioSpecificConfig), RFC 7845 §5.1 (OpusHead). What cannot be read is unknown, never an error: the media
//! passes all the same.

use std::fmt;

/// Bytes of a parameter set that are read. Real ones have under a hundred; all that we look for stands in front.
const PARAMETER_SET_BYTES_MAX: usize = 1024;
/// Widest and highest picture that is believed, twice 8K.
const PIXELS_MAX: u32 = 16_384;

/// How pictures are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// AVC.
    H264,
    /// HEVC, by codec id 12 or by FourCC.
    H265,
    /// AV1.
    Av1,
    /// VP9.
    Vp9,
    /// A codec of the FLV specification that we do not read.
    Number(u8),
    /// A codec of Enhanced RTMP that we do not read.
    FourCc([u8; 4]),
}

impl VideoCodec {
    /// The codec for the number in a legacy video body.
    pub fn from_number(number: u8) -> Self {
        match number {
            7 => Self::H264,
            12 => Self::H265,
            other => Self::Number(other),
        }
    }

    /// The codec for the FourCC in an Enhanced RTMP video body.
    pub fn from_four_cc(four_cc: [u8; 4]) -> Self {
        match &four_cc {
            b"avc1" => Self::H264,
            b"hvc1" => Self::H265,
            b"av01" => Self::Av1,
            b"vp09" => Self::Vp9,
            _ => Self::FourCc(four_cc),
        }
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::H264 => f.write_str("h264"),
            Self::H265 => f.write_str("h265"),
            Self::Av1 => f.write_str("av1"),
            Self::Vp9 => f.write_str("vp9"),
            Self::Number(number) => number.fmt(f),
            Self::FourCc(four_cc) => four_cc.escape_ascii().fmt(f),
        }
    }
}

/// How sound is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// AAC.
    Aac,
    /// MP3.
    Mp3,
    /// Opus.
    Opus,
    /// A codec of the FLV specification that we do not read.
    Number(u8),
    /// A codec of Enhanced RTMP that we do not read.
    FourCc([u8; 4]),
}

impl AudioCodec {
    /// The codec for the `sound format` in a legacy audio body.
    pub fn from_number(number: u8) -> Self {
        match number {
            10 => Self::Aac,
            // 14 is MP3 at 8 kHz.
            2 | 14 => Self::Mp3,
            other => Self::Number(other),
        }
    }

    /// The codec for the FourCC in an Enhanced RTMP audio body.
    pub fn from_four_cc(four_cc: [u8; 4]) -> Self {
        match &four_cc {
            b"mp4a" => Self::Aac,
            b".mp3" => Self::Mp3,
            b"Opus" => Self::Opus,
            _ => Self::FourCc(four_cc),
        }
    }
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aac => f.write_str("aac"),
            Self::Mp3 => f.write_str("mp3"),
            Self::Opus => f.write_str("opus"),
            Self::Number(number) => number.fmt(f),
            Self::FourCc(four_cc) => four_cc.escape_ascii().fmt(f),
        }
    }
}

/// What is known of a stream's pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoInfo {
    /// How they are coded.
    pub codec: VideoCodec,
    /// Pixels, where a sequence header told them.
    pub width: Option<u32>,
    /// Pixels, where a sequence header told them.
    pub height: Option<u32>,
}

/// What is known of a stream's sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioInfo {
    /// How it is coded.
    pub codec: AudioCodec,
    /// Samples per second, where told.
    pub sample_rate: Option<u32>,
    /// Channels, where told.
    pub channels: Option<u8>,
}

/// Width and height in pixels, after cropping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureSize {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// Rate and channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoundShape {
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels, unless they are laid out by a table that we do not read.
    pub channels: Option<u8>,
}

/// The picture size in an AVC decoder configuration record.
pub fn avc_size(record: &[u8]) -> Option<PictureSize> {
    let (head, rest) = record.split_first_chunk::<6>()?;
    if head[0] != 1 || head[5] & 0x1F == 0 {
        return None;
    }
    avc_sps_size(length_prefixed(rest)?.0)
}

/// The picture size in an HEVC decoder configuration record.
pub fn hevc_size(record: &[u8]) -> Option<PictureSize> {
    const SPS: u8 = 33;
    let (head, mut rest) = record.split_first_chunk::<23>()?;
    for _ in 0..head[22] {
        let (array, after) = rest.split_first_chunk::<3>()?;
        rest = after;
        let is_sps = array[0] & 0x3F == SPS;
        for _ in 0..u16::from_be_bytes([array[1], array[2]]) {
            let (unit, after) = length_prefixed(rest)?;
            if is_sps {
                return hevc_sps_size(unit);
            }
            rest = after;
        }
    }
    None
}

/// Rate and channels in an AAC AudioSpecificConfig.
pub fn aac_shape(config: &[u8]) -> Option<SoundShape> {
    const SBR: u32 = 5;
    const PARAMETRIC_STEREO: u32 = 29;
    let mut bits = Bits::new(config.to_vec());
    let object_type = aac_object_type(&mut bits)?;
    let mut sample_rate = aac_sample_rate(&mut bits)?;
    let channels = match bits.take(4)? {
        count @ 1..=6 => u8::try_from(count).ok(),
        7 => Some(8),
        _ => None,
    };
    if object_type == SBR || object_type == PARAMETRIC_STEREO {
        sample_rate = aac_sample_rate(&mut bits)?;
    }
    Some(SoundShape { sample_rate, channels })
}

/// Channels in an OpusHead; Opus always decodes at 48 kHz.
pub fn opus_shape(head: &[u8]) -> Option<SoundShape> {
    let channels = *head.strip_prefix(b"OpusHead")?.get(1)?;
    (channels != 0).then_some(SoundShape { sample_rate: 48_000, channels: Some(channels) })
}

fn aac_object_type(bits: &mut Bits) -> Option<u32> {
    match bits.take(5)? {
        31 => Some(32 + bits.take(6)?),
        object_type => Some(object_type),
    }
}

fn aac_sample_rate(bits: &mut Bits) -> Option<u32> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
    ];
    match bits.take(4)? {
        15 => bits.take(24),
        index => RATES.get(index as usize).copied(),
    }
}

/// Splits off what a 16-bit length stands before.
fn length_prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// The parameter set without the bytes that keep start codes out of it.
fn without_emulation_prevention(unit: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(unit.len().min(PARAMETER_SET_BYTES_MAX));
    let mut zeros = 0;
    for &byte in unit.iter().take(PARAMETER_SET_BYTES_MAX) {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        bytes.push(byte);
    }
    bytes
}

/// How many luma samples one chroma sample covers, across and down.
fn chroma_step(chroma_format: u32) -> (u32, u32) {
    match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    }
}

fn avc_sps_size(unit: &[u8]) -> Option<PictureSize> {
    let mut bits = Bits::new(without_emulation_prevention(unit));
    bits.skip(8)?;
    let profile = bits.take(8)?;
    bits.skip(16)?;
    bits.exp_golomb()?;
    let mut chroma_format = 1;
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma_format = avc_chroma_format(&mut bits)?;
    }
    bits.exp_golomb()?;
    match bits.exp_golomb()? {
        0 => {
            bits.exp_golomb()?;
        }
        1 => {
            bits.skip(1)?;
            bits.exp_golomb()?;
            bits.exp_golomb()?;
            // Each round reads at least one bit, so the end of the unit ends the loop.
            for _ in 0..bits.exp_golomb()? {
                bits.exp_golomb()?;
            }
        }
        _ => {}
    }
    bits.exp_golomb()?;
    bits.skip(1)?;
    let width = macroblocks(bits.exp_golomb()?)?;
    let map_height = macroblocks(bits.exp_golomb()?)?;
    let fields = 2 - bits.take(1)?;
    if fields == 2 {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let (step_x, step_y) = chroma_step(chroma_format);
    cropped(&mut bits, width, map_height.checked_mul(fields)?, step_x, step_y * fields)
}

/// Reads the part of an SPS that only the high profiles have; gives the chroma format that cropping goes by.
fn avc_chroma_format(bits: &mut Bits) -> Option<u32> {
    let mut chroma_format = bits.exp_golomb()?;
    let lists = if chroma_format == 3 { 12 } else { 8 };
    if chroma_format == 3 && bits.take(1)? == 1 {
        chroma_format = 0;
    }
    bits.exp_golomb()?;
    bits.exp_golomb()?;
    bits.skip(1)?;
    if bits.take(1)? == 1 {
        for list in 0..lists {
            if bits.take(1)? == 1 {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(chroma_format)
}

fn skip_scaling_list(bits: &mut Bits, count: usize) -> Option<()> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..count {
        if next != 0 {
            next = (last + bits.signed_exp_golomb()? + 256).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

fn hevc_sps_size(unit: &[u8]) -> Option<PictureSize> {
    let mut bits = Bits::new(without_emulation_prevention(unit));
    bits.skip(16 + 4)?;
    let sub_layers = bits.take(3)?;
    bits.skip(1)?;
    skip_profile_tier_level(&mut bits, sub_layers)?;
    bits.exp_golomb()?;
    let mut chroma_format = bits.exp_golomb()?;
    if chroma_format == 3 && bits.take(1)? == 1 {
        chroma_format = 0;
    }
    let width = bits.exp_golomb()?;
    let height = bits.exp_golomb()?;
    let (step_x, step_y) = chroma_step(chroma_format);
    cropped(&mut bits, width, height, step_x, step_y)
}

fn skip_profile_tier_level(bits: &mut Bits, sub_layers: u32) -> Option<()> {
    const PROFILE_BITS: usize = 88;
    const LEVEL_BITS: usize = 8;
    bits.skip(PROFILE_BITS + LEVEL_BITS)?;
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((bits.take(1)? == 1, bits.take(1)? == 1));
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers as usize))?;
    }
    for (profile, level) in present {
        bits.skip(usize::from(profile) * PROFILE_BITS + usize::from(level) * LEVEL_BITS)?;
    }
    Some(())
}

fn macroblocks(minus_one: u32) -> Option<u32> {
    minus_one.checked_add(1)?.checked_mul(16)
}

/// Reads the cropping that follows in both codecs and takes it off.
fn cropped(bits: &mut Bits, width: u32, height: u32, step_x: u32, step_y: u32) -> Option<PictureSize> {
    let (mut across, mut down) = (0, 0);
    if bits.take(1)? == 1 {
        across = bits.exp_golomb()?.checked_add(bits.exp_golomb()?)?.checked_mul(step_x)?;
        down = bits.exp_golomb()?.checked_add(bits.exp_golomb()?)?.checked_mul(step_y)?;
    }
    let size = PictureSize { width: width.checked_sub(across)?, height: height.checked_sub(down)? };
    let believed = 1..=PIXELS_MAX;
    (believed.contains(&size.width) && believed.contains(&size.height)).then_some(size)
}

/// Reads bits from the front. Every read past the end is `None`.
struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bits, at most 32.
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut number = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            number = (number << 1) | u32::from((byte >> (7 - self.at % 8)) & 1);
            self.at += 1;
        }
        Some(number)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= self.bytes.len() * 8).then_some(())
    }

    /// An unsigned Exp-Golomb number (H.264 §9.1) that fits 32 bits.
    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.take(zeros)?;
        Some(((1_u32 << zeros) - 1).wrapping_add(rest))
    }

    fn signed_exp_golomb(&mut self) -> Option<i64> {
        let number = i64::from(self.exp_golomb()?);
        Some(if number % 2 == 0 { -(number / 2) } else { (number + 1) / 2 })
    }
}

#[cfg(test)]
mod tests;
