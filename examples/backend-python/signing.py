"""User tokens, VoIP signatures and the signatures of webhooks."""

import base64
import hashlib
import hmac
import json
import time

# Life of a user token. An hour: the client asks for another when the gateway no longer takes it.
TTL_SECONDS = 3600
# Older messages are refused, so that one that was overheard cannot be played again later.
TOLERANCE_SECONDS = 300


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class AppKey:
    """The app's id and secret. It never leaves the backend."""

    def __init__(self, app_id, secret):
        self.app_id = app_id
        self.secret = secret

    @classmethod
    def parse(cls, key):
        """From `<appId>.<secret>`, as `tidegate key show` prints it."""
        app_id, _, secret = key.partition(".")
        if not app_id or not secret:
            raise ValueError("it is <appId>.<secret>, as `tidegate key show` prints it")
        return cls(app_id, secret)

    def sign(self, text):
        return base64url(hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).digest())

    def mint_user_token(self, user, can, expires_at):
        """Says to the gateway that its holder is this user of the app. `can`: `["create"]` lets it make conferences and rooms."""
        claims = {"typ": "user", "iss": self.app_id, "sub": user, "exp": expires_at}
        if can:
            claims["can"] = can
        header = {"alg": "HS256", "typ": "JWT"}
        text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        return f"{text}.{self.sign(text)}"

    def user_of(self, token):
        """The user of a token that was minted here and has not run out; None for all else."""
        text, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self.sign(text).encode()):
            return None
        claims = text.partition(".")[2]
        claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return claims["sub"] if claims["exp"] > time.time() else None


def sign_voip(signed, session_key):
    """What `wx.joinVoIPChat` and the gateway's VoIP rooms take. The session key is used as the text that it is."""
    text = "".join(sorted(str(signed[name]) for name in ("appId", "groupId", "nonceStr", "timeStamp")))
    return hmac.new(session_key.encode(), text.encode(), hashlib.sha256).hexdigest()


def is_genuine(header, body, secret, now=None):
    """Whether `body` (bytes, as they came) was signed with `secret` not long ago."""
    parts = [part.partition("=") for part in (header or "").split(",")]
    stamp = next((value for key, _, value in parts if key == "t"), "")
    if not (stamp.isascii() and stamp.isdigit()):
        return False
    now = time.time() if now is None else now
    if abs(now - int(stamp)) > TOLERANCE_SECONDS:
        return False
    wanted = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    # While a secret is changed there are two signatures; one that fits is enough.
    given = [value.encode() for key, _, value in parts if key == "v1"]
    return any(hmac.compare_digest(value, wanted.encode()) for value in given)
