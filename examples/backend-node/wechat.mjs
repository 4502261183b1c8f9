/**
 * Who is behind the code that `wx.login` gave: WeChat's openid and session key; null where WeChat does not know the
 * code.
 */
export async function codeToSession({ wechatURL, wechatAppId, wechatSecret }, code) {
  const url = new URL('/sns/jscode2session', wechatURL);
  url.search = new URLSearchParams({ appid: wechatAppId, secret: wechatSecret, js_code: code, grant_type: 'authorization_code' });
  const answer = await (await fetch(url, { signal: AbortSignal.timeout(5000) })).json();
  if (!answer.openid) return null;
  return { openid: answer.openid, sessionKey: answer.session_key };
}
