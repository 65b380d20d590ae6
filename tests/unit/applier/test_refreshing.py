"""What is learned of names is put in force as a generation of the same revision, whole or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance.applier.__main__ import make
from appliance.applier.link import Settings
from appliance.applier.options import Options
from appliance.applier.plan import FIREWALL
from appliance.applier.service import Service
from appliance.applier.upkeep import Upkeep
from appliance.core.document import parse
from appliance.core.errors import ApplyError, CentralinoError
from appliance.firewall.rules import digest_in
from appliance.kinds import KINDS
from appliance.names.answers import Answer, Question, Target
from appliance.names.keeper import Names
from appliance.paths import Paths
from appliance.store import Store

ROWS: list[tuple[str, dict[str, Any]]] = [
    ("company", {"id": "demo", "name": "Demo Srl"}),
    ("listener", {"id": "lan", "name": "LAN", "transport": "udp", "address": "192.0.2.10"}),
    ("provider", {"id": "telco", "name": "Telco"}),
    ("trunk", {"id": "line", "name": "Line", "provider": "telco", "host": "sip.example.com", "auth": {"type": "address"}}),
]  # fmt: skip


class Kernel:
    """What is loaded; ``refuses``: nothing new is."""

    def __init__(self) -> None:
        self.loaded = ""
        self.refuses = False

    def check(self, script: str) -> None:
        assert script
        if self.refuses:
            raise ApplyError("the kernel refuses the firewall's rules: no", error_id="rules_refused")

    def load(self, script: str) -> None:
        self.check(script)
        self.loaded = script

    def tune(self, settings: str) -> tuple[object, ...]:
        assert "nf_conntrack_max" in settings
        return ()

    def digest(self) -> str | None:
        return digest_in(self.loaded)


class Ground:
    """An applier whose firewall is ours, without an engine; and a name server."""

    def __init__(self, paths: Paths, store: Store) -> None:
        self.paths, self.store = paths, store
        self.kernel = Kernel()
        self.address = "198.51.100.1"
        self.service = self.started()

    def started(self) -> Service:
        service = make(self.paths, Settings(port=1, firewall=True), self.store)
        service.applier = dataclasses.replace(service.applier, firewall=self.kernel)
        service.desired.names = Names(self.paths.names, self.ask)
        service.converge()
        return service

    def ask(self, questions: Sequence[Question]) -> Mapping[str, Answer]:
        target = Target(address=self.address, port=5060)
        return {each.key: Answer(ttl=60, targets=(target,)) for each in questions}

    def commit(self, *rows: tuple[str, dict[str, Any]]) -> None:
        put = [parse(KINDS, kind, fields) for kind, fields in rows]
        proposed = self.store.propose(put, (), base=self.store.head().number, author="test")
        self.service.apply(proposed.number, Options(offline=True))

    def on_disk(self, name: str) -> str:
        return (self.paths.engine.current / name).read_text()

    def both_know(self, address: str) -> bool:
        """Whether rules and engine's files say the same: that this address is the provider's."""
        rules = address in self.kernel.loaded and self.kernel.loaded == self.on_disk(FIREWALL)
        assert rules == (f"outbound_proxy=sip:{address}:5060" in self.on_disk("pjsip.conf"))
        return rules


@pytest.fixture
def ground(paths: Paths, store: Store) -> Ground:
    made = Ground(paths, store)
    made.commit(*ROWS)
    return made


def learn(ground: Ground, upkeep: Upkeep) -> None:
    upkeep.tend()  # follows the document
    ground.service.desired.names.again()
    ground.service.desired.names.work()


def test_rules_and_engine_learn_of_an_address_in_one_generation_of_the_same_revision(ground: Ground) -> None:
    upkeep, before = Upkeep(ground.service), ground.service.state()
    learn(ground, upkeep)
    assert not ground.both_know("198.51.100.1")
    upkeep.tend()
    assert ground.both_know("198.51.100.1")
    after = ground.service.state()
    assert (after["revision"], after["generation"]) == (before["revision"], before["generation"] + 1)
    upkeep.tend()
    assert ground.service.state()["generation"] == after["generation"]
    ground.commit(("company", {"id": "demo", "name": "Renamed"}))  # a commit afterwards keeps it
    assert ground.both_know("198.51.100.1")


def test_a_kernel_that_refuses_leaves_both_as_they_were_and_is_asked_again(ground: Ground) -> None:
    upkeep = Upkeep(ground.service)
    learn(ground, upkeep)
    upkeep.tend()
    ground.address, ground.kernel.refuses = "198.51.100.2", True
    learn(ground, upkeep)
    with pytest.raises(CentralinoError, match="refuses"):
        upkeep.tend()
    assert ground.both_know("198.51.100.1")
    upkeep.tend()  # not again at once
    ground.kernel.refuses = False
    upkeep._refresh_again = 0.0
    upkeep.tend()
    assert ground.both_know("198.51.100.2")


@pytest.mark.parametrize("moment", ["before the switch", "after the switch"])
def test_ended_midway_the_next_start_has_both_and_asks_the_engine(
    ground: Ground, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    upkeep = Upkeep(ground.service)
    ground.service.journal.update(verified=True)
    learn(ground, upkeep)
    place = {"before the switch": "switch", "after the switch": "_load_rules"}[moment]
    with monkeypatch.context() as patch:
        patch.setattr(f"appliance.applier.apply.Applier.{place}", end)
        with pytest.raises(KeyboardInterrupt):
            upkeep.tend()
    ground.service = ground.started()
    assert ground.both_know("198.51.100.1")
    assert ground.service.state()["verified"] is False


def test_what_was_known_is_in_force_from_the_start(ground: Ground) -> None:
    learn(ground, Upkeep(ground.service))
    ground.service = ground.started()
    assert ground.both_know("198.51.100.1")
    assert Path(ground.paths.names).exists()
