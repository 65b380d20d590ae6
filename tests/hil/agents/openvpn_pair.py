"""An OpenVPN server and its clients on hosts of the test network, with static certificates of a throw-away authority.

with Network() as net:
    server = Server(net.host("centre"), net.work / "centre", management_lines(…))
    server.start()
    branch = Client(net.host("branch"), server, "milan")
    branch.start()

For tests of what OpenVPN tells at its management interface: nothing of the product is in it, it is a peer that speaks IPv4 and IPv6 and is
started and ended at will. Whom our certificates let in: `openvpn`; the whole product: `branches`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.engine.processes import urgent
from tests.hil.agents.network import Host
from tests.hil.agents.process import AgentError, Child, eventually

DAY = timedelta(days=1)
PORT = 1194


class Authority:
    """Issues certificates of servers and clients: files in one directory."""

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place = place
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = place / "ca.crt"
        self._write("ca", "Test authority", self._key, self._key.public_key(), None)

    def _write(
        self, file: str, name: str, key: ec.EllipticCurvePrivateKey, public: ec.EllipticCurvePublicKey,
        usage: x509.ObjectIdentifier | None,
    ) -> None:  # fmt: skip
        now, subject = datetime.now(UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        ours = usage is None
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=ours, path_length=0 if ours else None), critical=True)
            .add_extension(
                x509.KeyUsage(not ours, False, False, False, not ours, ours, ours, False, False), critical=True
            )
        )
        if usage is not None:
            made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        pem = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        (self.place / f"{file}.crt").write_bytes(pem)
        private = self.place / f"{file}.key"
        private.touch(mode=0o600)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        private.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))

    def issue(self, name: str, usage: x509.ObjectIdentifier) -> list[str]:
        """The lines of a configuration that bring a certificate of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(name, name, key, key.public_key(), usage)
        files = {"ca": self.certificate, "cert": self.place / f"{name}.crt", "key": self.place / f"{name}.key"}
        return [f'{option} "{path}"' for option, path in files.items()]


class _Daemon:
    """One OpenVPN process from a configuration file; may be started again after its end."""

    def __init__(self, host: Host, place: Path, name: str, lines: list[str]) -> None:
        self.host, self.name = host, name
        self.config = place / f"{name}.conf"
        self.log = place / f"{name}.log"
        self.config.write_text("".join(f"{line}\n" for line in lines))
        self.child: Child | None = None
        host.net.at_close(self.stop)

    def start(self, until: str = "Initialization Sequence Completed") -> None:
        """Start it and wait until its log says ``until``; empty: don't wait."""
        begun = self.log.stat().st_size if self.log.exists() else 0
        self.child = child = self.host.start([*urgent(), "openvpn", "--config", str(self.config)], self.log)

        def said() -> bool:
            if not child.running:
                raise AgentError(f"openvpn ended:\n{child.text()[-2000:]}")
            return until in child.text()[begun:]

        eventually(said, f"{self.name} says {until!r}; it says {child.text()[-2000:]}")

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()


class Server(_Daemon):
    """A server for IPv4 and IPv6, transport and payload. ``more``: further lines, those of the management for one."""

    def __init__(self, host: Host, place: Path, *more: str, networks: dict[str, str] | None = None) -> None:
        """``networks``: common name → what its client configuration says, ``iroute …``."""
        self.authority = Authority(place)
        clients = place / "clients"
        clients.mkdir()
        for name, line in (networks or {}).items():
            (clients / name).write_text(f"{line}\n")
        lines = [
            "dev tun", "proto udp6", f"port {PORT}", "topology subnet", "verb 3",
            "server 10.99.0.0 255.255.255.0", "server-ipv6 fd00:99::/64", "keepalive 1 5", "dh none",
            f'client-config-dir "{clients}"', *self.authority.issue("server", ExtendedKeyUsageOID.SERVER_AUTH), *more,
        ]  # fmt: skip
        super().__init__(host, place, "server", lines)


class Client(_Daemon):
    """A client of a server, by IPv4 or by IPv6."""

    def __init__(self, host: Host, server: Server, name: str, *, ipv6: bool = False) -> None:
        address = server.host.address6 if ipv6 else server.host.address
        lines = [
            "client", "dev tun", "nobind", f"remote {address} {PORT} {'udp6' if ipv6 else 'udp4'}", "verb 3",
            "remote-cert-tls server", "push-peer-info", "connect-retry 1 1",
            *server.authority.issue(name, ExtendedKeyUsageOID.CLIENT_AUTH),
        ]  # fmt: skip
        super().__init__(host, server.config.parent, name, lines)
