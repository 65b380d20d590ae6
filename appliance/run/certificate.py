"""A self-signed certificate for the appliance's own TLS and WSS listeners, until an administrator gives a better one."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS: Final = 825
"""Most days that clients accept from a private issuer (CA/Browser baseline before public ones got shorter)."""


def ensure_certificate(directory: Path, name: str, hosts: tuple[str, ...], now: datetime | None = None) -> None:
    """Make ``NAME.crt`` and ``NAME.key`` (ECDSA P-256, 0600). ``hosts``: names and addresses.

    Unless both are there: then only for hosts that a certificate of ours lacks; an administrator's own is left alone.
    """
    certificate, key_file = directory / f"{name}.crt", directory / f"{name}.key"
    if certificate.exists() and key_file.exists():
        known = _hosts_of_ours(certificate, name)
        if known is None or set(hosts) <= set(known):
            return
        hosts = tuple(dict.fromkeys((*known, *hosts)))
    directory.mkdir(parents=True, exist_ok=True)
    now = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of phones are often a little late
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(key_file, key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))  # fmt: skip
    _write(certificate, signed.public_bytes(serialization.Encoding.PEM))


def names_of(certificate: Path) -> tuple[str, ...]:
    """Names and addresses that a certificate is good for; none when it can't be read. :raises OSError: we may not look."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, FileNotFoundError, x509.ExtensionNotFound):
        return ()
    return tuple(str(each.value) for each in names)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Centralino {name}")])


def _hosts_of_ours(certificate: Path, name: str) -> list[str] | None:
    """Hosts of a certificate that :func:`ensure_certificate` made; None: somebody else did, or it can't be read."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return None
    if not found.issuer == found.subject == _subject(name):
        return None
    return [str(each.value) for each in names]


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
