//! How the texts and numbers of the domain look in the API's OpenAPI document. The domain itself knows nothing of it:
//! a field of such a type names its stand-in here by `#[schema(value_type = …)]`.

use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// Gives a stand-in its schema, under its own name in the document's components.
macro_rules! stand_in {
    ($name:ident, $schema:expr) => {
        #[doc = concat!("Stands in for `", stringify!($name), "` of the document.")]
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {}
    };
}

fn text(description: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .examples([Value::from(example)])
}

fn id(description: &str, pattern: &str, example: &str) -> ObjectBuilder {
    text(description, example).pattern(Some(pattern))
}

fn number(description: &str, values: &[u8], example: u8) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some(description))
        .enum_values(Some(values.iter().copied().map(Value::from)))
        .examples([Value::from(example)])
}

stand_in!(
    ConfrId,
    id("The id of a conference.", "^TS_[A-Za-z0-9_-]+$", "TS_bm6vezhq2kdr4wty").max_length(Some(64))
);
stand_in!(
    MemId,
    id(
        "The id of one stay of a user in a conference. A user that joins again gets a new one.",
        "^MS_[A-Za-z0-9_-]+$",
        "MS_k3xw5rjbq6ahn2ud"
    )
    .max_length(Some(64))
);
stand_in!(
    StreamName,
    id(
        "The id of a stream: `<rtcId>__Of_<memId>`.",
        "^[A-Za-z0-9_-]+__Of_MS_[A-Za-z0-9_-]+$",
        "RTC1__Of_MS_k3xw5rjbq6ahn2ud"
    )
    .max_length(Some(101))
);
stand_in!(
    RtcName,
    id("The publisher's own name for one of its streams.", "^[A-Za-z0-9_-]{1,32}$", "RTC1")
        .max_length(Some(32))
);
stand_in!(
    User,
    id(
        "A user of the app, as its backend names it: 1 to 128 characters without control characters or `/`.",
        r"^[^/\x00-\x1f\x7f-\x9f]+$",
        "yss000"
    )
    .min_length(Some(1))
    .max_length(Some(128))
);
stand_in!(
    Room,
    id(
        "The name of a room in its app: 1 to 128 characters without control characters or `/`.",
        r"^[^/\x00-\x1f\x7f-\x9f]+$",
        "daily"
    )
    .min_length(Some(1))
    .max_length(Some(128))
);
stand_in!(
    VoipRoomType,
    text("What a VoIP room carries. `voice` has no place for a video.", "video")
        .enum_values(Some(["voice", "video"]))
);
stand_in!(
    RoleNumber,
    number(
        "The role of a member. `7` ADMIN publishes, watches and runs the conference; `3` TALKER publishes and watches; \
         `1` AUDIENCE watches only.",
        &[7, 3, 1],
        3
    )
);
stand_in!(
    ConferenceType,
    number(
        "The preset of a conference. `10` COMMUNICATION: an ordinary call; `11` COMMUNICATION_MIX: a large call; `12` LIVE: \
         a few speakers and an audience that does not see itself.",
        &[10, 11, 12],
        10
    )
);
stand_in!(
    StreamType,
    number("What a stream shows. `0` camera and microphone, `1` a shared desktop.", &[0, 1], 0)
);
stand_in!(OffFlag, number("`1` where it is off, `0` where it is not.", &[0, 1], 0));
stand_in!(
    Time,
    text("A moment in UTC, RFC 3339.", "2027-01-15T08:00:00.123Z")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
);
stand_in!(
    EventNumber,
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(0))
        .description(Some("The number of an event in its conference; the first is 1."))
        .examples([Value::from(17)])
);
stand_in!(
    AppData,
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .description(Some(
            "The app's own data, kept and shown as it is: an object of at most 2048 bytes of JSON."
        ))
        .examples([json!({ "avatar": "https://example.com/a.png" })])
);
stand_in!(
    Password,
    text(
        "What a conference takes from users without a ticket. At most 128 characters; empty is none.",
        "k7wq3mzx"
    )
    .max_length(Some(128))
);
