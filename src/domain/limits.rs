//! How many of each a conference takes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Places in one conference. The defaults are those of the hosted product that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Members of role TALKER and above, ADMINs included.
    pub max_talker_count: u32,
    /// Declared streams that may carry video.
    pub max_video_count: u32,
    /// Members of role AUDIENCE.
    pub max_audience_count: u32,
    /// Declared streams of type desktop.
    pub max_pub_desktop_count: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_talker_count: 9, max_video_count: 9, max_audience_count: 600, max_pub_desktop_count: 2 }
    }
}

/// Places of some kinds, to be put in the stead of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitsChange {
    /// As [`Limits::max_talker_count`].
    pub max_talker_count: Option<u32>,
    /// As [`Limits::max_video_count`].
    pub max_video_count: Option<u32>,
    /// As [`Limits::max_audience_count`].
    pub max_audience_count: Option<u32>,
    /// As [`Limits::max_pub_desktop_count`].
    pub max_pub_desktop_count: Option<u32>,
}

impl LimitsChange {
    /// These places, and those of `limits` where none are named.
    pub fn over(self, limits: Limits) -> Limits {
        Limits {
            max_talker_count: self.max_talker_count.unwrap_or(limits.max_talker_count),
            max_video_count: self.max_video_count.unwrap_or(limits.max_video_count),
            max_audience_count: self.max_audience_count.unwrap_or(limits.max_audience_count),
            max_pub_desktop_count: self.max_pub_desktop_count.unwrap_or(limits.max_pub_desktop_count),
        }
    }
}

/// Users about whom a conference remembers a decision (a kick, a role granted). Bounds the state that kicks and
/// role changes can build up in one conference; far above any real meeting.
pub const STANDINGS_MAX: usize = 10_000;
/// Streams that one member may have declared at once: camera, desktop and a few to spare.
pub const STREAMS_PER_MEMBER_MAX: usize = 8;
/// Names in one kick or roles call: its events fit into one record even with the longest names.
pub const MEMBER_NAMES_MAX: usize = 300;
/// Largest `ext` or `metadata`, in bytes of JSON (contract, section Objects).
pub const EXT_BYTES_MAX: usize = 2048;
/// Largest body of a message, in bytes of JSON (contract, section Control API).
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// Deepest nesting of JSON that clients give us to keep. Far more than data about members needs, and far less than the 128 levels
/// that a JSON reader takes, because records and snapshots put it some levels deeper and must be readable for good.
pub const JSON_DEPTH_MAX: usize = 32;
/// Longest nick name, in characters.
pub const NICK_NAME_CHARS_MAX: usize = 128;
/// Streams declared at once in one conference: bounds what its end has to undo in one record.
pub const STREAMS_MAX: usize = 1000;

/// Marked commands that a conference remembers: at the rate of a busy backend, several minutes of retries.
pub const MARKS_MAX: usize = 1000;
/// How long a marked command is remembered. A day: no client repeats a request for longer.
pub const MARK_LIFE_MS: u64 = 24 * 3600 * 1000;

impl Limits {
    /// The highest values that a conference may be given, so that its end still fits into one record of any store
    /// (half a mebibyte: 9 000 member ids and the stops of 1 000 streams).
    pub const CEILING: Self = Self {
        max_talker_count: 1000,
        max_video_count: 1000,
        max_audience_count: 8000,
        max_pub_desktop_count: 100,
    };
}

/// How deep objects and arrays nest in `value`: 0 for a number, 1 for `[]`. Looks no deeper than needed to tell that it
/// is more than [`JSON_DEPTH_MAX`].
pub fn json_depth(value: &Value) -> usize {
    let mut layer = vec![value];
    let mut depth = 0;
    while depth <= JSON_DEPTH_MAX {
        let mut inner = Vec::new();
        let mut nests = false;
        for value in layer {
            match value {
                Value::Array(items) => {
                    nests = true;
                    inner.extend(items);
                }
                Value::Object(fields) => {
                    nests = true;
                    inner.extend(fields.values());
                }
                _ => {}
            }
        }
        if !nests {
            break;
        }
        depth += 1;
        layer = inner;
    }
    depth
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn depth_counts_objects_and_arrays_one_in_the_other() {
        for (value, depth) in
            [(json!(7), 0), (json!([]), 1), (json!({ "a": 1, "b": [] }), 2), (json!([[1], { "a": [{}] }]), 4)]
        {
            assert_eq!(json_depth(&value), depth, "{value}");
        }
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        assert_eq!(json_depth(&deep), JSON_DEPTH_MAX + 1);
    }
}
