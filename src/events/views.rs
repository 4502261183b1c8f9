//! Conferences, members and streams as they stand in answers and events, for whoever reads them.

use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use crate::domain::conference::{ConferenceKind, Member, Muted, Stream};
use crate::domain::event::{AudioFormat, StreamKind, VideoFormat};
use crate::domain::voip::RoomType;
use crate::domain::{
    AppId, Conference, ConferenceId, Limits, MemberId, Role, RoomName, RtcId, StreamId, Timestamp, UserName,
};
use crate::events::schema;

/// What happens with a recording that was asked for: this gateway makes none.
const RECORDING: &str = "unavailable";
/// The last moment that RFC 3339 can write.
const END_OF_TIME: &str = "9999-12-31T23:59:59Z";

/// Whose eyes an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The app's backend sees everything.
    App,
    /// A member sees no AUDIENCE in a LIVE conference, only how many there are.
    Member,
}

impl Reader {
    fn sees(self, kind: ConferenceKind, member: &Member) -> bool {
        self == Self::App || kind != ConferenceKind::Live || member.role.may_publish()
    }
}

/// A conference: its settings, who is inside and what may be watched.
#[derive(Serialize, ToSchema)]
#[schema(as = Conference)]
#[serde(rename_all = "camelCase")]
pub struct ConferenceView<'a> {
    #[schema(value_type = schema::ConfrId)]
    confr_id: &'a ConferenceId,
    /// The same as `confrId`.
    #[schema(value_type = schema::ConfrId)]
    id: &'a ConferenceId,
    #[serde(rename = "type")]
    #[schema(value_type = schema::ConferenceType)]
    kind: ConferenceKind,
    /// The name of the room that this conference was created for; null where it was created without one.
    #[schema(required)]
    room_name: Option<&'a str>,
    /// The group of a VoIP room.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Room>)]
    group_id: Option<&'a RoomName>,
    /// What a VoIP room carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::VoipRoomType>)]
    room_type: Option<RoomType>,
    /// Whether a recording was asked for. `recording` says what happens.
    rec: bool,
    /// Whether a recording of all streams in one picture was asked for.
    rec_merge: bool,
    /// What happens with a recording that was asked for: this gateway makes none.
    #[schema(example = "unavailable")]
    recording: &'static str,
    /// Whether clients that join as `miniProgram` are let in.
    support_wechat_mini_program: bool,
    #[schema(value_type = LimitsView)]
    limits: Limits,
    /// The highest role that a password admits to.
    #[schema(value_type = schema::RoleNumber)]
    mem_default_role: Role,
    #[schema(value_type = schema::AppData)]
    metadata: &'a Map<String, Value>,
    #[schema(value_type = schema::Time)]
    created_at: String,
    /// The number of the newest event in it. The feed goes on from here by `after`.
    #[schema(value_type = schema::EventNumber)]
    seq: u64,
    /// Who is inside, in the order in which they joined. A member does not see the audience of a LIVE conference here.
    members: Vec<MemberView<'a>>,
    /// How many members of role AUDIENCE are inside.
    audience_count: u32,
    /// The declared streams, in the order in which they were declared.
    streams: Vec<StreamView<'a>>,
}

/// How many of each a conference takes.
#[derive(ToSchema)]
#[schema(as = Limits, rename_all = "camelCase")]
#[expect(dead_code, reason = "tells the document what `Limits` looks like")]
struct LimitsView {
    /// Members of role TALKER and above, ADMINs included.
    #[schema(example = 9)]
    max_talker_count: u32,
    /// Declared streams that may carry video.
    #[schema(example = 9)]
    max_video_count: u32,
    /// Members of role AUDIENCE.
    #[schema(example = 600)]
    max_audience_count: u32,
    /// Declared streams of a desktop.
    #[schema(example = 2)]
    max_pub_desktop_count: u32,
}

/// One stay of a user in a conference.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
#[serde(rename_all = "camelCase")]
pub struct MemberView<'a> {
    #[schema(value_type = schema::MemId)]
    id: &'a MemberId,
    /// The user's name. Kick, roles and mute name members by it.
    #[schema(value_type = schema::User)]
    name: &'a UserName,
    /// What others see beside the name.
    #[schema(required, max_length = 128)]
    nick_name: Option<&'a str>,
    /// `<appId>#<name>`
    #[schema(example = "a7xk2mvq3nrw5tbz#yss000")]
    global_name: String,
    #[schema(value_type = schema::RoleNumber)]
    role: Role,
    #[schema(value_type = schema::AppData)]
    ext: &'a Map<String, Value>,
    #[schema(value_type = MutedView)]
    muted: Muted,
    #[schema(value_type = schema::Time)]
    joined_at: String,
}

/// What an ADMIN or the app took from a member; only they give it back.
#[derive(ToSchema)]
#[schema(as = Muted)]
#[expect(dead_code, reason = "tells the document what `Muted` looks like")]
struct MutedView {
    audio: bool,
    video: bool,
}

/// A declared stream of a member.
#[derive(Serialize, ToSchema)]
#[schema(as = Stream)]
#[serde(rename_all = "camelCase")]
pub struct StreamView<'a> {
    #[schema(value_type = schema::StreamName)]
    id: &'a StreamId,
    #[schema(value_type = schema::RtcName)]
    rtc_id: &'a RtcId,
    /// The member that publishes it.
    #[schema(value_type = schema::MemId)]
    mem_id: &'a MemberId,
    #[schema(required)]
    owner: Option<MemberView<'a>>,
    #[serde(rename = "type")]
    #[schema(value_type = schema::StreamType)]
    kind: StreamKind,
    /// Whether nobody sees pictures: the owner turned them off, they have no place, or none flow.
    #[schema(value_type = schema::OffFlag)]
    voff: u8,
    /// Whether nobody hears sound: the owner turned it off, or none flows.
    #[schema(value_type = schema::OffFlag)]
    aoff: u8,
    /// Whether media flows now. A stream that is declared and not live can be asked for; playing it waits.
    live: bool,
    /// What the publisher sends; null until it is known, and while `voff` is 1.
    #[schema(required, value_type = Option<VideoView>)]
    video: Option<&'a VideoFormat>,
    /// What the publisher sends; null until it is known, and while `aoff` is 1.
    #[schema(required, value_type = Option<AudioView>)]
    audio: Option<&'a AudioFormat>,
}

/// What is known of a stream's pictures.
#[derive(ToSchema)]
#[schema(as = Video)]
#[expect(dead_code, reason = "tells the document what `VideoFormat` looks like")]
struct VideoView {
    /// `h264`, `h265`, `av1`, `vp9`, or the number or FourCC of another.
    #[schema(example = "h264")]
    codec: String,
    /// In pixels; absent where the stream did not tell.
    #[schema(nullable = false, example = 360)]
    width: Option<u32>,
    /// In pixels; absent where the stream did not tell.
    #[schema(nullable = false, example = 640)]
    height: Option<u32>,
}

/// What is known of a stream's sound.
#[derive(ToSchema)]
#[schema(as = Audio, rename_all = "camelCase")]
#[expect(dead_code, reason = "tells the document what `AudioFormat` looks like")]
struct AudioView {
    /// `aac`, `mp3`, `opus`, or the number or FourCC of another.
    #[schema(example = "aac")]
    codec: String,
    /// Samples per second; absent where the stream did not tell.
    #[schema(nullable = false, example = 48000)]
    sample_rate: Option<u32>,
    /// Absent where the stream did not tell.
    #[schema(nullable = false, example = 1)]
    channels: Option<u8>,
}

impl<'a> ConferenceView<'a> {
    /// `conference` for the eyes of `reader`; members in the order in which they joined, streams as they were declared.
    pub fn new(conference: &'a Conference, reader: Reader) -> Self {
        let settings = &conference.settings;
        let mut members: Vec<_> =
            conference.members.values().filter(|member| reader.sees(settings.kind, member)).collect();
        members.sort_by_key(|member| member.epoch);
        let mut streams: Vec<_> = conference.streams.values().collect();
        streams.sort_by_key(|stream| stream.declared);
        Self {
            confr_id: &settings.id,
            id: &settings.id,
            kind: settings.kind,
            room_name: settings.room_name.as_ref().map(RoomName::as_str),
            group_id: settings.voip.as_ref().map(|voip| &voip.group_id),
            room_type: settings.voip.as_ref().map(|voip| voip.room_type),
            rec: settings.rec,
            rec_merge: settings.rec_merge,
            recording: RECORDING,
            support_wechat_mini_program: settings.support_wechat_mini_program,
            limits: settings.limits,
            mem_default_role: settings.mem_default_role,
            metadata: &settings.metadata,
            created_at: rfc3339(conference.created_at),
            seq: conference.seq.0,
            members: members.into_iter().map(|member| MemberView::new(&settings.app, member)).collect(),
            audience_count: conference.audience_count(),
            streams: streams.into_iter().map(|stream| StreamView::new(conference, stream)).collect(),
        }
    }
}

impl<'a> MemberView<'a> {
    pub fn new(app: &AppId, member: &'a Member) -> Self {
        Self {
            id: &member.id,
            name: &member.user,
            nick_name: member.nick_name.as_deref(),
            global_name: format!("{app}#{}", member.user),
            role: member.role,
            ext: &member.ext,
            muted: member.muted,
            joined_at: rfc3339(member.joined_at),
        }
    }
}

impl<'a> StreamView<'a> {
    /// A stream and its owner, who may publish and is therefore nobody that a reader may not see.
    pub fn new(conference: &'a Conference, stream: &'a Stream) -> Self {
        let owner = conference.members.get(&stream.owner);
        let format = stream.live.as_ref();
        Self {
            id: &stream.id,
            rtc_id: &stream.rtc_id,
            mem_id: &stream.owner,
            owner: owner.map(|member| MemberView::new(&conference.settings.app, member)),
            kind: stream.kind,
            voff: stream.is_video_off().into(),
            aoff: stream.is_audio_off().into(),
            live: stream.live.is_some(),
            video: format.and_then(|format| format.video.as_ref()).filter(|_| !stream.is_video_off()),
            audio: format.and_then(|format| format.audio.as_ref()).filter(|_| !stream.is_audio_off()),
        }
    }
}

/// `at` as RFC 3339 in UTC, with as much of the second as is not zero.
pub fn rfc3339(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| END_OF_TIME.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::event::MediaFormat;
    use crate::domain::{Created, Event};

    const AT: Timestamp = Timestamp(1_800_000_000_123);

    fn conference(kind: ConferenceKind) -> Conference {
        let created = Created {
            id: ConferenceId::parse("TS_a").unwrap(),
            app: AppId::parse("app1").unwrap(),
            kind,
            password: None,
            rec: true,
            rec_merge: false,
            limits: Limits::default(),
            mem_default_role: kind.mem_default_role(),
            support_wechat_mini_program: true,
            metadata: Map::new(),
            creator: None,
            room_name: None,
            voip: None,
            mark: None,
        };
        let (mut conference, _) = Conference::create(created, AT);
        // Ids run against the order of joining.
        for (id, user, role) in
            [("MS_z", "anna", Role::Talker), ("MS_y", "boris", Role::Audience), ("MS_x", "boss", Role::Admin)]
        {
            let event = Event::MemberJoined {
                member: MemberId::parse(id).unwrap(),
                user: UserName::parse(user).unwrap(),
                role,
                nick_name: None,
                ext: Map::new(),
                guest_ticket: None,
            };
            conference.record(event, AT);
        }
        let stream = StreamId::parse("RTC1__Of_MS_z").unwrap();
        let event = Event::StreamDeclared {
            stream: stream.clone(),
            member: MemberId::parse("MS_z").unwrap(),
            rtc_id: RtcId::parse("RTC1").unwrap(),
            kind: StreamKind::Camera,
            video_off: false,
            audio_off: true,
        };
        conference.record(event, AT);
        let video = VideoFormat { codec: "h264".to_owned(), width: Some(360), height: Some(640) };
        let format = MediaFormat { video: Some(video), audio: None };
        conference.record(Event::MediaStarted { stream, format }, AT);
        conference
    }

    #[test]
    fn a_conference_looks_as_the_contract_says() {
        let conference = conference(ConferenceKind::Communication);
        let view = serde_json::to_value(ConferenceView::new(&conference, Reader::Member)).unwrap();
        let anna = json!({
            "id": "MS_z", "name": "anna", "nickName": null, "globalName": "app1#anna", "role": 3, "ext": {},
            "muted": {"audio": false, "video": false}, "joinedAt": "2027-01-15T08:00:00.123Z",
        });
        let names: Vec<_> =
            view["members"].as_array().unwrap().iter().map(|member| &member["name"]).collect();
        assert_eq!(names, ["anna", "boris", "boss"]);
        assert_eq!(view["members"][0], anna);
        assert_eq!(
            view["streams"],
            json!([{
                "id": "RTC1__Of_MS_z", "rtcId": "RTC1", "memId": "MS_z", "owner": anna, "type": 0, "voff": 0, "aoff": 1,
                "live": true, "video": {"codec": "h264", "width": 360, "height": 640}, "audio": null,
            }])
        );
        let mut rest = view.as_object().unwrap().clone();
        rest.retain(|key, _| key != "members" && key != "streams");
        assert_eq!(
            Value::Object(rest),
            json!({
                "confrId": "TS_a", "id": "TS_a", "type": 10, "roomName": null, "rec": true, "recMerge": false,
                "recording": "unavailable", "supportWechatMiniProgram": true,
                "limits": {"maxTalkerCount": 9, "maxVideoCount": 9, "maxAudienceCount": 600, "maxPubDesktopCount": 2},
                "memDefaultRole": 3, "metadata": {}, "createdAt": "2027-01-15T08:00:00.123Z", "seq": 6,
                "audienceCount": 1,
            })
        );
    }

    #[test]
    fn members_of_a_live_conference_do_not_see_its_audience() {
        let conference = conference(ConferenceKind::Live);
        let names = |reader| {
            let view = ConferenceView::new(&conference, reader);
            assert_eq!(view.audience_count, 1);
            view.members.iter().map(|member| member.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(Reader::Member), ["anna", "boss"]);
        assert_eq!(names(Reader::App), ["anna", "boris", "boss"]);
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(Timestamp(u64::MAX)), END_OF_TIME);
    }
}
