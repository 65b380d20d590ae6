"""An edge's support bundle and the ends of its logs: all there is, whatever is broken, and none of its keys in any form."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import tarfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from appliance.clock import Moment
from appliance.core.errors import CentralinoError, UnavailableError
from appliance.edge import bundle_parts, logs
from appliance.edge.bundle import MANIFEST, MOST, made
from appliance.edge.identity import RENEWAL, Identity
from appliance.edge.journal import Event, Journal
from appliance.edge.paths import EdgePaths
from appliance.edge.redaction import GONE, Redaction
from appliance.edge.secrets_here import secrets_here
from appliance.edge.states import Trial
from appliance.edge.tunnel import config
from appliance.vpn.pki.requests import load_private
from appliance.vpn.pki.tls_crypt import relay_key
from tests.unit.edge.slices import LINES, enrolled
from tests.unit.vpn.ground import Ground

NOW = Moment(1_803_902_400_000, 5_000_000, "boot")
PARTS = {
    MANIFEST, "certificates.pem", "events.jsonl", "files.txt", "logs/openvpn.log", "logs/openvpn.log.0", "logs/relay.log", "logs/foreign/relay.log", "machine.json",
    "network/address.json", "network/neighbours.json", "network/nftables.txt", "network/routes-4.json", "network/routes-6.json", "network/rules-4.json",
    "network/rules-6.json", "slice.json", "status.json", "sysctl.txt", "versions.json",
}  # fmt: skip
TOLD: dict[str, Any] = {
    "enrolled": True,
    "site": "milan",
    "clock_sure": True,
    "faults": ["password=Zq-planted"],
    "changes": [],
}


@pytest.fixture
def identity(tmp_path: Path, ground: Ground) -> Identity:
    """An edge that is enrolled, has another certificate on trial, a third key that waits, and logs that say everything."""
    identity = enrolled(tmp_path, ground)
    first = identity.current
    assert first is not None
    ground.clock.pass_(timedelta(days=300))
    renewed = ground.authority.renew(f"{first.certificate.serial_number:032x}", identity.prepare(RENEWAL))
    identity.renewed(renewed.chain, renewed.tls_crypt_key, Trial(first.name, "boot", 1 << 60))
    identity.prepare()
    state = identity.current
    assert state is not None
    assert state.name != first.name
    paths = identity.states.paths
    for place in (paths.log, paths.run, paths.relay, paths.top / "foreign"):
        place.mkdir()
    (paths.run / "openvpn.conf").write_text(config(state, []))
    key = relay_key(state.material.tunnel_key).hex()
    (paths.relay / "config.json").write_text(json.dumps({"key": key, "lines": []}))
    journal = Journal(paths.journal)
    for number in range(3):
        journal.add(Event("line_down", NOW.wall - 5 + number, about={"line": number, "why": f"it had {key}"}))
    journal.delivered(1)
    said = "".join(f"octets {form}, the end\n" for each in secrets(paths) for form in forms(each))
    (paths.log / "openvpn.log").write_text(
        f"2027-03-01 12:00:00 peer 198.51.100.7\n{said}{config(state, [])}\nInitialization Sequence Completed\n"
    )
    (paths.log / "openvpn.log.0").write_text("an older one\n")
    (paths.log / "relay.log").write_text(f"path 0 is up {key}\n")
    (paths.top / "foreign" / "relay.log").write_text("path 1 is up\n")
    return identity


@pytest.fixture
def paths(identity: Identity) -> EdgePaths:
    return identity.states.paths


def secrets(paths: EdgePaths) -> set[bytes]:
    """Found in another way than the code that is tested finds them."""
    found: set[bytes] = set()
    for file in sorted([*paths.top.rglob("*.pem"), *paths.top.rglob("*.key")]):
        content = file.read_text()
        if file.name == "tunnel.key":
            key = base64.b64decode("".join(content.splitlines()[1:-1]))
            found |= {key[:256], key[:64], relay_key(content.encode())}
        else:
            private = load_private(content.encode())
            assert private is not None
            found.add(private.private_numbers().private_value.to_bytes(48, "big"))
    return found


def forms(secret: bytes) -> Iterator[str]:
    """Pieces that would do harm, as somebody may have written them."""
    yield from (secret.hex(), secret.hex().upper(), secret.hex(":"))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            text = encode(bytes(before) + secret).decode().rstrip("=")[4 if before else 0 : -2]
            yield from (text, "\n".join(text[at : at + 64] for at in range(0, len(text), 64)))


def opened(packed: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        members = archive.getmembers()
        assert all(
            (each.mtime, each.mode, each.uid, each.uname) == (NOW.wall // 1000, 0o600, 0, "") for each in members
        )
        streams = {each.name: archive.extractfile(each) for each in members}
        return {name: stream.read().decode() for name, stream in streams.items() if stream is not None}


def dense(text: str) -> str:
    return re.sub(r"\\[nrt]|[\s\\\"',:]", "", text)


def test_all_of_it_is_there_and_none_of_its_keys(paths: EdgePaths) -> None:
    found = opened(made(paths, TOLD, now=NOW))
    assert set(found) == PARTS
    hidden = secrets(paths)
    assert len(hidden) == 3 + 2 * 3, "of two states, and a key that waits"
    for name, text in found.items():
        small, all_of_it = dense(text).lower(), dense(text).replace("-", "+").replace("_", "/")
        for secret in hidden:
            for form in forms(secret):
                for piece in {dense(form)[:40], dense(form)[-40:]}:
                    assert piece.lower() not in small if re.fullmatch("[0-9a-fA-F]+", piece) else True, name
                    assert piece.replace("-", "+").replace("_", "/") not in all_of_it, name
        assert "PRIVATE KEY" not in text
        assert "Zq-planted" not in text
    log = found["logs/openvpn.log"]
    assert log.startswith("2027-03-01 12:00:00 peer 198.51.100.7\n"), "all else is there"
    assert log.endswith("Initialization Sequence Completed\n")


def test_each_part_says_what_it_is_to_say(paths: EdgePaths, identity: Identity) -> None:
    found = opened(made(paths, TOLD, now=NOW))
    state = identity.current
    assert state is not None
    assert json.loads(found["status.json"]) == TOLD | {"faults": [f"password={GONE}"]}
    events = [json.loads(line) for line in found["events.jsonl"].splitlines()]
    assert [(each["number"], each["about"]["why"]) for each in events] == [
        (3, f"it had {GONE}"),
        (2, f"it had {GONE}"),
        (1, f"it had {GONE}"),
    ]
    slice = json.loads(found["slice.json"])
    assert slice == {"state": state.name, "on_trial": True, **state.slice.model_dump(mode="json")}, (
        "it holds no key: nothing was taken out"
    )
    assert slice["openvpn"] == list(LINES)
    chain = found["certificates.pem"].encode()
    assert chain.count(b"-----BEGIN CERTIFICATE-----") == 3
    assert state.certificate.public_bytes(serialization.Encoding.PEM) in chain
    machine = json.loads(found["machine.json"])
    assert machine["clock"]["now"] == "2027-03-01T12:00:00+00:00"
    assert machine["clock"]["sure"] is True
    assert machine["up_s"] == 5000
    assert machine["disks"][str(paths.top)]["free"] > 0
    assert set(machine["memory"]) == {"MemTotal", "MemAvailable", "SwapTotal", "SwapFree"}
    versions = json.loads(found["versions.json"])
    assert versions["openvpn"].startswith("OpenVPN 2.")
    assert versions["kernel"].startswith(os.uname().release)
    assert {each["ifname"] for each in json.loads(found["network/address.json"])} >= {"lo"}
    assert [each["priority"] for each in json.loads(found["network/rules-4.json"])][:1] == [0]
    assert "net.ipv4.ping_group_range = " in found["sysctl.txt"]
    assert "net.ipv4.conf.all.rp_filter = " in found["sysctl.txt"]
    line = next(line for line in found["files.txt"].splitlines() if f"{state.name}/tunnel.key'" in line)
    assert line.startswith("-rw------- ")
    assert f" {(state.path / 'tunnel.key').stat().st_size} " in line
    manifest = found[MANIFEST]
    assert all(f"\n{name} " in manifest for name in PARTS - {MANIFEST})
    assert manifest.endswith("What couldn't be read, and why:\nnothing: all there was\n")


def test_the_same_edge_at_the_same_time_gives_the_same_order(paths: EdgePaths) -> None:
    assert list(opened(made(paths, TOLD, now=NOW))) == [MANIFEST, *sorted(PARTS - {MANIFEST})]


def test_an_edge_that_never_was_and_no_agent(tmp_path: Path) -> None:
    found = opened(made(EdgePaths(tmp_path / "none"), {}, now=NOW))
    assert "network/address.json" in found
    assert not set(found) & {"slice.json", "status.json", "events.jsonl", "certificates.pem"}
    for name in (
        "status.json: no edge runs here",
        "slice.json: this edge isn't enrolled",
        "events.jsonl: No such file",
    ):
        assert f"\n{name}" in found[MANIFEST]
    assert not (tmp_path / "none").exists(), "nothing is made"


def test_what_is_broken_hinders_nothing_else(
    paths: EdgePaths, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = secrets(paths)
    state = identity.current
    assert state is not None
    whole = state.material.identity
    (state.path / "identity.pem").write_bytes(whole[: len(whole) // 9])
    (state.path / "tunnel.key").write_bytes(b"\xff garbage that may have been a key \x00")
    (paths.log / "relay.log").write_text(
        f"{whole[:200].decode()}\nand {base64.b64encode(min(hidden)).decode()}\n garbage that may have been a key"
    )
    paths.journal.write_bytes(b"garbage" * 2000)
    (paths.log / "openvpn.log").unlink()
    (paths.log / "openvpn.log").symlink_to("/etc/hostname")
    os.mkfifo(paths.log / "waits.log")
    (paths.relay / "config.json").write_text("{")

    def slow(argv: list[str], **_: Any) -> Any:
        if argv[0] == "ip":
            raise UnavailableError("ip didn't end within 5 s", error_id="command_timeout")
        return run(argv, **_)

    run = bundle_parts.run
    monkeypatch.setattr(bundle_parts, "run", slow)
    found = opened(made(paths, TOLD, now=NOW))
    lost = {
        "slice.json",
        "certificates.pem",
        "events.jsonl",
        "logs/openvpn.log",
        *(name for name in PARTS if name.startswith("network/") and name.endswith("json")),
    }
    assert set(found) == PARTS - lost
    for name in lost | {"logs/waits.log"}:
        assert f"\n{name}: " in found[MANIFEST], name
    assert "network/address.json: ip didn't end within 5 s" in found[MANIFEST]
    assert "may have been a key" not in found["logs/relay.log"]
    assert whole[30:100].decode() not in "".join(found.values())
    assert paths.journal.read_bytes() == b"garbage" * 2000, "whose it is puts it aside"


def test_a_part_in_which_a_key_is_left_is_left_out_and_named(paths: EdgePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Redaction, "text", lambda _self, text: text)
    found = opened(made(paths, {}, now=NOW))
    assert not {"logs/openvpn.log", "logs/relay.log"} & set(found)
    assert "logs/foreign/relay.log" in found
    for name in ("logs/openvpn.log", "logs/relay.log"):
        assert f"{name}: left out, for a key of this edge was still in it" in found[MANIFEST]


def test_it_is_never_too_large_and_logs_keep_their_ends(paths: EdgePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        noise = base64.b85encode(os.urandom(300_000)).decode()
        text = "\n".join(noise[at : at + 70] for at in range(0, len(noise), 70))
        (paths.log / f"openvpn.log.{number}").write_text(f"{text}\nthe end of {number}\n")
    packed = made(paths, TOLD, now=NOW)
    assert 1 << 20 < len(packed) <= MOST
    found = opened(packed)
    assert found["logs/openvpn.log.7"].endswith("\nthe end of 7\n")
    assert "(only the end of it)" in found[MANIFEST]
    assert set(found) >= PARTS
    assert "logs/openvpn.log.39: it is one of too many" in found[MANIFEST]
    assert len(gzip.decompress(packed)) < 32 << 20


def test_its_secrets_are_all_found_and_what_is_closed_is_told(paths: EdgePaths) -> None:
    found, troubles = secrets_here(paths)
    assert troubles == []
    for each in secrets(paths):
        assert any(each in known for known in found)
    state = min(paths.states.glob("[0-9]*/tunnel.key"))
    state.unlink()
    state.symlink_to(paths.lock)
    assert [each.split(",")[-1].strip() for each in secrets_here(paths)[1]] == [str(state)]


def test_the_ends_of_logs(paths: EdgePaths) -> None:
    assert logs.names(paths) == ["openvpn", "relay", "foreign"]
    assert logs.tail(paths, "relay", 5) == [f"path 0 is up {GONE}"]
    assert logs.tail(paths, "openvpn", 1) == ["Initialization Sequence Completed"]
    assert logs.tail(paths, "openvpn", 0) == []
    whole = "\n".join(logs.tail(paths, "openvpn", 10_000))
    assert not Redaction(secrets(paths)).holds(whole)
    (paths.log / "relay.log").write_text("x" * logs.LOOKED_AT + "\nlast\n")
    assert logs.tail(paths, "relay", 5) == ["last"]
    (paths.log / "relay.log").unlink()
    for name in ("relay", "../identity", "agent"):
        with pytest.raises(CentralinoError) as caught:
            logs.tail(paths, name, 5)
        assert caught.value.error_id == "no_log"
        assert caught.value.hint == "there are: openvpn, foreign"
    (paths.log / "dhcp-wan.log").write_text("udhcpc: lease of 192.0.2.9 obtained\n")
    assert logs.names(paths)[-1] == "dhcp-wan"
    assert logs.tail(paths, "dhcp-wan", 5) == ["udhcpc: lease of 192.0.2.9 obtained"]


def test_a_log_is_followed_through_keys_half_lines_and_its_new_beginning(
    paths: EdgePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = paths.log / "relay.log"
    file.write_text("one\ntwo\nhal")
    monkeypatch.setattr(logs.time, "sleep", lambda _s: None)
    comes = logs.followed(paths, "relay", 1)

    def said(text: str) -> list[str]:
        with file.open("a") as stream:
            stream.write(text)
        return next(comes)

    assert next(comes) == ["two"]
    assert next(comes) == []
    assert said("f\nthree") == ["half"]
    assert said("\n-----BEGIN PRIVATE KEY-----\nQUJD\n") == [], "until its end is there"
    assert said("REVG\n") == []
    assert said("-----END PRIVATE KEY-----\nfour\n") == ["three", GONE, "four"]
    assert said("-----BEGIN X-----\n" + "QUJD\n" * (logs.HELD // 5)) == [GONE], "too long to wait for"
    assert said("REVG\n-----END X-----\nfive\n") == [GONE, "five"]
    file.write_text("new\n")
    assert next(comes) == ["new"]
    assert said("") == []
    file.unlink()
    assert next(comes) == []
    file.write_text("x\n")
    assert next(comes) == ["x"]


def test_a_log_that_is_written_while_it_is_read(paths: EdgePaths) -> None:
    file = paths.log / "relay.log"
    file.write_text("")
    comes = logs.followed(paths, "relay", 10)
    assert next(comes) == []
    writer = threading.Thread(target=lambda: file.write_text("".join(f"line {n}\n" for n in range(5000))))
    writer.start()
    found: list[str] = []
    while len(found) < 5000:
        found += next(comes)
    writer.join()
    assert found == [f"line {n}" for n in range(5000)]
