"""Hashes of passwords and of requests, and sealed fields.

A field of an event is sealed by AES-256-GCM under the key of the person it speaks of, a field of a row under the key of
its tenant; those keys are wrapped by a master key. What a value belongs to (tenant, person, stream or row, field) is
part of the seal: copied to another place it cannot be opened.

Standard: §2.2 Column Constraints, §9.1 Encryption at Rest
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from cloudlab.errors import ConfigError, InvariantBroken

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


KEY_BYTES = 32
_NONCE_BYTES = 12
_FORMAT = b"\x01"


def new_key() -> bytes:
    """Return a random key of 256 bits."""
    return secrets.token_bytes(KEY_BYTES)


def seal(key: bytes, plaintext: bytes, context: tuple[str, ...]) -> bytes:
    """Encrypt, bound to a context that must be named again to open it: format (1 byte), nonce (12), text and tag (16).

    The nonce is random: a key is good for 2^32 seals. Cost: about 2 µs.

    Standard: §9.1 Encryption at Rest
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _FORMAT + nonce + AESGCM(key).encrypt(nonce, plaintext, _bound(context))


def unseal(key: bytes, sealed: bytes, context: tuple[str, ...]) -> bytes:
    """Decrypt what was sealed with this key in this context.

    Raises:
        InvariantBroken: It was changed, moved from another place, or sealed with another key.
    """
    nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        if sealed[:1] != _FORMAT:
            raise InvalidTag
        return AESGCM(key).decrypt(nonce, text, _bound(context))
    except (InvalidTag, ValueError):
        raise InvariantBroken(f"a sealed value was not made for {' '.join(context)}") from None


def _bound(context: tuple[str, ...]) -> bytes:
    return json.dumps(context, ensure_ascii=False).encode()


def derived(key: bytes, purpose: tuple[str, ...]) -> bytes:
    """Return the key for one purpose (HKDF-Expand, SHA-256): knowing it tells nothing of the other ones. About 5 µs."""
    return HKDFExpand(algorithm=hashes.SHA256(), length=KEY_BYTES, info=_bound(purpose)).derive(key)


def blind_index(key: bytes, text: str) -> bytes:
    """Return 16 bytes by which equal texts can be found without being read: a truncated HMAC-SHA-256. About 2 µs.

    Who sees the column sees which rows are equal, and nothing else without the key.
    """
    return hmac.digest(key, text.encode(), "sha256")[:16]


class MasterKeys(Protocol):
    """Where master keys come from when they stand in no file and no variable: a KMS, Vault, a hardware module.

    It is asked once, when a platform opens; what it returns stays in the memory of the process.
    """

    async def load(self) -> Mapping[int, bytes]:
        """Return the master keys by version, 32 bytes each; the old ones too until `cloudlab key rotate` has ended."""
        ...


class Keyring:
    """The master keys of an installation by version; the newest one wraps, all of them unwrap."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"<Keyring of versions {sorted(self._keys)}>"

    @property
    def newest(self) -> int:
        """Version of the key that wraps.

        Raises:
            ConfigError: There is no master key.
        """
        if not self._keys:
            raise ConfigError(
                "there is no master key to protect personal data with",
                hint="Set CLOUDLAB_MASTER_KEY, or keys in [encryption]: see docs/reference/settings.md.",
            )
        return max(self._keys)

    def digests(self, text: str, purpose: tuple[str, ...]) -> dict[int, bytes]:
        """Return the blind index of a text under each master key: whoever looks it up asks for all of them."""
        return {version: blind_index(derived(key, purpose), text) for version, key in self._keys.items()}

    def wrap(self, key: bytes, context: tuple[str, ...]) -> bytes:
        """Seal a key with the newest master key."""
        return seal(self._keys[self.newest], key, context)

    def unwrap(self, version: int, wrapped: bytes, context: tuple[str, ...]) -> bytes:
        """Open a key that was wrapped by the master key of this version.

        Raises:
            ConfigError: That master key is not configured here.
            InvariantBroken: It was wrapped for another place, or by another key of the same version.
        """
        if version not in self._keys:
            raise ConfigError(
                f"master key {version} is not configured, and personal data is wrapped with it",
                hint="Keep an old key in [encryption] until `cloudlab key rotate` has finished.",
            )
        return unseal(self._keys[version], wrapped, context)
