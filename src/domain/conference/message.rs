//! Messages between members.

use std::collections::BTreeSet;

use serde_json::Value;

use super::command::Subject;
use super::decide::Decision;
use super::{Conference, Member};
use crate::domain::event::Event;
use crate::domain::id::MemberId;
use crate::domain::limits::{JSON_DEPTH_MAX, MEMBER_NAMES_MAX, MESSAGE_BYTES_MAX, json_depth};
use crate::domain::refusal::{Reason, Refusal};

impl Conference {
    pub(super) fn decide_message(
        &self,
        from: Option<&Subject>,
        to: Option<&[MemberId]>,
        body: &Value,
    ) -> Decision {
        let from: Option<&Member> = from.map(|subject| self.subject(subject)).transpose()?;
        check_body(body)?;
        let to = to.map(|to| self.recipients(to)).transpose()?;
        Ok(vec![Event::MessageSent { from: from.map(|member| member.id.clone()), to, body: body.clone() }])
    }

    /// Each of `to` once; refused where one is not inside.
    fn recipients(&self, to: &[MemberId]) -> Result<Vec<MemberId>, Refusal> {
        if to.is_empty() {
            return Err(Reason::InvalidRequest
                .because("to: names at least one member; leave it out to reach everybody"));
        }
        if to.len() > MEMBER_NAMES_MAX {
            return Err(
                Reason::InvalidRequest.because(format!("to: holds at most {MEMBER_NAMES_MAX} members"))
            );
        }
        if let Some(unknown) = to.iter().find(|member| !self.members.contains_key(*member)) {
            return Err(Reason::NotFound.because(format!("to: {unknown} is not inside this conference")));
        }
        Ok(to.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect())
    }
}

fn check_body(body: &Value) -> Result<(), Refusal> {
    if json_depth(body) > JSON_DEPTH_MAX {
        return Err(Reason::InvalidRequest
            .because(format!("body: objects and arrays nest at most {JSON_DEPTH_MAX} deep")));
    }
    let bytes = serde_json::to_vec(body).map_or(usize::MAX, |text| text.len());
    if bytes > MESSAGE_BYTES_MAX {
        return Err(
            Reason::PayloadTooLarge.because(format!("body: has more than {MESSAGE_BYTES_MAX} bytes of JSON"))
        );
    }
    Ok(())
}
