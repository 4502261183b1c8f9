App({
  globalData: {
    /** What the lobby hands to the call page: `{ user, target, wanted }`. */
    call: null,
  },
});
