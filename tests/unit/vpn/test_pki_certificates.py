"""What stands in certificates, keys and requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import InvalidError
from appliance.vpn.pki import certificates, lifetimes, tls_crypt
from appliance.vpn.pki.requests import MAX_BYTES, public_key
from appliance.vpn.pki.vault import certificate
from tests.unit.vpn.ground import DAY, START, Ground, csr

GOOD = csr()
SERVER_KEY = tls_crypt.new_server_key()
CLIENT_KEY = tls_crypt.new_client_key(SERVER_KEY, "milan.3")


def extension(shown: x509.Certificate, kind: type[x509.ExtensionType]) -> x509.Extension[x509.ExtensionType]:
    return shown.extensions.get_extension_for_class(kind)


def test_the_chain_is_as_rfc_5280_wants_it(ground: Ground) -> None:
    granted = ground.authority.enrol("milan", csr())
    leaf, below = x509.load_pem_x509_certificates(granted.chain)
    root = x509.load_pem_x509_certificate(granted.root)
    for shown, issuer, depth, ca in ((leaf, below, None, False), (below, root, 0, True), (root, root, 1, True)):
        shown.verify_directly_issued_by(issuer)
        basic = extension(shown, x509.BasicConstraints)
        assert basic.critical
        assert basic.value == x509.BasicConstraints(ca=ca, path_length=depth)
        usage = extension(shown, x509.KeyUsage)
        assert usage.critical
        assert isinstance(usage.value, x509.KeyUsage)
        assert usage.value.key_cert_sign is usage.value.crl_sign is ca
        assert usage.value.digital_signature is usage.value.key_agreement is not ca
        assert extension(shown, x509.AuthorityKeyIdentifier).value.key_identifier == extension(issuer, x509.SubjectKeyIdentifier).value.key_identifier  # type: ignore[attr-defined]  # fmt: skip
        assert shown.not_valid_before_utc >= issuer.not_valid_before_utc
        assert shown.not_valid_after_utc <= issuer.not_valid_after_utc
        assert 1 <= shown.serial_number < 2**128
        assert isinstance(shown.signature_hash_algorithm, hashes.SHA384)
    for authority in (root, below):
        assert certificates.public_key(authority).curve.name == "secp384r1"
    assert extension(leaf, x509.ExtendedKeyUsage).value == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    shown = certificate(ground.paths.server.read_bytes())
    assert shown is not None
    assert extension(shown, x509.ExtendedKeyUsage).value == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    assert certificates.name_of(shown) == certificates.SERVER_NAME


def test_an_edge_a_day_behind_takes_its_certificate(ground: Ground) -> None:
    granted = ground.authority.enrol("milan", csr())
    for shown in x509.load_pem_x509_certificates(granted.chain + granted.root):
        assert shown.not_valid_before_utc <= START - DAY


def test_the_name_is_ours_whatever_the_request_says(ground: Ground) -> None:
    asked = x509.BasicConstraints(ca=True, path_length=None)
    granted = ground.authority.enrol("milan", csr(change=lambda made: made.add_extension(asked, critical=True)))
    assert granted.issued.name == f"milan.{granted.issued.serial[:8]}"
    assert certificates.site_of(granted.issued.name) == "milan"
    assert extension(granted.issued.certificate, x509.BasicConstraints).value == x509.BasicConstraints(False, None)
    assert certificates.site_of(certificates.SERVER_NAME) == ""


def refusal(request: bytes) -> str:
    with pytest.raises(InvalidError) as caught:
        public_key(request)
    fault = caught.value.faults[0]
    assert (fault.path, fault.error_id) == ("csr", "bad_csr")
    assert "P-256" in fault.hint
    return fault.message


def other(key: rsa.RSAPrivateKey | dsa.DSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    hash = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hash)  # type: ignore[arg-type]
    return made.public_bytes(serialization.Encoding.PEM)


def test_requests_that_are_refused() -> None:
    assert "RSA" in refusal(other(rsa.generate_private_key(65537, 2048)))
    assert "Ed25519" in refusal(other(ed25519.Ed25519PrivateKey.generate()))
    for curve in (ec.SECP521R1(), ec.SECP224R1(), ec.SECP256K1(), ec.BrainpoolP256R1()):
        assert curve.name in refusal(csr(ec.generate_private_key(curve)))
    assert "hash" in refusal(csr(hash=hashes.SHA224()))
    assert "can be read" in refusal(b"")
    assert "can be read" in refusal(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")
    assert str(MAX_BYTES) in refusal(GOOD + b"x" * MAX_BYTES)
    key = ec.generate_private_key(ec.SECP256R1())
    assert "travelled" in refusal(certificates.key_pem(key) + csr(key))


def test_a_request_signed_by_another_key_is_refused() -> None:
    mine, theirs = (x509.load_pem_x509_csr(csr(ec.generate_private_key(ec.SECP256R1()))) for _ in range(2))
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    forged = mine.public_bytes(serialization.Encoding.DER).replace(
        mine.public_key().public_bytes(*spki), theirs.public_key().public_bytes(*spki)
    )
    request = x509.load_der_x509_csr(forged).public_bytes(serialization.Encoding.PEM)
    assert "isn't signed" in refusal(request)


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_a_damaged_request_is_refused_or_still_the_same_key(at: int, put: bytes, cut: int) -> None:
    damaged = GOOD[:at] + put + GOOD[at + cut :]
    try:
        key = public_key(damaged)
    except InvalidError:
        return
    assert certificates.fingerprint(key) == certificates.fingerprint(public_key(GOOD))


@given(st.binary(max_size=400))
def test_garbage_is_refused(garbage: bytes) -> None:
    refusal(garbage)


def test_tls_crypt_keys_tell_who_they_are_for() -> None:
    assert tls_crypt.metadata_of(SERVER_KEY, CLIENT_KEY) == "milan.3"
    assert tls_crypt.metadata_of(tls_crypt.new_server_key(), CLIENT_KEY) is None
    assert tls_crypt.new_client_key(SERVER_KEY, "milan.3") != CLIENT_KEY
    assert tls_crypt.is_server_key(SERVER_KEY)
    assert not tls_crypt.is_server_key(CLIENT_KEY)
    assert max(map(len, CLIENT_KEY.splitlines())) <= 64


@given(st.integers(0, len(CLIENT_KEY) - 1), st.binary(max_size=2), st.integers(0, 2))
def test_a_damaged_tls_crypt_key_is_none_or_the_same(at: int, put: bytes, cut: int) -> None:
    found = tls_crypt.metadata_of(SERVER_KEY, CLIENT_KEY[:at] + put + CLIENT_KEY[at + cut :])
    assert found in (None, "milan.3")


def test_a_damaged_server_key_is_an_error() -> None:
    for damaged in (
        b"",
        SERVER_KEY[:-40],
        SERVER_KEY.replace(b"server", b"client"),
        SERVER_KEY[:60] + SERVER_KEY[120:],
    ):
        with pytest.raises(ValueError):
            tls_crypt.new_client_key(damaged, "milan.1")


MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, st.timedeltas(timedelta(1), timedelta(10000)), MOMENTS)
def test_nothing_outlives_its_issuer_and_renewal_comes_before_the_alarm(
    now: datetime, lasts: timedelta, issuer: datetime
) -> None:
    ends = lifetimes.end(now, lasts, issuer)
    assert ends <= issuer
    assert ends <= now + lasts
    if now < ends:
        assert now < lifetimes.due(now, ends) < lifetimes.urgent(now, ends) < ends
    assert lifetimes.list_due(now) < lifetimes.list_urgent(now) < now
