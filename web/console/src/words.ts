// Names and sentences for what the API tells.

import type { Conference, FeedEvent, Role, Stream } from './api';
import { t, type TextKey } from './text';

export const roleName = (role: Role) => t(`role${role}` as TextKey);
export const kindName = (kind: Conference['type']) => t(`kind${kind}` as TextKey);

/** What a person would call it. */
export function title(conference: Conference): string {
  if (conference.groupId) return t('group', { name: conference.groupId });
  if (conference.roomName) return t('room', { name: conference.roomName });
  return conference.confrId;
}

export const nameOf = (member: { name: string; nickName: string | null } | null | undefined) => (member ? member.nickName || member.name : '–');
export const ownerOf = (stream: Stream) => nameOf(stream.owner);

export function pictureOf(stream: Stream): string {
  const parts = [];
  if (stream.video) parts.push(`${stream.video.codec.toUpperCase()}${stream.video.width ? ` ${stream.video.width}×${stream.video.height}` : ''}`);
  if (stream.audio) parts.push(stream.audio.codec.toUpperCase());
  return parts.join(' + ') || '–';
}

/** The event of a changed member says how it is, not what changed: who is muted is told so. */
function muted(held: { audio: boolean; video: boolean } | undefined, name: string): string {
  const what = [held?.video && t('pictures'), held?.audio && t('sound')].filter((one) => typeof one === 'string');
  if (what.length === 0) return t('evChanged', { name });
  return t('evMuted', { name, what: what.length === 2 ? t('and', { one: what[0], other: what[1] }) : what[0] });
}

const EXITS = [0, 1, 4, 10, 11, 12];

/** An event as a sentence; none for what says nothing to a reader. */
export function sentence(event: FeedEvent): string | null {
  const name = nameOf(event.member ?? event.stream?.owner);
  const rtcId = event.stream?.rtcId ?? '';
  const held = event.stream?.owner?.muted;
  const flows = { video: !event.stream?.voff && !held?.video, audio: !event.stream?.aoff && !held?.audio };
  switch (event.type) {
    case 'memberJoined':
      return t('evJoined', { name, role: event.member ? roleName(event.member.role) : '' });
    case 'memberExited':
      return t(`evExited${EXITS.includes(Number(event.reason)) ? event.reason : 0}` as TextKey, { name });
    case 'memberChanged':
      return muted(event.member?.muted, name);
    case 'roleChanged':
      return t('evRole', { name, role: event.member ? roleName(event.member.role) : '' });
    case 'streamAdded':
      return t('evStreamAdded', { name, rtcId });
    case 'streamRemoved':
      return t('evStreamRemoved', { name, rtcId });
    case 'mediaChanged':
      return t('evMedia', { name, rtcId, video: t(flows.video ? 'on' : 'off'), audio: t(flows.audio ? 'on' : 'off') });
    case 'conferenceChanged':
      return t('evConference');
    case 'conferenceExit':
      return t('evExit');
    case 'message':
      return t('evMessage', { name: event.from ? nameOf(event.from) : t('theApp'), body: JSON.stringify(event.body) });
    case 'serverDraining':
      return t('evDraining');
    default:
      return null;
  }
}
