"""SE01: secrets are not kept as plain text.

Standard: §9.1 Encryption at Rest
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Column
from cloudlab.standards.rule import Found, Level, Rule

_SECRET = re.compile(
    r"(?:^|_)(password|passwd|passphrase|private_key|secret_key|client_secret|api_secret|api_key|totp_secret|otp_secret|"
    r"two_factor_secret|ssn|social_security_number|tax_file_number|passport_number|iban)$"
)
_SAFE = re.compile(r"(hash|digest|encrypt|cipher|sealed|crypted|masked|display|preview|last_?(4|four)|salt|public)")
_TEXT = {"text", "character varying", "character", "json", "jsonb", "citext"}


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.real_tables():
        # Django's users have a hash in `password`, whatever the table is called.
        hashed = any(_SAFE.search(name) for name in table.columns) or "last_login" in table.columns
        for column in table.columns.values():
            found = _SECRET.search(column.name)
            if found and column.base_type in _TEXT and not _SAFE.search(column.name):
                if "password" in found[1] and (hashed or _checks_a_hash(column)):
                    continue
                yield Found(
                    f"a copy, a backup or a log of {table} gives every {found[1].replace('_', ' ')} away",
                    column.at,
                    f"{table}.{column.name}",
                )


def _checks_a_hash(column: Column) -> bool:
    """Whether a comment says that it is no plain text."""
    return bool(re.search(r"hash|bcrypt|scrypt|argon|encrypt|crypt", column.comment or "", re.IGNORECASE))


RULE = Rule(
    id="SE01",
    title="Secrets are not kept as plain text",
    heading="§9.1 Encryption at Rest",
    level=Level.WARNING,
    why="Encrypted disks and TLS protect neither a backup nor a SELECT: who reads the row has the secret.",
    remedy="Hash what is only compared (password_hash), encrypt in the application what is read again, and name it so.",
    bad=(
        "CREATE TABLE u (id bigint PRIMARY KEY, password text NOT NULL);",
        "CREATE TABLE a (id bigint PRIMARY KEY, client_secret varchar(255));",
        "CREATE TABLE p (id bigint PRIMARY KEY, ssn char(9));",
        "CREATE TABLE p (id bigint PRIMARY KEY); ALTER TABLE p ADD COLUMN stripe_api_key text;",
    ),
    good=(
        "CREATE TABLE auth_user (id integer PRIMARY KEY, password varchar(128) NOT NULL, last_login timestamptz);",
        "CREATE TABLE s (id bigint PRIMARY KEY, display_secret_key text);",
        "CREATE TABLE u (id bigint PRIMARY KEY, password_hash text, password_changed_at timestamptz);",
        "CREATE TABLE a (id bigint PRIMARY KEY, encrypted_client_secret bytea, api_key_digest text);",
        "CREATE TABLE u (id bigint PRIMARY KEY, password text); COMMENT ON COLUMN u.password IS 'Argon2 hash';",
        "CREATE TABLE u (id bigint PRIMARY KEY, ssn_last_four char(4), passport_number bytea, password_expired"
        " boolean);",
        "CREATE TABLE p (id bigint PRIMARY KEY, api_key_id bigint, secret_santa text, public_key text);",
    ),
    schema=_check,
)
