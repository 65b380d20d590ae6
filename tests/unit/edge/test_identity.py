"""An edge's identity: a key that stays, what is granted for it put in force whole, killed or full at any moment."""

from __future__ import annotations

import dataclasses
import stat
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from cryptography import x509

from appliance.applier import files
from appliance.core.errors import CentralinoError, CorruptError, InvalidError, RefusedError
from appliance.edge.identity import RENEWAL, Identity
from appliance.edge.paths import EdgePaths
from appliance.edge.states import Trial
from appliance.vpn.pki import Granted, certificates
from appliance.vpn.pki.requests import load_private, public_key
from appliance.vpn.slices import signed
from tests.unit.edge.slices import a_slice, enrolled, install
from tests.unit.vpn.ground import Ground, Killed, csr
from tests.unit.vpn.trap import TRAP

TRIAL = Trial("000001", "boot", 60_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here cuts the power."""
    monkeypatch.setattr(files.os, "fsync", lambda _handle: None)


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity(EdgePaths(tmp_path / "edge"))


def test_the_key_stays_the_same_until_it_is_installed_and_nobody_else_can_read_it(
    identity: Identity, ground: Ground
) -> None:
    assert identity.current is None
    first, again = identity.prepare(), Identity(EdgePaths(identity.states.paths.top)).prepare()
    key = public_key(first)
    assert certificates.fingerprint(public_key(again)) == certificates.fingerprint(key)
    assert key.curve.name == "secp384r1"
    granted = ground.authority.enrol("milan", first)
    state = install(identity, ground, granted, a_slice())
    assert (state.site, state.slice, state.trial) == ("milan", a_slice(), None)
    assert state.certificate == granted.issued.certificate
    assert certificates.fingerprint(public_key(identity.prepare())) != certificates.fingerprint(key)
    top = identity.states.paths.top
    assert not [path for path in top.rglob("*") if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert stat.S_IMODE(top.stat().st_mode) == 0o700


def test_a_key_that_waits_can_be_abandoned_and_a_damaged_one_is_replaced(identity: Identity) -> None:
    first = public_key(identity.prepare())
    identity.abandon()
    second = public_key(identity.prepare())
    assert certificates.fingerprint(first) != certificates.fingerprint(second)
    path = identity.states.paths.pending / "enrolment.key"
    path.write_bytes(b"garbage")
    identity.prepare()
    assert load_private(path.read_bytes()) is not None
    path.chmod(0o640)
    with pytest.raises(CorruptError) as told:
        identity.prepare()
    assert told.value.error_id == "key_exposed"


def wrong(ground: Ground, granted: Granted, tmp_path: Path) -> dict[str, tuple[Granted, bytes]]:
    """What doesn't belong together, by the error that it has to give."""
    other = Ground(tmp_path / "other")
    theirs = other.authority.enrol("milan", csr())
    neighbour = ground.authority.enrol("rome", csr())
    slice, foreign = (signed(a_slice(), each.authority.signer()) for each in (ground, other))
    leaf, _, rest = granted.chain.partition(b"-----END CERTIFICATE-----\n")
    leaf += b"-----END CERTIFICATE-----\n"
    replace = dataclasses.replace
    server = ground.paths.server.read_bytes()
    return {
        "bad_authority": (replace(granted, root=b"garbage"), slice),
        "bad_authority 2": (replace(granted, root=granted.chain), slice),
        "bad_authority 3": (replace(granted, root=rest), slice),
        "bad_certificate": (replace(granted, chain=neighbour.chain), slice),
        "bad_certificate 2": (replace(granted, root=theirs.root), slice),
        "bad_certificate 3": (replace(granted, chain=leaf), slice),
        "bad_certificate 4": (replace(granted, chain=server), slice),
        "bad_certificate 5": (replace(granted, chain=leaf + leaf), slice),
        "bad_tunnel_key": (replace(granted, tls_crypt_key=b"garbage"), slice),
        "bad_tunnel_key 2": (
            replace(granted, tls_crypt_key=(ground.paths.ca / "tls-crypt-v2.key").read_bytes()),
            slice,
        ),
        "bad_signature": (granted, foreign),
        "bad_signature 2": (granted, slice.replace(b"signature", b"signs")),
        "bad_slice": (granted, signed(a_slice("rome"), ground.authority.signer())),
    }


def test_what_does_not_belong_together_is_refused_and_the_key_goes_on_waiting(
    identity: Identity, ground: Ground, tmp_path: Path
) -> None:
    request = identity.prepare()
    granted = ground.authority.enrol("milan", request)
    for error_id, (each, slice) in wrong(ground, granted, tmp_path).items():
        with pytest.raises(InvalidError) as told:
            identity.install(each.chain, each.root, each.tls_crypt_key, slice)
        assert told.value.error_id == error_id.split(" ")[0], (error_id, told.value)
        assert identity.current is None
    assert install(identity, ground, granted, a_slice()).site == "milan"
    with pytest.raises(RefusedError) as refused:
        install(identity, ground, granted, a_slice())
    assert refused.value.error_id == "no_pending_key"


def test_a_renewal_is_on_trial_and_goes_back_or_stays(ground: Ground, tmp_path: Path) -> None:
    identity = enrolled(tmp_path, ground)
    first = identity.current
    assert first is not None
    ground.clock.now = ground.authority.issued("milan")[0].due
    serial = certificates.hexadecimal(first.certificate.serial_number)
    granted = ground.authority.renew(serial, identity.prepare(RENEWAL))
    trial = dataclasses.replace(TRIAL, previous=first.name)
    second = identity.renewed(granted.chain, granted.tls_crypt_key, trial)
    assert (second.certificate, second.slice, second.trial) == (granted.issued.certificate, first.slice, trial)
    states = identity.states
    with states.lock():
        states.roll_back(trial)
    assert identity.current == first
    # Another key: the first had been installed. The centre takes it after an hour.
    ground.clock.pass_(timedelta(hours=2))
    again = ground.authority.renew(serial, identity.prepare(RENEWAL))
    third = identity.renewed(again.chain, again.tls_crypt_key, trial)
    with states.lock():
        states.confirm(third.name)
    assert identity.current == dataclasses.replace(third, trial=None)
    assert sorted(path.name for path in states.paths.states.iterdir()) == [third.name, "current"]


def test_damage_is_told_and_nothing_is_thrown_away(ground: Ground, tmp_path: Path) -> None:
    identity = enrolled(tmp_path, ground)
    state = identity.current
    assert state is not None
    for name in ("identity.pem", "root.crt", "tunnel.key", "slice.json"):
        kept = (state.path / name).read_bytes()
        for damage in (b"", b"garbage", kept[: len(kept) // 2]):
            (state.path / name).write_bytes(damage)
            with pytest.raises(CorruptError):
                _ = identity.current
        (state.path / name).write_bytes(kept)
    identity.states.paths.current.unlink()
    with pytest.raises(CorruptError) as told:
        _ = identity.current
    assert told.value.error_id == "state_damaged"
    # Enrolled again, it is whole again.
    granted = ground.authority.enrol("milan", identity.prepare())
    assert install(identity, ground, granted, a_slice()).name == "000002"
    assert identity.current is not None


class Spare:
    """An edge of one site that is made another site's: before, nothing of the other; afterwards nothing of the one."""

    def __init__(self, directory: Path, ground: Ground) -> None:
        self.identity = enrolled(directory, ground)
        self.former = self.identity.current
        self.granted = ground.authority.enrol("rome", self.identity.prepare())
        self.slice = signed(a_slice("rome"), ground.authority.signer())

    def install(self) -> None:
        granted = self.granted
        self.identity.install(granted.chain, granted.root, granted.tls_crypt_key, self.slice)

    def whole(self) -> None:
        now = self.identity.current
        assert now is not None
        assert now.site in ("milan", "rome")
        leaf: x509.Certificate = self.granted.issued.certificate
        assert now == self.former or (now.certificate, now.slice) == (leaf, a_slice("rome"))


def test_killed_at_any_moment_of_an_installation(ground: Ground, tmp_path: Path) -> None:
    for at in count(1):
        spare = Spare(tmp_path / str(at), ground)
        try:
            with TRAP.set(spare.identity.states.paths.top, at, full=False):
                spare.install()
        except Killed:
            spare.whole()
            try:
                spare.install()
            except RefusedError as error:  # it was installed, and the key is dropped
                assert error.error_id == "no_pending_key"  # noqa: PT017
        now = spare.identity.current
        assert now is not None
        assert now.site == "rome"
        spare.identity.prepare()
        if TRAP.seen < at:
            break
    assert at > 10


def test_a_disk_that_is_full_from_any_moment_on(ground: Ground, tmp_path: Path) -> None:
    refused = 0
    for at in count(1):
        spare = Spare(tmp_path / str(at), ground)
        try:
            with TRAP.set(spare.identity.states.paths.top, at, full=True):
                spare.install()
        except CentralinoError as error:
            assert error.error_id == "disk_full"  # noqa: PT017
            refused += 1
            assert not list(spare.identity.states.paths.top.rglob("*.new")), "drafts take no room"
            assert spare.identity.current == spare.former
            spare.install()
        spare.whole()
        if TRAP.seen < at:
            break
    assert refused > 3
