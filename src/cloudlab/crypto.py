"""Hashes: of passwords, and of requests.

Standard: §2.2 Column Constraints
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping

# 16 MiB and about 40 ms a hash on one core.
_N, _R, _P = 2**14, 8, 1


def hash_password(password: str) -> str:
    """Return a salted scrypt hash. It costs tens of milliseconds by design: call it in a thread."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_N}${_R}${_P}${_encode(salt)}${_encode(_scrypt(password, salt, _N, _R, _P))}"


def verify_password(password: str, password_hash: str) -> bool:
    """Say whether this is the password; False for an account that nobody can log in to."""
    parts = password_hash.split("$")
    if len(parts) != 6 or parts[0] != "scrypt":
        return False
    n, r, p = (int(part) for part in parts[1:4])
    salt, expected = (base64.b64decode(part) for part in parts[4:])
    return hmac.compare_digest(_scrypt(password, salt, n, r, p), expected)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=64 * 1024 * 1024, dklen=32)


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def fingerprint(request: Mapping[str, object]) -> bytes:
    """Return the SHA-256 of a request, the same for the same request whatever the order of its keys."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).digest()
