//! What holds for any sequence of commands.

use std::collections::BTreeSet;

use super::*;

/// Starts and stops pair up, and nothing follows the end.
pub(super) fn check_pairs(log: &[Recorded]) {
    let (mut inside, mut declared, mut live) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut ended = false;
    for (index, recorded) in log.iter().enumerate() {
        assert_eq!(recorded.seq, Seq(index as u64 + 1));
        assert!(!ended, "an event after the end: {recorded:?}");
        match &recorded.event {
            Event::MemberJoined { member, .. } => assert!(inside.insert(member.clone())),
            Event::MemberChanged { member, .. } => assert!(inside.contains(member)),
            Event::MemberExited { member, .. } => {
                assert!(inside.remove(member));
                assert!(!declared.iter().any(|(_, owner)| owner == member), "a stream outlived its owner");
            }
            Event::StreamDeclared { stream, member, .. } => {
                assert!(inside.contains(member));
                assert!(declared.insert((stream.clone(), member.clone())));
            }
            Event::StreamUndeclared { stream, .. } => {
                assert!(!live.contains(stream));
                let before = declared.len();
                declared.retain(|(id, _)| id != stream);
                assert_eq!(declared.len() + 1, before);
            }
            Event::MediaStarted { stream, .. } => assert!(live.insert(stream.clone())),
            Event::MediaStopped { stream, .. } => assert!(live.remove(stream)),
            Event::PublisherReplaced { stream }
            | Event::MediaChanged { stream, .. }
            | Event::VideoRefused { stream } => assert!(live.contains(stream)),
            Event::StreamChanged { stream, .. }
            | Event::StreamMuteChanged { stream }
            | Event::VideoGranted { stream } => {
                assert!(declared.iter().any(|(id, _)| id == stream));
            }
            Event::MessageSent { from, to, .. } => {
                assert!(from.iter().chain(to.iter().flatten()).all(|member| inside.contains(member)));
            }
            Event::ConferenceEnded { members } => {
                ended = true;
                assert_eq!(members.iter().cloned().collect::<BTreeSet<_>>(), inside);
                inside.clear();
            }
            _ => {}
        }
    }
    assert!(!ended || (inside.is_empty() && declared.is_empty() && live.is_empty()));
}

/// What holds between any two commands.
pub(super) fn check_state(before: &Conference, after: &Conference, command: &Command) {
    let talkers = after.members.values().filter(|member| member.role.may_publish()).count();
    assert_eq!(after.talker_count() as usize, talkers);
    assert_eq!(after.audience_count() as usize, after.members.len() - talkers);
    check_limits(before, after, command);
    let users: BTreeSet<_> = after.members.values().map(|member| &member.user).collect();
    assert_eq!(users.len(), after.members.len(), "a user is inside at most once");
    for member in after.members.values() {
        assert_eq!(after.member_of(&member.user).map(|found| &found.id), Some(&member.id));
    }
    check_join(after, command);
    if after.settings.ends_when_empty() {
        let went = !before.members.is_empty() && after.members.is_empty();
        assert!(!went || after.is_ended(), "the last member left a conference that ends with it");
    }
    for stream in after.streams.values() {
        assert!(after.members[&stream.owner].role.may_publish());
    }
    check_media(after);
}

/// None waits beside a free place, and nothing passes that is off, has no place or is muted.
fn check_media(after: &Conference) {
    for stream in after.streams.values() {
        if stream.pictures == Pictures::Refused {
            assert!(
                after.video_count() >= after.settings.limits.max_video_count,
                "{stream:?} waits for nothing"
            );
            assert!(stream.live.as_ref().is_some_and(|format| format.video.is_some()));
        }
        let (muted, gate) = (after.members[&stream.owner].muted, after.media_gate(&stream.id));
        assert_eq!(gate.video, stream.pictures == Pictures::On && !muted.video);
        assert_eq!(gate.audio, !stream.audio_off && !muted.audio);
    }
}

/// Mutes hold until they are lifted, whatever the user does meanwhile. `muted` is what was decided about each.
pub(super) fn check_mutes(conference: &Conference, muted: &BTreeMap<UserName, Muted>) {
    for member in conference.members.values().filter(|member| !member.user.is_guest()) {
        let decided = muted.get(&member.user).copied().unwrap_or_default();
        assert_eq!(member.muted, decided, "{}", member.user);
    }
}

/// A role that is asked for is the most that a join gives.
fn check_join(after: &Conference, command: &Command) {
    let Command::Join(join) = command else { return };
    let joined = after.members.get(&join.member).map(|member| member.role);
    assert!(joined.is_none() || join.role.is_none() || joined <= join.role);
}

/// Limits bind growth: what is more than before is within them. They can be set below what is inside, and then nobody
/// is removed. A demotion is the one way into an audience that is full: nobody is kept a talker for want of a place.
fn check_limits(before: &Conference, after: &Conference, command: &Command) {
    let limits = after.settings.limits;
    let demotes = matches!(command, Command::SetRoles { .. });
    for (what, count, limit, free) in [
        ("talkers", Conference::talker_count as fn(&Conference) -> u32, limits.max_talker_count, false),
        ("audience", Conference::audience_count, limits.max_audience_count, demotes),
        ("videos", Conference::video_count, limits.max_video_count, false),
        ("desktops", Conference::desktop_count, limits.max_pub_desktop_count, false),
    ] {
        let (was, is) = (count(before), count(after));
        assert!(is <= was || is <= limit || free, "{what} grew from {was} to {is} where {limit} are allowed");
    }
    if matches!(command, Command::Configure { .. }) {
        assert_eq!(before.members, after.members);
        assert!(before.streams.keys().eq(after.streams.keys()));
    } else {
        assert_eq!(before.settings, after.settings);
    }
    if let Command::Join(join) = command
        && let Admission::Password { verified, .. } = &join.admission
        && after != before
    {
        assert_eq!(*verified, before.settings.password, "a password let in that is not the password");
    }
}
