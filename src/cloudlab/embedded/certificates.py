"""Certificates that the embedded stack makes for itself: an authority, and one server certificate that it signs.

The authority's private key is thrown away at once: nobody can make a second certificate that clients would trust.

Standard: §9.1 Encryption in Transit
"""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cloudlab.embedded.accounts import Account
from cloudlab.embedded.homes import write_private

CA, CERTIFICATE, KEY = "ca.crt", "server.crt", "server.key"
_VALID = timedelta(days=730)
_RENEW_BEFORE = timedelta(days=60)


def ensure(folder: Path, account: Account | None = None) -> None:
    """Make `ca.crt`, `server.crt` and `server.key` for localhost, unless they are there and good for 60 days more.

    Valid for two years. Cost: about 5 ms when they are made.
    """
    if not _is_good(folder):
        make(folder, account)


def _is_good(folder: Path) -> bool:
    if not all((folder / name).exists() for name in (CA, CERTIFICATE, KEY)):
        return False
    certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
    return certificate.not_valid_after_utc > datetime.now(UTC) + _RENEW_BEFORE


def make(folder: Path, account: Account | None = None) -> None:
    """Make the three files anew; a server that runs goes on with the old ones until it is restarted."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = _name("CloudLab embedded stack")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    loopback = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    server = (
        _builder(_name("localhost"), authority_name, server_key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *loopback]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    private = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = serialization.Encoding.PEM
    texts = {CA: authority.public_bytes(pem), CERTIFICATE: server.public_bytes(pem), KEY: private}
    for name, text in texts.items():
        write_private(folder / name, text.decode(), account)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
    )
