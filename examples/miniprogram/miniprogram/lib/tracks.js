// Publications and subscriptions by a key. Properties of components are copied and lose their methods, so a component
// gets the key, and takes the track from here.

const tracks = new Map();

module.exports = {
  put: (key, track) => tracks.set(key, track),
  get: (key) => tracks.get(key),
  remove: (key) => tracks.delete(key),
};
