"""Killed before any change of the file system, or the disk full from any on: whole, and it goes on where it stopped.

The test stops the authority at one change after the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.applier import files
from appliance.core.errors import CentralinoError, UnavailableError
from appliance.vpn.pki import Granted, Issued, issuing, vault
from appliance.vpn.pki.lists import unsound
from appliance.vpn.pki.tending import served
from appliance.vpn.pki.vault import Vault, lists
from tests.unit.vpn.ground import DAY, PASSPHRASE, START, Ground, Killed, csr
from tests.unit.vpn.trap import TRAP

SPARE, RENEWAL = (csr(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))


class Scene:
    """Two sites and a revoked certificate, and an hour at which one of the sites may renew."""

    def __init__(self, directory: Path) -> None:
        self.ground = Ground(directory)
        authority = self.ground.authority
        self.copy = authority.root.export(PASSPHRASE)
        self.gone = authority.enrol("rome", csr()).issued
        self.rome = authority.enrol("rome", csr()).issued
        self.milan = authority.enrol("milan", csr()).issued
        self.ground.clock.now = self.milan.due
        self.renewed = authority.renew(self.rome.serial, csr()).issued
        self.kept = directory.with_name("kept")
        shutil.copytree(self.ground.paths.top, self.kept)

    def reset(self) -> None:
        shutil.rmtree(self.ground.paths.top)
        shutil.copytree(self.kept, self.ground.paths.top)
        self.ground.again()
        self.ground.clock.now = self.milan.due

    @property
    def given(self) -> list[Issued]:
        return [self.gone, self.rome, self.milan, self.renewed]

    def whole(self) -> None:
        """What holds at any moment."""
        ground = Ground.__new__(Ground)
        ground.paths, ground.clock = self.ground.paths, self.ground.clock
        authority = ground.again()
        known = {each.serial for each in authority.issued()}
        assert {each.serial for each in self.given} <= known
        assert Vault(ground.paths, ground.clock).registry.damaged() == []
        assert self.gone.serial in ground.listed(), "what OpenVPN was told stays told"
        assert len(ground.crls()) >= 2
        assert served(Vault(ground.paths, ground.clock)) is not None
        assert not [path for path in ground.paths.ca.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]

    def in_order(self) -> None:
        """What holds after an upkeep that nothing hinders."""
        left = {each.error_id for each in self.ground.again().upkeep().faults}
        assert left <= {"root_not_exported", "intermediate_due"}
        own = Vault(self.ground.paths, self.ground.clock)
        assert unsound(own, self.ground.clock.now) == ""
        listed = {f"{each.serial_number:032x}" for one in self.ground.crls()[:-1] for each in one}  # without the root's
        assert listed == set(self.ground.authority.revoked())
        live = [each for each in self.ground.authority.issued() if each.serial not in self.ground.authority.revoked()]
        assert self.ground.admitted() == {f"{each.site}.{each.generation}" for each in live if each.site}
        assert not list(self.ground.paths.top.rglob("*.new"))


def enrol(scene: Scene) -> Granted:
    return scene.ground.authority.enrol("milan", SPARE)


def renew(scene: Scene) -> Granted:
    return scene.ground.authority.renew(scene.milan.serial, RENEWAL)


def confirm(scene: Scene) -> None:
    assert scene.ground.authority.confirm(scene.renewed.serial) == (scene.rome,)


def revoke(scene: Scene) -> None:
    assert scene.ground.authority.revoke(scene.milan.serial) == (scene.milan,)


def upkeep(scene: Scene) -> None:
    """A list and a server's certificate are due."""
    scene.ground.clock.now = scene.milan.due + 31 * DAY
    for fault in scene.ground.authority.upkeep().faults:
        if fault.error_id == "disk_full":
            raise UnavailableError(fault.message, fault.hint, error_id="disk_full")


def no_intermediate(scene: Scene) -> None:
    scene.ground.authority.root.revoke_intermediate(1, copy=scene.copy, passphrase=PASSPHRASE)


def root_away(scene: Scene) -> None:
    scene.ground.authority.root.verify_copy(scene.copy, PASSPHRASE)
    scene.ground.authority.root.remove()
    assert not scene.ground.authority.root.here


STEPS: dict[Callable[[Scene], object], Callable[[Scene], bool]] = {
    enrol: lambda scene: len(scene.ground.authority.living("milan")) == 1,
    renew: lambda scene: len(scene.ground.authority.living("milan")) == 2,
    confirm: lambda scene: scene.ground.authority.living("rome") == [scene.renewed],
    revoke: lambda scene: scene.ground.authority.living("milan") == [],
    upkeep: lambda scene: bool(scene.ground.authority.issued()),
    no_intermediate: lambda scene: scene.ground.authority.living("milan") == [],
    root_away: lambda scene: not (scene.ground.paths.ca / "root.key").exists(),
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(issuing, "RESERVE_BYTES", 100)
        return Scene(tmp_path_factory.mktemp("scene") / "state")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here cuts the power, or really fills the disk."""
    monkeypatch.setattr(files.os, "fsync", lambda _handle: None)
    for module in (vault, issuing):
        monkeypatch.setattr(module, "RESERVE_BYTES", 100)


def interrupted(scene: Scene, step: Callable[[Scene], object]) -> Iterator[int]:
    """The step killed before its first change, before its second, and so on until nothing is left to stop it."""
    for at in count(1):
        scene.reset()
        try:
            with TRAP.set(scene.ground.paths.top, at, full=False):
                step(scene)
        except Killed:
            yield at
        else:
            assert at > 3
            return


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_killed_at_any_moment(scene: Scene, step: Callable[[Scene], object]) -> None:
    for at in interrupted(scene, step):
        scene.whole()
        scene.ground.again()
        step(scene)
        assert STEPS[step](scene), at
        scene.in_order()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_disk_that_is_full_from_any_moment_on(scene: Scene, step: Callable[[Scene], object]) -> None:
    refused = 0
    for at in count(1):
        scene.reset()
        try:
            with TRAP.set(scene.ground.paths.top, at, full=True):
                step(scene)
        except CentralinoError as error:
            assert error.error_id == "disk_full"  # noqa: PT017 (some moments need no room)
            refused += 1
        scene.whole()
        assert not list(scene.ground.paths.ca.rglob("*.new")), "drafts take no room"
        step(scene)
        assert STEPS[step](scene), at
        scene.in_order()
        if TRAP.seen < at:
            break
    assert refused


def test_killed_while_the_authority_is_made(tmp_path: Path) -> None:
    for at in count(1):
        ground = Ground(tmp_path / str(at), made=False)
        try:
            with TRAP.set(ground.paths.top, at, full=False):
                ground.authority.create()
        except Killed:
            if not ground.again().exists:
                ground.authority.create()
        assert {each.error_id for each in ground.authority.upkeep().faults} == {"root_not_exported"}
        assert not list(ground.paths.top.rglob("*.new"))
        if TRAP.seen < at:
            break
    assert at > 20


def test_an_upkeep_alone_finishes_a_revocation(scene: Scene) -> None:
    """Nobody calls again: what was recorded reaches OpenVPN all the same."""
    for _ in interrupted(scene, revoke):
        recorded = scene.milan.serial in scene.ground.again().revoked()
        scene.in_order()
        assert (scene.milan.serial in scene.ground.listed()) is recorded


def test_what_was_recorded_and_given_to_nobody_goes_to_the_same_key(scene: Scene) -> None:
    scene.reset()
    before = {each.serial for each in scene.ground.authority.issued()}
    for _ in interrupted(scene, enrol):
        found = [each for each in scene.ground.again().issued() if each.serial not in before]
        granted = enrol(scene)
        assert len(scene.ground.authority.issued("milan")) == 2
        assert found in ([], [granted.issued])


def test_the_scene_is_what_it_says(scene: Scene) -> None:
    scene.reset()
    scene.in_order()
    assert scene.ground.clock.now > START
    assert lists(scene.ground.paths.crl.read_bytes())
