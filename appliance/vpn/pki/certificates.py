"""Certificates and lists of revoked ones as RFC 5280 wants them, and as OpenVPN needs them. Pure, but for random numbers.

All keys of the authority are ECDSA P-384, all signatures SHA-384. Names are unique in the world (a random tag stands in the
root's), so that two installations never mistake each other's intermediates. No name constraints: routers with mbed TLS
refuse certificates that have them, and the authority writes every name itself. No subject alternative names: OpenVPN goes
by the common name, and nobody finds a server by it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from appliance.vpn.pki.lifetimes import BACKDATED, LIST

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey

SERVER_NAME: Final = "centralino-vpn-server"
"""Common name of every server certificate. No branch has it: theirs have a dot, which site ids haven't."""

SIGNER_NAME: Final = "centralino-vpn-signer"
"""Common name of the certificates whose key signs what branches are told."""
SIGNING: Final = ObjectIdentifier("2.25.166300742045204494601024974759219973720")
"""Extended key usage of those: a number of our own (made of a UUID, ITU-T X.667), so that no TLS takes them, and no
certificate for TLS signs anything."""
GATE_NAME: Final = "centralino-vpn-enrolment"
"""Common name of the gate where new edges hand in their requests: no VPN server, and no edge takes it for one."""

_ORGANISATION: Final = "Centralino voice VPN"


class Role(StrEnum):
    """Whom a certificate is for."""

    SERVER = "server"
    BRANCH = "branch"
    SIGNER = "signer"
    THIRD_PARTY = "third_party"  # a branch's router of another maker: its private key was made here, and has travelled
    GATE = "gate"

    @property
    def of_site(self) -> bool:
        """Whether it is for a site's router."""
        return self in (Role.BRANCH, Role.THIRD_PARTY)


class Reason(StrEnum):
    """Why a certificate is revoked (RFC 5280 §5.3.1)."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key_compromise"
    CA_COMPROMISE = "ca_compromise"
    SUPERSEDED = "superseded"
    CESSATION = "cessation_of_operation"
    WITHDRAWN = "privilege_withdrawn"


USAGES: Final = {
    Role.SERVER: ExtendedKeyUsageOID.SERVER_AUTH,
    Role.BRANCH: ExtendedKeyUsageOID.CLIENT_AUTH,
    Role.SIGNER: SIGNING,
    Role.THIRD_PARTY: ExtendedKeyUsageOID.CLIENT_AUTH,
    Role.GATE: ExtendedKeyUsageOID.SERVER_AUTH,
}
"""The one extended key usage that each has."""

_FLAGS: Final = {
    Reason.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
    Reason.CA_COMPROMISE: x509.ReasonFlags.ca_compromise,
    Reason.SUPERSEDED: x509.ReasonFlags.superseded,
    Reason.CESSATION: x509.ReasonFlags.cessation_of_operation,
    Reason.WITHDRAWN: x509.ReasonFlags.privilege_withdrawn,
}


@dataclass(frozen=True, slots=True)
class Issuer:
    """A certificate that signs, and its key."""

    certificate: x509.Certificate
    key: PrivateKey


def new_key() -> PrivateKey:
    """ECDSA P-384."""
    return ec.generate_private_key(ec.SECP384R1())


def new_serial() -> int:
    """128 random bits (RFC 5280 §4.1.2.2 allows up to 159)."""
    return secrets.randbits(128) or 1


def hexadecimal(serial: int) -> str:
    """A serial as it is kept and shown: 32 digits."""
    return f"{serial:032x}"


def tag(serial: int) -> str:
    """What tells two certificates of one site apart in their common names."""
    return hexadecimal(serial)[:8]


def common_name(site: str, serial: int) -> str:
    """Of a branch's certificate: ``milan.1f0c9a52``. At most 49 characters (X.520 allows 64)."""
    return f"{site}.{tag(serial)}"


def site_of(name: str) -> str:
    """The site in a branch's common name; ``""`` if it is none."""
    site, dot, _ = name.rpartition(".")
    return site if dot else ""


def name_of(certificate: x509.Certificate) -> str:
    """Common name of its subject; ``""`` without one."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else ""


def public_key(certificate: x509.Certificate) -> PublicKey:
    """Of a certificate of ours. :raises ValueError: it is of another kind."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError
    return key


def root(key: PrivateKey, begins: datetime, ends: datetime) -> x509.Certificate:
    """Self-signed; one intermediate may stand below it."""
    name = _named(f"{_ORGANISATION} root {secrets.token_hex(4)}")
    made = _begun(name, name, key.public_key(), new_serial(), begins, ends)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
    made = made.add_extension(_usage(signs_certificates=True), critical=True)
    return _signed(made, key.public_key(), key)


def intermediate(issuer: Issuer, key: PublicKey, number: int, begins: datetime, ends: datetime) -> x509.Certificate:
    """Signs certificates of servers and branches, and no other authority."""
    name = _named(f"{name_of(issuer.certificate)} intermediate {number}")
    made = _begun(name, issuer.certificate.subject, key, new_serial(), begins, ends)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(_usage(signs_certificates=True), critical=True)
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = made.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    return _signed(made, issuer.key.public_key(), issuer.key)


def leaf(
    issuer: Issuer, key: PublicKey, role: Role, name: str, serial: int, begins: datetime, ends: datetime
) -> x509.Certificate:
    """Of a server, a branch or a signer. OpenVPN's ``remote-cert-tls`` wants both usages."""
    made = _begun(_named(name), issuer.certificate.subject, key, serial, begins, ends)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(_usage(signs_certificates=False), critical=True)
    made = made.add_extension(x509.ExtendedKeyUsage([USAGES[role]]), critical=False)
    return _signed(made, issuer.key.public_key(), issuer.key)


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate on a list of revoked ones."""

    serial: int
    when: datetime
    reason: Reason


def entry(found: x509.RevokedCertificate) -> Entry:
    """As it stands on a list."""
    try:
        flag = found.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        flag = x509.ReasonFlags.unspecified
    reason = next((each for each, known in _FLAGS.items() if known is flag), Reason.UNSPECIFIED)
    return Entry(found.serial_number, found.revocation_date_utc, reason)


def revocation_list(
    issuer: Issuer, entries: Iterable[Entry], now: datetime, former: x509.CertificateRevocationList | None
) -> x509.CertificateRevocationList:  # fmt: skip
    """Number and time always grow: OpenVPN 2.6 keeps some lists of before in memory and goes by the newest time. Only from a
    future that a wrong clock told of the time comes back: a list that isn't valid yet lets nobody in. The root's list begins
    when the root does and is good for as long, because nobody may have the key to make another."""
    begins, number = now - BACKDATED, max(1, int(now.timestamp()))
    if former is not None:
        following = former.last_update_utc + timedelta(seconds=1)
        begins = max(begins, following) if following <= now else begins
        number = max(number, list_number(former) + 1)
    ends = now + LIST
    if issuer.certificate.subject == issuer.certificate.issuer:
        begins, ends = issuer.certificate.not_valid_before_utc, issuer.certificate.not_valid_after_utc
        begins = begins if former is None else former.last_update_utc + timedelta(seconds=1)
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(begins)
        .next_update(ends)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
    )  # fmt: skip
    for entry in sorted(entries, key=lambda each: each.serial):
        one = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.when)
        flag = _FLAGS.get(entry.reason)
        if flag is not None:  # unspecified is said by saying nothing (RFC 5280 §5.3.1)
            one = one.add_extension(x509.CRLReason(flag), critical=False)
        made = made.add_revoked_certificate(one.build())
    return made.sign(issuer.key, hashes.SHA384())


def list_number(found: x509.CertificateRevocationList) -> int:
    """Its number (RFC 5280 §5.2.3); 0: it has none."""
    try:
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def pem(certificate: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """PKCS #8, PEM; under a passphrase if there is one."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def request(key: PrivateKey) -> bytes:
    """A certificate signing request (PKCS #10) for a key, PEM. It names nobody: see :mod:`appliance.vpn.pki.requests`."""
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return made.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.PEM)


def fingerprint(key: PublicKey) -> str:
    """SHA-256 of a public key (SubjectPublicKeyInfo), hexadecimal: the same key has the same, whatever certificate it is in."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def _named(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_agreement=not signs_certificates,
        key_cert_sign=signs_certificates, crl_sign=signs_certificates, content_commitment=False,
        key_encipherment=False, data_encipherment=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _begun(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, serial: int, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(made: x509.CertificateBuilder, issuer: PublicKey, key: PrivateKey) -> x509.Certificate:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
    return made.add_extension(identifier, critical=False).sign(key, hashes.SHA384())
