"""Real OpenVPN on the hosts of a test network: a server, and clients that get in or don't.

    server = Server(host, work, lines)             # running when this returns
    client = Client(host, work, "milan", server, lines)
    client.in_time()                               # or: client.refused()

The tunnel's addresses are 203.0.113.0/24; the server is 203.0.113.1. A client makes one attempt and ends when it fails.
For tests of whom OpenVPN lets in, with the product's certificates and no document: `openvpn_pair` needs no authority of ours, and keeps
dialling; `branches` is the whole product, whose keeper starts the daemons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.vpn.pki import Granted, client_lines
from tests.hil.agents.network import Host
from tests.hil.agents.process import AgentError, Child, eventually

UP = "Initialization Sequence Completed"
PORT = 1194
HAND_WINDOW_S = 2
INSIDE = "203.0.113.1"


def inline(name: str, content: bytes) -> str:
    """A file within the configuration."""
    return f"<{name}>\n{content.decode().strip()}\n</{name}>"


class Edge:
    """A branch's side: its key stays here."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.key_pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.csr = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .sign(self.key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    def lines(self, granted: Granted, tls_crypt_key: bytes | None = None) -> list[str]:
        return [
            *client_lines(), inline("ca", granted.root), inline("cert", granted.chain), inline("key", self.key_pem),
            inline("tls-crypt-v2", tls_crypt_key or granted.tls_crypt_key),
        ]  # fmt: skip


class Server:
    """`lines`: who it is and whom it believes; the rest is what every server of the tests has: it gives up root, too."""

    def __init__(self, host: Host, work: Path, lines: Sequence[str], port: int = PORT) -> None:
        self.host, self.port = host, port
        work.mkdir(parents=True, exist_ok=True)
        config = work / f"server-{port}.conf"
        own = [
            f"port {port}", "proto udp", "dev tun", "topology subnet", f"server 203.0.113.{0 if port == PORT else 128} 255.255.255.128",
            "data-ciphers AES-256-GCM", f"hand-window {HAND_WINDOW_S}", "connect-freq-initial 1000 1", "verb 3",
            "duplicate-cn", "user nobody", "group nogroup", "persist-key", "persist-tun",
        ]  # fmt: skip
        config.write_text("\n".join([*own, *lines]) + "\n")
        config.chmod(0o600)
        self.process = host.start(["openvpn", "--config", str(config)], work / f"server-{port}.log")
        _up(self.process, f"server on {host.name}")

    def log(self) -> str:
        return self.process.text()

    def says(self, pattern: str) -> None:
        """Wait until its log has a line with this pattern."""
        eventually(lambda: re.search(pattern, self.log()), f"server says {pattern}", 5)

    def stop(self) -> None:
        self.process.stop()


class Client:
    """One attempt to get in. `lines`: who it is and whom it believes."""

    def __init__(self, host: Host, work: Path, name: str, server: Server, lines: Sequence[str]) -> None:
        self.host, self.name = host, name
        work.mkdir(parents=True, exist_ok=True)
        config = work / f"{name}.conf"
        own = [
            "client", "nobind", "dev tun", f"remote {server.host.address} {server.port} udp", "connect-retry-max 1",
            "tls-exit", "remap-usr1 SIGTERM", f"hand-window {HAND_WINDOW_S}", "data-ciphers AES-256-GCM", "verb 3",
        ]  # fmt: skip
        config.write_text("\n".join([*own, *lines]) + "\n")
        config.chmod(0o600)
        log = work / f"{name}.log"
        log.unlink(missing_ok=True)
        self.process = host.start(["openvpn", "--config", str(config)], log)

    def log(self) -> str:
        return self.process.text()

    def in_time(self) -> None:
        """It gets in; AgentError if it doesn't."""
        _up(self.process, f"client {self.name}")

    def refused(self) -> str:
        """It doesn't get in: its log. AgentError if it does."""
        eventually(lambda: not self.process.running or UP in self.log(), f"client {self.name} in or out")
        if UP in self.log():
            raise AgentError(f"client {self.name} got in\n{self.log()[-2000:]}")
        return self.log()

    def stop(self) -> None:
        self.process.stop()


def _up(process: Child, what: str) -> None:
    eventually(lambda: UP in process.text() or not process.running, f"{what} up")
    if UP not in process.text():
        raise AgentError(f"{what} ended\n{process.text()[-3000:]}")
