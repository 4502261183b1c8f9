'use strict';

/** The objects of emedia: the gateway's own, with the fields that emedia's users read. */

/** `confr`: `{ confrId, id, password, roleToken, ticket, type }` and what the gateway tells beside them. */
function confr(conference, more) {
  return Object.assign({}, conference, { id: conference.confrId }, more);
}

/** `member`, as handlers get it. */
function member(known, selfId) {
  return known ? Object.assign({}, known, { memName: known.name, isSelf: known.id === selfId }) : known;
}

/** `stream`, with the `owner` as it is now. */
function stream(known, owner) {
  return Object.assign({}, known, { owner: owner || known.owner });
}

/** Names of users, as kick and roles take them: from names, global names, member ids or member objects. */
function memberNames(wanted, members) {
  const list = Array.isArray(wanted) ? wanted : [wanted];
  return list.map((one) => {
    const text = typeof one === 'object' && one !== null ? one.name : String(one);
    const known = Array.from(members).find(({ id, globalName }) => id === text || globalName === text);
    return known ? known.name : text;
  });
}

/** `ext` as an object; emedia's users also write it as JSON. */
function ext(given) {
  if (typeof given !== 'string' || given === '') return given || undefined;
  try {
    return JSON.parse(given);
  } catch (_) {
    return { ext: given };
  }
}

module.exports = { confr, member, stream, memberNames, ext };
