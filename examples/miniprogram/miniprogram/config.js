module.exports = {
  /** The gateway, as phones reach it. In the developer tools, with the domain check off, http works too. */
  apiURL: 'http://127.0.0.1:8080',
  /** The app's own backend (examples/backend-node): it knows who the user is, and signs user tokens. */
  backendURL: 'http://127.0.0.1:3000',
};
