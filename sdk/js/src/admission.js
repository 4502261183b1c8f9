'use strict';

const { TidegateError } = require('./errors');

/** Tokens of the app's user: given once, or asked of the app each time the gateway no longer takes the last one. */
class UserTokens {
  constructor({ token, getToken }) {
    this._token = token || null;
    this._getToken = getToken || null;
  }

  get exist() {
    return this._token !== null || this._getToken !== null;
  }

  /** Runs `call(token)`; once more with a fresh token where the gateway refuses the first. */
  async use(call) {
    if (!this.exist) {
      throw new TidegateError('invalid_request', 'token or getToken: who the user is, signed by the backend of the app');
    }
    const had = this._token !== null;
    try {
      return await call(await this._current());
    } catch (error) {
      if (error.reason !== 'unauthenticated' || !had || !this._getToken) throw error;
      this._token = null;
      return call(await this._current());
    }
  }

  async _current() {
    if (this._token === null) {
      const token = await this._getToken();
      if (typeof token !== 'string' || token === '') {
        throw new TidegateError('invalid_request', 'getToken: it answers the user token as text');
      }
      this._token = token;
    }
    return this._token;
  }
}

/**
 * The way into one conference: used for the join and for each rejoin after the gateway has given a member up.
 *
 * `target` is one of `{ confrId, ticket | getTicket }`, `{ confrId, password }`, `{ roomName, password?, role?,
 * config? }` and `{ groupId, roomType, muteConfig?, signature, nonceStr, timeStamp }` or, for rejoins, `getSignature`
 * in place of the last three; the first two take `nickName` and `ext`.
 */
class Admission {
  constructor(api, tokens, client, target) {
    this._api = api;
    this._tokens = tokens;
    this._client = client;
    this._target = target;
    this._ticket = target.ticket || null;
    this._signature = target.signature ? target : null;
    this._enter = this._way();
  }

  /** Joins; the gateway's answer. */
  enter() {
    return this._enter();
  }

  _way() {
    const { confrId, roomName, groupId, ticket, getTicket } = this._target;
    if (groupId) return () => this._byGroup();
    if (roomName) return () => this._byRoom();
    if (confrId && (ticket || getTicket)) return () => this._byTicket();
    if (confrId) return () => this._byPassword();
    throw new TidegateError('invalid_request', 'where to? name a confrId, a roomName or a groupId');
  }

  _byPassword() {
    const { confrId, password } = this._target;
    const body = Object.assign({ password: password || '' }, this._self());
    return this._tokens.use((token) => this._api.join(confrId, token, body));
  }

  async _byTicket() {
    const { getTicket, confrId } = this._target;
    try {
      if (this._ticket === null) this._ticket = await getTicket(confrId);
      return await this._showTicket();
    } catch (error) {
      if ((error.reason !== 'ticket_expired' && error.reason !== 'ticket_invalid') || !getTicket) throw error;
      this._ticket = await getTicket(confrId);
      return this._showTicket();
    }
  }

  /** The user token beside it gives a ticket that names nobody its user. */
  async _showTicket() {
    const { confrId } = this._target;
    const ticket = this._ticket;
    if (this._tokens.exist) {
      try {
        return await this._tokens.use((token) => this._api.join(confrId, token, Object.assign({ ticket }, this._self())));
      } catch (error) {
        // The ticket is enough, whatever became of the user token.
        if (error.reason !== 'unauthenticated') throw error;
      }
    }
    return this._api.join(confrId, ticket, this._self());
  }

  _byRoom() {
    const { roomName, password, role, config } = this._target;
    const body = Object.assign({ client: this._client, config: config || {} }, password ? { password } : {}, role ? { role } : {});
    return this._tokens.use((token) => this._api.joinRoom(roomName, token, body));
  }

  async _byGroup() {
    const { groupId, roomType, muteConfig, getSignature } = this._target;
    const signed = this._signature || (getSignature ? await getSignature(groupId) : null);
    this._signature = null;
    if (!signed) throw new TidegateError('not_joined', 'a signature is good for one join; name getSignature to come back by itself');
    const { signature, nonceStr, timeStamp } = signed;
    const body = Object.assign({ signature, nonceStr, timeStamp, roomType: roomType || 'voice' }, muteConfig ? { muteConfig } : {});
    return this._tokens.use((token) => this._api.joinVoipRoom(groupId, token, body));
  }

  _self() {
    const { nickName, ext } = this._target;
    return Object.assign({ client: this._client }, nickName ? { nickName } : {}, ext ? { ext } : {});
  }
}

module.exports = { Admission, UserTokens };
