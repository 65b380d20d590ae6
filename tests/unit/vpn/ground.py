"""What the tests of the voice VPN's authority stand on: a real directory, a clock that can be set, edges with keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.clock import Moment
from appliance.paths import VpnPaths
from appliance.vpn.pki import Authority
from appliance.vpn.pki.vault import lists

START = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PASSPHRASE = "granite walnut saddle violet"


@dataclass
class SetClock:
    now: datetime = START

    def __call__(self) -> Moment:
        return Moment(int(self.now.timestamp() * 1000), 0, "boot")

    def pass_(self, time: timedelta) -> None:
        self.now += time


class Killed(BaseException):
    """As if the process had been killed there: nothing that tidies up catches it."""


def csr(
    key: ec.EllipticCurvePrivateKey | None = None,
    hash: hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | None = None,
    change: Callable[[x509.CertificateSigningRequestBuilder], x509.CertificateSigningRequestBuilder] = lambda made: (
        made
    ),
) -> bytes:
    """A request as an edge makes it; the name in it says that it is somebody else."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "centralino-vpn-server")])
    made = change(x509.CertificateSigningRequestBuilder().subject_name(name))
    signed = made.sign(key or ec.generate_private_key(ec.SECP256R1()), hash or hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


class Ground:
    """An authority in a directory of its own."""

    def __init__(self, directory: Path, *, made: bool = True) -> None:
        self.clock = SetClock()
        self.paths = VpnPaths(directory / "vpn")
        self.authority = Authority(self.paths, self.clock)
        if made:
            self.authority.create()

    def again(self) -> Authority:
        """As another process finds it."""
        self.authority = Authority(self.paths, self.clock)
        return self.authority

    def listed(self) -> set[str]:
        """Serials on all lists that OpenVPN has."""
        return {f"{each.serial_number:032x}" for one in self.crls() for each in one}

    def crls(self) -> list[x509.CertificateRevocationList]:
        return lists(self.paths.crl.read_bytes())

    def admitted(self) -> set[str]:
        return {path.name for path in self.paths.admitted.iterdir()}

    def alarms(self) -> set[str]:
        return {each.error_id for each in self.authority.faults()}
