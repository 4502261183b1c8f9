'use strict';

const part = encodeURIComponent;

/**
 * The calls of the control API that clients make, by their names in the OpenAPI document. Each answers what the
 * gateway answered.
 */
class Api {
  constructor(requests) {
    this._requests = requests;
  }

  _post(path, token, body, how) {
    return this._requests.send(Object.assign({ method: 'POST', path, token, body }, how));
  }

  createConference(token, settings) {
    return this._post('/v1/conferences', token, settings, { creates: true });
  }

  issueTicket(confrId, token, wanted) {
    return this._post(`/v1/conferences/${part(confrId)}/tickets`, token, wanted, { creates: true });
  }

  join(confrId, token, body) {
    return this._post(`/v1/conferences/${part(confrId)}/members`, token, body, { creates: true });
  }

  joinRoom(roomName, token, body) {
    return this._post(`/v1/rooms/${part(roomName)}/members`, token, body, { creates: true });
  }

  /** Not repeated: the signature was used up by the first attempt that arrived. */
  joinVoipRoom(groupId, token, body) {
    return this._post(`/v1/voip/rooms/${part(groupId)}/members`, token, body, { once: true });
  }

  leave(confrId, token) {
    return this._requests.send({ method: 'DELETE', path: `/v1/conferences/${part(confrId)}/members/me`, token });
  }

  changeMember(confrId, token, change) {
    return this._requests.send({ method: 'PATCH', path: `/v1/conferences/${part(confrId)}/members/me`, token, body: change });
  }

  /** Not repeated: the next one comes soon. */
  heartbeat(confrId, token) {
    return this._post(`/v1/conferences/${part(confrId)}/heartbeat`, token, undefined, { once: true });
  }

  changeConference(confrId, token, change) {
    return this._requests.send({ method: 'PATCH', path: `/v1/conferences/${part(confrId)}`, token, body: change });
  }

  endConference(confrId, token) {
    return this._requests.send({ method: 'DELETE', path: `/v1/conferences/${part(confrId)}`, token });
  }

  kick(confrId, token, memberNames) {
    return this._post(`/v1/conferences/${part(confrId)}/kick`, token, { memberNames });
  }

  setRole(confrId, token, memberNames, role) {
    return this._post(`/v1/conferences/${part(confrId)}/roles`, token, { memberNames, role });
  }

  mute(confrId, token, memberNames, what) {
    return this._post(`/v1/conferences/${part(confrId)}/mute`, token, Object.assign({ memberNames }, what));
  }

  publish(confrId, token, wanted) {
    return this._post(`/v1/conferences/${part(confrId)}/streams`, token, wanted, { creates: true });
  }

  changeStream(confrId, token, streamId, change) {
    const path = `/v1/conferences/${part(confrId)}/streams/${part(streamId)}`;
    return this._requests.send({ method: 'PATCH', path, token, body: change });
  }

  deleteStream(confrId, token, streamId) {
    return this._requests.send({ method: 'DELETE', path: `/v1/conferences/${part(confrId)}/streams/${part(streamId)}`, token });
  }

  subscribe(confrId, token, streamId, wanted) {
    return this._post(`/v1/conferences/${part(confrId)}/streams/${part(streamId)}/subscriptions`, token, wanted);
  }

  streamStats(confrId, token, streamId) {
    return this._requests.send({ method: 'GET', path: `/v1/conferences/${part(confrId)}/streams/${part(streamId)}/stats`, token });
  }

  sendMessage(confrId, token, message) {
    return this._post(`/v1/conferences/${part(confrId)}/messages`, token, message, { creates: true });
  }
}

module.exports = { Api };
