const zh = {
  title: '多人音视频通话',
  user: '我的名字',
  room: '房间名',
  password: '房间密码（可空）',
  enter: '进入房间（没有则创建）',
  watch: '只观看（观众）',
  cameraOff: '关闭摄像头进入',
  missing: '请填写名字和房间名',
  joining: '正在进入…',
  reconnecting: '网络不稳定，正在重连…',
  rejoining: '已掉线，正在重新进入…',
  weak: '网络较差',
  starting: '正在推流…',
  loading: '加载中…',
  waiting: '等待画面…',
  suspended: '已暂停',
  failed: '失败，点此重试',
  camera: '无法使用摄像头，点此设置',
  microphone: '无法使用麦克风，点此设置',
  videosFull: '视频位已满，只有声音',
  mic: '麦克风',
  cam: '摄像头',
  turn: '翻转',
  people: '成员',
  speak: '上麦',
  ask: '申请发言',
  asked: '已申请',
  hangUp: '挂断',
  endAll: '结束会议',
  kick: '移出',
  mute: '静音',
  unmute: '取消静音',
  toTalker: '设为主播',
  toAudience: '设为观众',
  toAdmin: '设为管理员',
  audience: (count) => `观众 ${count} 人`,
  me: '我',
  roles: { 7: '管理员', 3: '主播', 1: '观众' },
  asks: (name) => `${name} 申请发言`,
  left: { 0: '已挂断', 1: '长时间无响应', 4: '连接失败', 10: '已在其他设备进入', 11: '会议已结束', 12: '你被移出会议' },
  refused: {
    wrong_password: '密码错误',
    talkers_full: '发言人数已满',
    members_full: '人数已满',
    not_allowed: '没有权限',
    member_gone: '你已被移出会议',
    conference_closed: '会议已结束',
    network: '连不上服务器',
    timeout: '服务器没有响应',
  },
};

const en = {
  title: 'Calls for several people',
  user: 'My name',
  room: 'Room',
  password: 'Password of the room (may be empty)',
  enter: 'Enter (makes the room where there is none)',
  watch: 'Only watch (audience)',
  cameraOff: 'Enter with the camera off',
  missing: 'A name and a room are needed',
  joining: 'Entering…',
  reconnecting: 'The network is unsteady, reconnecting…',
  rejoining: 'Cut off, entering again…',
  weak: 'Weak network',
  starting: 'Starting…',
  loading: 'Loading…',
  waiting: 'Waiting for pictures…',
  suspended: 'Paused',
  failed: 'Failed; tap to try again',
  camera: 'No camera; tap for the settings',
  microphone: 'No microphone; tap for the settings',
  videosFull: 'No place for video: sound only',
  mic: 'Mic',
  cam: 'Camera',
  turn: 'Turn',
  people: 'People',
  speak: 'Speak',
  ask: 'Ask to speak',
  asked: 'Asked',
  hangUp: 'Hang up',
  endAll: 'End for all',
  kick: 'Remove',
  mute: 'Mute',
  unmute: 'Unmute',
  toTalker: 'Make talker',
  toAudience: 'Make audience',
  toAdmin: 'Make admin',
  audience: (count) => `${count} in the audience`,
  me: 'me',
  roles: { 7: 'admin', 3: 'talker', 1: 'audience' },
  asks: (name) => `${name} asks to speak`,
  left: { 0: 'You hung up', 1: 'No sign of life for too long', 4: 'The connection failed', 10: 'You entered on another device', 11: 'The call has ended', 12: 'You were removed' },
  refused: {
    wrong_password: 'Wrong password',
    talkers_full: 'No place for another talker',
    members_full: 'The room is full',
    not_allowed: 'Not allowed',
    member_gone: 'You were removed',
    conference_closed: 'The call has ended',
    network: 'The server cannot be reached',
    timeout: 'The server does not answer',
  },
};

/** The texts of the phone's language: Chinese, else English. */
function textsFor(language) {
  return /^zh/i.test(language || 'zh') ? zh : en;
}

/** The texts for this phone. */
function texts() {
  const { language } = wx.getAppBaseInfo ? wx.getAppBaseInfo() : wx.getSystemInfoSync();
  return textsFor(language);
}

/** A sentence for a refusal. */
function refusalText(error, words) {
  return words.refused[error.reason] || error.message;
}

module.exports = { textsFor, texts, refusalText };
