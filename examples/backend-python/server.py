"""The backend of a mini program that uses Tidegate: says who its users are, and hears what happens in their calls.

    TIDEGATE_APP_KEY=$(tidegate key show) DEMO_LOGINS=1 python3 server.py

Python 3.8 or later, standard library only. The settings are those of examples/backend-node.
"""

import json
import os
import secrets
import sys
import time
import traceback
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from signing import TTL_SECONDS, AppKey, is_genuine, sign_voip

APP_KEY = os.environ.get("TIDEGATE_APP_KEY", "")
API_URL = os.environ.get("TIDEGATE_API_URL", "http://127.0.0.1:8080")
WEBHOOK_SECRET = os.environ.get("TIDEGATE_WEBHOOK_SECRET", "")
WECHAT_APP_ID = os.environ.get("WECHAT_APP_ID", "")
WECHAT_APP_SECRET = os.environ.get("WECHAT_APP_SECRET", "")
WECHAT_API_URL = os.environ.get("WECHAT_API_URL", "https://api.weixin.qq.com")
# Anybody is who they say: for trying it out, never on the internet.
DEMO_LOGINS = os.environ.get("DEMO_LOGINS") == "1"

# What every user of this app may do. Leave `create` away where only the backend makes conferences.
USERS_CAN = ["create"]
# A conference with many members is some hundred kilobytes; nobody else sends more than a line.
BODY_BYTES_MAX = 4 * 1024 * 1024
# For one call to WeChat or to the gateway.
TIMEOUT_SECONDS = 5
# Ids that are remembered: messages that come twice come soon after one another.
SEEN_MAX = 10_000


class Refusal(Exception):
    """A refusal that the caller may read."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Backend:
    def __init__(self, key):
        self.key = key
        # Session keys of WeChat logins, by openid. A real backend keeps them with its users.
        self.session_keys = {}
        self.seen = {}
        self.lock = Lock()

    def login(self, body):
        if isinstance(body.get("code"), str) and WECHAT_APP_ID:
            user = self.by_wechat(body["code"])
        elif isinstance(body.get("name"), str) and body["name"] and DEMO_LOGINS:
            user = body["name"]
        else:
            raise Refusal(401, "send the code of wx.login; a name is enough only with DEMO_LOGINS=1")
        expires_at = int(time.time()) + TTL_SECONDS
        return {"user": user, "token": self.key.mint_user_token(user, USERS_CAN, expires_at), "expiresAt": expires_at}

    def by_wechat(self, code):
        """The openid behind a code of `wx.login`; the gateway gets the session key for VoIP rooms, another one after each login."""
        query = urllib.parse.urlencode(
            {"appid": WECHAT_APP_ID, "secret": WECHAT_APP_SECRET, "js_code": code, "grant_type": "authorization_code"}
        )
        answer = call("GET", f"{WECHAT_API_URL}/sns/jscode2session?{query}")
        if "openid" not in answer:
            raise Refusal(401, "WeChat does not know this code")
        openid, session_key = answer["openid"], answer["session_key"]
        self.session_keys[openid] = session_key
        path = f"/v1/voip/sessions/{urllib.parse.quote(openid, safe='')}"
        call("PUT", API_URL + path, {"sessionKey": session_key, "appId": WECHAT_APP_ID}, APP_KEY)
        return openid

    def voip_signature(self, body, user):
        """Signs for `joinVoIPChat`: only the backend has the session key."""
        session_key, group_id = self.session_keys.get(user), body.get("groupId")
        if not session_key or not isinstance(group_id, str):
            raise Refusal(403, "log in by wx.login first, and name a groupId")
        signed = {
            "appId": WECHAT_APP_ID,
            "groupId": group_id,
            "nonceStr": secrets.token_hex(12),
            "timeStamp": int(time.time()),
        }
        return {**signed, "signature": sign_voip(signed, session_key)}

    def hear(self, header, body):
        if not WEBHOOK_SECRET:
            raise Refusal(404, "set TIDEGATE_WEBHOOK_SECRET to hear of calls")
        if not is_genuine(header, body, WEBHOOK_SECRET):
            raise Refusal(401, "not signed by the gateway")
        event = json.loads(body)
        # Messages come at least once: the same id is the same event.
        with self.lock:
            if event["id"] in self.seen:
                return
            self.seen[event["id"]] = True
            if len(self.seen) > SEEN_MAX:
                del self.seen[next(iter(self.seen))]
        print(" ".join(filter(None, [event["type"], event["confrId"], event.get("member", {}).get("name")])), flush=True)


def call(method, url, body=None, bearer=None):
    """What a server answers, as JSON; an error where it refuses."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    if bearer:
        request.add_header("Authorization", f"Bearer {bearer}")
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        text = answer.read()
    return json.loads(text) if text else {}


def parsed(body):
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refusal(400, "the body is a JSON object")
    return value


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    backend = None

    def do_POST(self):
        try:
            length = int(self.headers.get("Content-Length", 0))
            if length > BODY_BYTES_MAX:
                raise Refusal(413, "too long")
            answer = self.route(self.rfile.read(length))
            self.send(204 if answer is None else 200, answer)
        except Refusal as refusal:
            self.close_connection = True
            self.send(refusal.status, {"error": str(refusal)})
        except Exception:
            traceback.print_exc()
            self.close_connection = True
            self.send(500, {"error": "a fault of the backend"})

    def route(self, body):
        if self.path == "/login":
            return self.backend.login(parsed(body))
        if self.path == "/voip/signature":
            bearer = (self.headers.get("Authorization") or "").replace("Bearer ", "", 1)
            user = self.backend.key.user_of(bearer)
            if user is None:
                raise Refusal(401, "log in first")
            return self.backend.voip_signature(parsed(body), user)
        if self.path == "/webhooks":
            return self.backend.hear(self.headers.get("Tidegate-Signature"), body)
        raise Refusal(404, "no such path")

    def send(self, status, value):
        text = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if self.close_connection:
            # Unsaid, a client sends its next request into the end of the connection.
            self.send_header("Connection", "close")
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    try:
        Handler.backend = Backend(AppKey.parse(APP_KEY))
    except ValueError as error:
        sys.exit(f"TIDEGATE_APP_KEY: {error}")
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000")))
    server = ThreadingHTTPServer(address, Handler)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
