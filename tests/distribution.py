"""How ``pytest -n`` shares the tests out: some a file at a time, and all others at the end, one after the other.

Those others judge time, or load the whole machine: they run on the last worker when the other workers have
ended together with all that they had started. It is one run all the same, with one closing line.

What may run beside others: ``tests/unit``, and of ``tests/hil`` the files in :data:`BESIDE`. These read no clock, listen to
no voice, and their deadlines are for what never comes; ``tests/unit/test_distribution.py`` holds them to it. One worker
begins with them, which mostly wait, and the others with ``tests/unit``, which never does.

A worker begins a test only when it knows the next one, because of what the two may share. So the last worker is told the
first of those tests while others still run: it ends what it has, and begins with that one when it is told the second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

import pytest
from xdist.report import report_collection_diff
from xdist.workermanage import WorkerController, parse_tx_spec_config

UNIT = "tests/unit/"
BESIDE: Final = (
    "tests/hil/test_portal_forms.py",
    "tests/hil/test_api_schema.py",
    "tests/hil/access/test_processes.py",
    "tests/hil/test_kill_applier.py",
    "tests/hil/test_stopping.py",
    "tests/hil/test_hub.py",
    "tests/hil/test_portal_edge.py",
    "tests/hil/test_trunks.py",
    "tests/hil/test_edge.py",
    "tests/hil/test_edge_links.py",
    "tests/hil/test_vpn_keeper.py",
    "tests/hil/test_edge_service.py",
    "tests/hil/test_vpn_enrolment.py",
    "tests/hil/test_bans.py",
    "tests/hil/test_refusals.py",
    "tests/hil/test_hub_trace.py",
    "tests/hil/test_vpn_pki.py",
    "tests/hil/test_firewall_commits.py",
    "tests/hil/test_transactions.py",
    "tests/hil/test_trunk_outages.py",
    "tests/hil/test_emergency.py",
    "tests/hil/test_lamps.py",
    "tests/hil/test_trunk_sessions.py",
    "tests/hil/test_hostile_names.py",
    "tests/hil/test_hostile_numbers.py",
    "tests/hil/test_portal_changes.py",
    "tests/hil/test_portal_flow.py",
    "tests/hil/test_portal_sign_in.py",
    "tests/hil/test_portal_single_sign_on.py",
    "tests/hil/test_portal_calls.py",
    "tests/hil/test_portal_deliveries.py",
    "tests/hil/test_store.py",
    "tests/hil/test_orphans.py",
    "tests/hil/test_inbound.py",
    "tests/hil/test_history_databases.py",
    "tests/hil/test_store_failures.py",
    "tests/hil/test_appliance_on_postgres.py",
    "tests/hil/test_identity.py",
    "tests/hil/test_doctor.py",
    "tests/hil/test_api.py",
    "tests/hil/test_engine_root.py",
    "tests/hil/test_engine_mirror.py",
    "tests/hil/test_engine_files.py",
    "tests/hil/test_engine_web.py",
    "tests/hil/test_lost_key.py",
    "tests/hil/access/test_on_postgresql.py",
    "tests/hil/access/test_command.py",
    "tests/hil/access/test_browser.py",
)
"""Files of tests/hil that judge no time (decision 30): the longest first, so that a short one is the last."""


class AloneLast:
    """A scheduler of pytest-xdist (:class:`xdist.scheduler.protocol.Scheduling`). Tests are known by their numbers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._expected = len(parse_tx_spec_config(config))
        self._collected: dict[WorkerController, list[str]] = {}  # also by workers that are gone
        self._names: list[str] | None = None
        self._given: dict[WorkerController, list[int]] = {}  # and not complete
        self._files: list[list[int]] = []
        self._alone: list[int] = []
        self._next: int | None = None  # the one of them that the last worker knows and hasn't begun

    @property
    def nodes(self) -> list[WorkerController]:
        """The workers there are."""
        return list(self._given)

    @property
    def collection_is_completed(self) -> bool:
        """Whether every worker has told its tests."""
        return len(self._collected) >= self._expected

    @property
    def tests_finished(self) -> bool:
        """Whether nothing is left to be given out, and each worker is at its last test."""
        waiting = self._files or self._alone or self._next is not None
        return self.collection_is_completed and not waiting and all(len(given) < 2 for given in self._given.values())

    @property
    def has_pending(self) -> bool:
        """Whether a test isn't complete."""
        return bool(self._files or self._alone or any(self._given.values()))

    def add_node(self, node: WorkerController) -> None:
        """A worker has come: one of the first, or in place of one that crashed."""
        self._given[node] = []

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """A worker tells its tests."""
        self._collected[node] = list(collection)

    def schedule(self) -> None:
        """All have told theirs: begin; or one has come in place of another."""
        if self._names is None:
            if not self._all_the_same():
                return
            self._names = next(iter(self._collected.values()))
            self._queue(self._names)
        for node in self.nodes:
            self._feed(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:  # noqa: ARG002 (asked for by name)
        """A worker has done a test, and taken down what only that one needed."""
        self._given[node].remove(item_index)
        self._feed(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """A worker has ended. The name of the test at which it crashed, if so; others do the rest."""
        left = self._given.pop(node)
        crashed = None
        if left:
            assert self._names is not None
            crashed, rest = self._names[left[0]], left[1:]
            alone = [number for number in rest if _alone(self._names[number])]
            self._alone = alone + self._alone
            self._files[:0] = [[number for number in rest if number not in alone]]
            if self._next in left:
                self._next = None
        for other in self.nodes:
            self._feed(other)
        return crashed

    def mark_test_pending(self, item: str) -> None:
        """Not asked by this way of sharing."""
        raise NotImplementedError

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> None:
        """Not asked by this way of sharing."""
        raise NotImplementedError

    def _queue(self, names: list[str]) -> None:
        files: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            files.setdefault(_file(name), []).append(number)
        for file, numbers in files.items():
            if _alone(file):
                self._alone += numbers
            else:
                self._files.append(numbers)
        place = {file: at for at, file in enumerate(BESIDE)}
        self._files.sort(key=lambda numbers: place.get(_file(names[numbers[0]]), len(place)))

    def _feed(self, node: WorkerController) -> None:
        """Give a worker its next file before it gets to its last test; then let it go, or keep it as the last one."""
        if node.shutting_down or self._names is None or node not in self._collected:
            return
        while self._files and len(self._given[node]) < 2:
            self._give(node, self._files.pop(0 if node is self.nodes[0] else -1))
        if self._files:
            return
        others = [other for other in self.nodes if other is not node]
        if any(not other.shutting_down for other in others):
            node.shutdown()  # another is to be the last one
        elif not others:
            self._give(node, self._alone)
            self._alone, self._next = [], None
            node.shutdown()
        elif self._next is None and self._alone:
            self._next = self._alone.pop(0)
            self._give(node, [self._next])
        elif self._next is None:
            node.shutdown()

    def _give(self, node: WorkerController, numbers: list[int]) -> None:
        if numbers:
            self._given[node] += numbers
            # It may have crashed, and we are about to be told: then they are given to another.
            with contextlib.suppress(OSError):
                node.send_runtest_some(numbers)

    def _all_the_same(self) -> bool:
        """Whether all workers have the same tests; a failure of the run says what differs."""
        (first, names), *others = self._collected.items()
        for node, collection in others:
            difference = report_collection_diff(names, collection, first.gateway.id, node.gateway.id)
            if difference:
                report = pytest.CollectReport(node.gateway.id, "failed", difference, [])
                self._config.hook.pytest_collectreport(report=report)
                return False
        return True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> AloneLast | None:
    """``-n`` shares the tests out like this; with another word than its default, ``--dist`` does as xdist says."""
    return AloneLast(config) if config.getoption("dist") == "load" else None


def _file(name: str) -> str:
    return name.partition("::")[0]


def _alone(name: str) -> bool:
    return not name.startswith(UNIT) and _file(name) not in BESIDE
