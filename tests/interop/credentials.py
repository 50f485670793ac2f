"""Tokens that `alula token create` does not make: of another time, or of another key."""

import base64
import hmac
import json
import sqlite3
import time

KEY_ID = "interop"
SECRET = bytes(range(32))


def add_shared_key(data_dir):
    """Gives the key store a key that the test knows too. It is older than the server's own, which goes on signing."""
    with sqlite3.connect(data_dir / "auth.db") as database:
        database.execute(
            "INSERT INTO signing_keys (kid, algorithm, private_key, created_at) VALUES (?, 'HS256', ?, '1970-01-01')",
            (KEY_ID, SECRET),
        )
    database.close()


def signed(tenant, expires_in_s, secret=SECRET):
    """A token that is right in all but what is asked for."""
    now = int(time.time())
    header = {"alg": "HS256", "kid": KEY_ID, "typ": "at+jwt"}
    claims = {
        "iss": "alula",
        "aud": "alula",
        "sub": "interop",
        "tenant": tenant,
        "roles": ["read", "write"],
        "iat": now - 3600,
        "nbf": now - 3600,
        "exp": now + expires_in_s,
        "jti": "1",
    }
    message = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return f"{message}.{base64url(hmac.digest(secret, message.encode(), 'sha256'))}"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def with_altered_signature(token):
    message, signature = token.rsplit(".", 1)
    return f"{message}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
