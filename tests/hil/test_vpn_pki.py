"""Real OpenVPN believes whom our authority says it should, and nobody else."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.clock import Moment, system_clock
from appliance.edge.why import why
from appliance.engine import runner
from appliance.paths import CHECKOUT, VpnPaths
from appliance.vpn.pki import (
    Authority,
    Granted,
    Reason,
    Role,
    certificates,
    client_lines,
    server_lines,
    timekeeping,
    tls_crypt,
)
from appliance.vpn.pki.vault import Vault
from tests.hil.agents.network import Network
from tests.hil.agents.openvpn import INSIDE, PORT, UP, Client, Edge, Server, inline

DAY_MS = 86_400_000


class Shifted:
    """The machine's clock, some days off."""

    days = 0

    def __call__(self) -> Moment:
        now = system_clock()
        return Moment(now.wall + self.days * DAY_MS, now.uptime, now.boot)


class Ground:
    """An authority with a running server, and a host from which branches try."""

    def __init__(self, net: Network, work: Path) -> None:
        self.work = work
        self.clock = Shifted()
        self.authority = Authority(VpnPaths(work / "vpn"), self.clock)
        self.clock.days = -400
        self.authority.create()
        self.expired = self.enrolled("expired")
        self.former_server = self.authority.paths.server.read_bytes()
        self.clock.days = 0
        self.authority.upkeep()
        self.centre, self.branch = net.host("centre"), net.host("branch")
        self.server = Server(self.centre, work, server_lines(self.authority.paths))

    def enrolled(self, site: str, authority: Authority | None = None) -> tuple[Edge, Granted]:
        edge = Edge()
        return edge, (authority or self.authority).enrol(site, edge.csr)

    def impostor(self, content: bytes, port: int) -> Server:
        """A server that has stolen our tls-crypt-v2 key, and shows this certificate."""
        lines = [line for line in server_lines(self.authority.paths) if not line.startswith(("cert", "key"))]
        return Server(self.centre, self.work, [*lines, inline("cert", content), inline("key", content)], port=port)

    def future_server(self) -> bytes:
        """Key and certificate of a server that isn't valid for another day."""
        issuer, key = Vault(self.authority.paths, self.clock).intermediates()[1].issuer, certificates.new_key()
        begins = datetime.now(UTC) + timedelta(days=1)
        made = certificates.leaf(
            issuer, key.public_key(), Role.SERVER, certificates.SERVER_NAME, 7, begins, begins + timedelta(days=9)
        )
        return certificates.pem(made) + certificates.pem(issuer.certificate) + certificates.key_pem(key)

    def tries(self, name: str, lines: list[str], server: Server | None = None) -> Client:
        return Client(self.branch, self.work, name, server or self.server, lines)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """In a directory that OpenVPN gets into when it has given up root."""
    place = tempfile.TemporaryDirectory(prefix="centralino-vpn-")
    with place as work, pytest.MonkeyPatch.context() as patch, Network() as net:
        Path(work).chmod(0o711)
        patch.setattr(timekeeping, "RELEASED", timekeeping.RELEASED - timedelta(days=1000))
        yield Ground(net, Path(work))


def mixed(key: bytes, wrapped: bytes) -> bytes:
    """The secret of one tls-crypt-v2 key with the wrapped part of another."""

    def content(pem: bytes) -> bytes:
        return base64.b64decode(b"".join(pem.split(b"-----")[2].split()))

    text = base64.b64encode(content(key)[:256] + content(wrapped)[256:]).decode()
    label = "OpenVPN tls-crypt-v2 client key"
    return f"-----BEGIN {label}-----\n{text}\n-----END {label}-----\n".encode()


def test_who_gets_in_and_who_does_not(ground: Ground, tmp_path: Path) -> None:
    """All at once: each that is refused takes its server's silence or alert for an answer."""
    authority = ground.authority
    edge, good = ground.enrolled("milan")
    replaced = ground.enrolled("turin")
    ground.enrolled("turin")  # a cold spare: from now on the first edge is out, with its certificate and its key
    other_edge, other = ground.enrolled("rome")
    ground.clock.days = 5
    future = ground.enrolled("future")
    ground.clock.days = 0
    assert "clock_wrong" in {each.error_id for each in authority.upkeep().faults}
    authority.trust_clock()
    elsewhere = Authority(VpnPaths(tmp_path / "elsewhere"))
    elsewhere.create()
    foreign_edge, foreign = ground.enrolled("milan", elsewhere)
    server_pem = authority.paths.server.read_bytes()
    as_client = [*client_lines(), inline("ca", good.root), inline("cert", server_pem), inline("key", server_pem)]
    bad = {
        "expired": ground.expired[0].lines(ground.expired[1]),
        "not-yet-valid": future[0].lines(future[1]),
        "revoked": replaced[0].lines(replaced[1], good.tls_crypt_key),
        "foreign-certificate": foreign_edge.lines(foreign, good.tls_crypt_key),
        "foreign-root-too": [*client_lines(), inline("ca", good.root), *foreign_edge.lines(foreign, good.tls_crypt_key)[4:]],
        "server-as-client": [*as_client, inline("tls-crypt-v2", good.tls_crypt_key)],
        "another-servers-key": edge.lines(good, foreign.tls_crypt_key),
        "a-key-of-its-own-making": edge.lines(good, tls_crypt.new_client_key(tls_crypt.new_server_key(), "milan.1")),
        "withdrawn-key": edge.lines(good, replaced[1].tls_crypt_key),
        "others-wrapped-key": edge.lines(good, mixed(good.tls_crypt_key, other.tls_crypt_key)),
    }  # fmt: skip
    impostor = Server(
        ground.centre, ground.work,
        [line for line in server_lines(authority.paths) if not line.startswith(("cert", "key"))]
        + [inline("cert", other.chain), inline("key", other_edge.key_pem)], port=PORT + 1,
    )  # fmt: skip
    clients = {name: ground.tries(name, lines) for name, lines in bad.items()}
    clients["branch-as-server"] = ground.tries("branch-as-server", edge.lines(good), impostor)
    impostors = {
        name: ground.impostor(content, PORT + 2 + n)
        for n, (name, content) in enumerate({
            "expired-server": ground.former_server, "foreign-server": elsewhere.paths.server.read_bytes(),
            "future-server": ground.future_server(),
        }.items())
    }  # fmt: skip
    for name, each in impostors.items():
        clients[name] = ground.tries(name, edge.lines(good), each)
    inside = ground.tries("milan", edge.lines(good))
    inside.in_time()
    with ground.centre.socket() as listening, ground.branch.socket() as sending:
        listening.bind((INSIDE, 5060))
        listening.settimeout(2)
        sending.sendto(b"through the tunnel", (INSIDE, 5060))
        assert listening.recvfrom(100)[0] == b"through the tunnel"
    logs = {name: client.refused() for name, client in clients.items()}
    inside.stop()
    for each in (impostor, *impostors.values()):
        each.stop()
    log = ground.server.log()
    for name, reason in {
        "expired.": "certificate has expired", "future.": "certificate is not yet valid", "turin.": "certificate revoked",
        "centralino-vpn-server": "unsuitable certificate purpose",
    }.items():  # fmt: skip
        assert re.search(rf"VERIFY ERROR: depth=0, error={reason}: .*CN={re.escape(name)}", log), (
            f"{name}: {reason}\n{log}"
        )
    assert "unsuitable certificate purpose" in logs["branch-as-server"] or "VERIFY" in logs["branch-as-server"]
    assert "VERIFY ERROR" in logs["foreign-certificate"]
    assert "error=certificate has expired" in logs["expired-server"]
    for name, told in {
        "expired-server": "the centre's certificate has expired, by this edge's clock (is",
        "future-server": "the centre's certificate isn't valid yet, by this edge's clock (set",
        "foreign-server": "somebody who isn't this edge's centre answers (is", "foreign-certificate": "somebody who isn't this edge's centre",
        **dict.fromkeys(("expired", "not-yet-valid", "revoked", "foreign-root-too"), "the centre answers, but doesn't take this edge's certificate"),
        "branch-as-server": "what answers isn't this edge's centre (is", "withdrawn-key": "the centre is silent at all of its addresses (does",
    }.items():  # fmt: skip
        assert why(logs[name]).startswith(told), f"{name}: {why(logs[name])}\n{logs[name]}"
    assert log.count("TLS CRYPT V2 VERIFY SCRIPT ERROR") == 1
    for name in ("another-servers-key", "a-key-of-its-own-making", "others-wrapped-key", "withdrawn-key"):
        assert "VERIFY OK" not in logs[name], "it has seen no certificate"


def test_revoking_takes_effect_at_once_even_twice_in_a_second(ground: Ground) -> None:
    """OpenVPN reads the list again only when size or time of change differ, and keeps some lists of before."""
    authority = ground.authority
    edges = {site: ground.enrolled(site) for site in ("bari", "pisa", "como", "asti", "lecce")}
    for client in [ground.tries(site, edge.lines(granted)) for site, (edge, granted) in edges.items()]:
        client.in_time()
        client.stop()
    keep = edges["lecce"][1].tls_crypt_key  # so that the certificate alone decides
    for site in ("bari", "pisa", "como", "asti"):
        edge, granted = edges[site]
        authority.revoke_site(site, Reason.KEY_COMPROMISE)
        client = ground.tries(f"{site}-again", edge.lines(granted, keep))
        ground.server.says(rf"VERIFY ERROR: depth=0, error=certificate revoked: .*CN={granted.issued.name}")
        client.stop()
        assert UP not in client.log()
    again = ground.tries("lecce-again", edges["lecce"][0].lines(edges["lecce"][1]))
    again.in_time()
    again.stop()


def test_lists_that_were_lost_are_there_again_and_intermediates_come_and_go(ground: Ground) -> None:
    authority = ground.authority
    first_edge, first = ground.enrolled("ancona")
    gone_edge, gone = ground.enrolled("genoa")
    authority.revoke(gone.issued.serial)
    authority.paths.crl.write_bytes(b"garbage\n")
    authority.upkeep()
    refused = ground.tries("genoa", gone_edge.lines(gone, first.tls_crypt_key))
    ground.server.says(rf"certificate revoked: .*CN={gone.issued.name}")
    refused.stop()
    copy = authority.root.export("granite walnut saddle")
    authority.root.verify_copy(copy, "granite walnut saddle")
    authority.root.remove()
    assert authority.root.renew_intermediate(copy, "granite walnut saddle") == 2
    second_edge, second = ground.enrolled("trieste")
    assert (first.issued.issuer, second.issued.issuer) == (1, 2)
    for name, lines in (("ancona", first_edge.lines(first)), ("trieste", second_edge.lines(second))):
        client = ground.tries(name, lines)
        client.in_time()
        client.stop()
    authority.root.revoke_intermediate(1, copy=copy, passphrase="granite walnut saddle")
    thief = Vault(authority.paths, ground.clock).intermediates()[1].issuer
    forged = certificates.leaf(thief, first_edge.key.public_key(), Role.BRANCH, "ancona.stolen", 1, first.issued.begins, first.issued.ends)  # fmt: skip
    chain = certificates.pem(forged) + certificates.pem(thief.certificate)
    lines = first_edge.lines(replace(first, chain=chain), second.tls_crypt_key)
    refused = ground.tries("stolen", lines)
    ground.server.says(r"VERIFY ERROR: depth=1, error=certificate revoked: .* intermediate 1")
    refused.stop()
    assert authority.upkeep().server_renewed
    ground.server.stop()
    ground.server = Server(ground.centre, ground.work / "again", server_lines(authority.paths))
    client = ground.tries("trieste", second_edge.lines(second))
    client.in_time()
    client.stop()


def test_tls_crypt_keys_are_openvpns_own_format(tmp_path: Path) -> None:
    server, client = tmp_path / "server.key", tmp_path / "client.key"
    runner.run(["openvpn", "--genkey", "tls-crypt-v2-server", str(server)])
    metadata = base64.b64encode(b"milan.7").decode()
    making = ["openvpn", "--tls-crypt-v2", str(server), "--genkey", "tls-crypt-v2-client", str(client), metadata]
    runner.run(making)
    assert tls_crypt.metadata_of(server.read_bytes(), client.read_bytes()) == "milan.7"
    server.write_bytes(tls_crypt.new_server_key())
    runner.run(making)
    assert tls_crypt.metadata_of(server.read_bytes(), client.read_bytes()) == "milan.7"


def child(*arguments: str, before: tuple[str, ...] = ()) -> dict[str, object]:
    argv = [*before, sys.executable, "-m", "tests.hil.vpn_child", *arguments]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert not done.returncode, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_killed_at_every_checkpoint(tmp_path: Path) -> None:
    assert child("kill", str(tmp_path)) == {"missed": [], "wrong": []}


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    assert child("fill", str(tmp_path), before=("unshare", "--mount")) == {
        "enrol": "disk_full", "renew": "disk_full", "same": True,
        "upkeep": ["crl_stale", "disk_full", "root_not_exported"],
        "revoke": "done", "listed": True, "revoke without reserve": "disk_full",
        "revoke again": "done", "listed again": True, "healed": ["root_not_exported"], "reserve": True,
        "enrol again": "done",
    }  # fmt: skip
