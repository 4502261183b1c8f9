"""A receiver of Tidegate's webhooks: Python 3.8 or later, standard library only.

    TIDEGATE_WEBHOOK_SECRET=whsec_… PORT=3000 python3 receiver.py

It prints one line for each message that it takes.
"""

import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

# Older messages are refused, so that one that was overheard cannot be played again later.
TOLERANCE_SECONDS = 300
# A conference with many members is some hundred kilobytes.
BODY_BYTES_MAX = 4 * 1024 * 1024


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


# Messages come at least once: the same id is the same event. Keep this in your database, beside what you do.
seen = set()
seen_lock = Lock()


def take(event):
    with seen_lock:
        if event["id"] in seen:
            return
        seen.add(event["id"])
    print(f"{event['type']} {event['id']}", flush=True)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    secret = os.environ.get("TIDEGATE_WEBHOOK_SECRET", "")

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        if length > BODY_BYTES_MAX:
            self.close_connection = True
            self.answer(413)
            return
        body = self.rfile.read(length)
        if not is_genuine(self.headers.get("Tidegate-Signature"), body, self.secret):
            self.answer(401)
            return
        take(json.loads(body))
        # Answer once the event is safe with you; until then it is sent again.
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        if self.close_connection:
            self.send_header("Connection", "close")
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    if not Receiver.secret:
        raise SystemExit("set TIDEGATE_WEBHOOK_SECRET to the secret of the target")
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "3000")))
    server = ThreadingHTTPServer(address, Receiver)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
