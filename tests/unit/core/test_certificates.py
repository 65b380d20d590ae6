"""Certificates in the document: PEM in, the same PEM out, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from appliance.core.fields import CERTIFICATES_MAX, PemCertificates

FIELD: TypeAdapter[str] = TypeAdapter(PemCertificates)


def certificate(name: str) -> tuple[str, str]:
    """PEM of a self-signed certificate, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


ONE, KEY = certificate("one")
OTHER, _ = certificate("other")


def test_what_openssl_writes_is_kept_as_it_is() -> None:
    assert FIELD.validate_python(ONE) == ONE
    assert FIELD.validate_python(ONE + OTHER) == ONE + OTHER
    assert len(x509.load_pem_x509_certificates(FIELD.validate_python(ONE + OTHER).encode())) == 2


def test_comments_line_ends_and_repetitions_don_t_matter() -> None:
    browser = f"  subject=CN = one\r\n{ONE}\n\nissuer=…\n{OTHER}{ONE}".replace("\n", "\r\n")
    assert FIELD.validate_python(browser) == ONE + OTHER
    assert FIELD.validate_python(ONE.replace("\n", " ")) == ONE  # as one line, as some consoles paste it


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no certificate"),
        ("MIIB", "holds no certificate"),
        (ONE.replace("CERTIFICATE", "PUBLIC KEY"), "holds no certificate"),
        (ONE + KEY, "holds a private key"),
        (ONE.replace("MII", "XII", 1), "can't be read"),
        (OTHER + ONE[:-60] + ONE[-28:], "number 2"),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", "can't be read"),
        (ONE * 600, "at most 200000"),
    ],
)
def test_anything_else_is_refused_and_named(text: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        FIELD.validate_python(text)
    assert KEY.splitlines()[1] not in str(caught.value.errors(include_input=False, include_context=False))


def test_too_many_are_refused() -> None:
    many = "".join(certificate(f"number {number}")[0] for number in range(CERTIFICATES_MAX + 1))
    with pytest.raises(ValidationError, match="more than"):
        FIELD.validate_python(many)


@given(st.text() | st.text(alphabet="-BEGINCRTFAD \n=+/x"))
def test_no_text_breaks_it(text: str) -> None:
    try:
        found = FIELD.validate_python(text)
    except ValidationError:
        return
    assert FIELD.validate_python(found) == found
