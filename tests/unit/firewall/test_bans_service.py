"""The judge's process: it answers, lifts, follows commits, and says what isn't well. In a network namespace that isn't there, so
that no kernel takes its bans: what it can do without is what is tested here; the rest is in tests/hil/test_bans.py."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.access.access import Access
from appliance.access.audit import Event
from appliance.access.bans import lift as lift_by
from appliance.core.errors import InvalidError, RefusedError, UnavailableError
from appliance.engine.unix import bind, connect
from appliance.firewall.bans import asking
from appliance.firewall.bans.followed import Followed, outer_addresses
from appliance.firewall.bans.service import Service
from appliance.paths import Paths
from appliance.store import Store
from tests.hil.system import objects
from tests.unit.firewall.attempts import attempt, scan, tool
from tests.unit.hub.loops import until

DEADLINE_S = 30
Row = tuple[str, dict[str, Any]]
ROWS: list[Row] = [
    ("company", {"id": "demo", "name": "Demo Srl"}),
    ("network", {"id": "office", "name": "Office", "zone": "management", "networks": ["192.0.2.0/24"]}),
]


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("CENTRALINO_ENGINE_NETNS", "there-is-none")
    return Paths(tmp_path / "state", tmp_path / "cache")


def commit(paths: Paths, *rows: Row) -> None:
    paths.store.mkdir(parents=True, exist_ok=True)
    with Store.default(paths) as store:
        store.promote(store.propose(objects(rows), base=store.head().number, author="test").number)


def serving(paths: Paths, work: Callable[[Service], Awaitable[None]]) -> None:
    """Run the process in this loop, and ``work`` once it answers."""

    async def within() -> None:
        service = Service(paths)
        running = asyncio.create_task(service.run())
        try:
            await until(lambda: running.done() or paths.bans_socket.exists(), "it listens")
            await work(service)
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(within(), DEADLINE_S))


async def asked(paths: Paths, search: str = "", limit: int = asking.LIMIT) -> asking.Told:
    return await asyncio.to_thread(asking.told, paths, search, limit)


async def judged(paths: Paths, service: Service, *sources: str) -> None:
    """Have each of these be banned."""
    for source in sources:
        when, _ = service.times()
        for each in scan(when, source):
            service.take(each)
    for source in sources:
        while not (await asked(paths, source)).count:
            await asyncio.sleep(0.02)


async def ready(paths: Paths) -> None:
    """Wait until it judges."""
    while True:
        try:
            await asyncio.to_thread(asking.lift, paths, "192.0.2.255")
        except UnavailableError:
            await asyncio.sleep(0.02)
        else:
            return


def test_who_is_kept_out_is_told_with_reason_and_evidence(paths: Paths) -> None:
    commit(paths, *ROWS)

    async def work(service: Service) -> None:
        await ready(paths)
        await judged(paths, service, "203.0.113.7", "2001:db8:1:2::3")
        found = await asked(paths)
        assert {ban.network for ban in found.bans} == {"203.0.113.7/32", "2001:db8:1:2::/64"}
        ban = (await asked(paths, "203.0.113.7")).bans[0]
        assert (ban.reason, ban.strike, ban.quarantine, ban.brief) == ("many_accounts", 1, False, False)
        assert 590 <= ban.left <= 601
        assert ban.evidence[-1].account == "309"
        assert "many accounts" in ban.words
        assert (await asked(paths, limit=1)).count == 2
        assert len((await asked(paths, limit=1)).bans) == 1
        assert (await asked(paths, "198.51.100.0/24")).bans == ()
        assert [each.network for each in (await asked(paths, "2001:DB8")).bans] == ["2001:db8:1:2::/64"]

    serving(paths, work)


def test_what_edges_are_given_is_the_same_for_the_same_bans(paths: Paths) -> None:
    """Neither why, nor whoever may be somebody else."""
    commit(paths, *ROWS)

    async def work(service: Service) -> None:
        await ready(paths)
        await judged(paths, service, "203.0.113.200", "203.0.113.7")
        service.take(tool(service.times()[0], "198.51.100.1"))
        while (await asked(paths)).count < 3:
            await asyncio.sleep(0.02)
        found = json.loads(await asyncio.to_thread(asking.shared, paths))
        assert [row["network"] for row in found["bans"]] == ["203.0.113.7/32", "203.0.113.200/32"]
        for row in found["bans"]:
            assert set(row) == {"network", "until"}
            assert row["until"] % 60 == 0
            assert 590 <= row["until"] - time.time() <= 661
        assert found["format"] == 1

    serving(paths, work)


def test_lifting_is_in_the_audit_and_only_if_it_was_done(paths: Paths) -> None:
    commit(paths, *ROWS)
    with Access.open(paths) as access:

        def lift(network: str) -> tuple[str, ...]:
            return lift_by(access, paths, network, author="admin", address="192.0.2.9")

        with pytest.raises(UnavailableError) as away:
            lift("203.0.113.7")
        assert away.value.error_id == "bans_not_running"

        async def work(service: Service) -> None:
            await ready(paths)
            await judged(paths, service, "203.0.113.7")
            assert await asyncio.to_thread(lift, "203.0.113.0/24") == ("203.0.113.7/32",)
            assert (await asked(paths)).count == 0
            assert await asyncio.to_thread(lift, " 203.0.113.7 ") == ()
            with pytest.raises(InvalidError):
                await asyncio.to_thread(lift, "203.0.113.7.1")

        serving(paths, work)
        told = [each for each in access.audit.entries() if each.event == Event.BAN_LIFTED]
        assert [(each.author, each.detail["network"]) for each in told] == [
            ("admin", "203.0.113.7/32"),
            ("admin", "203.0.113.0/24"),
        ]


def test_a_commit_protects_and_tells_who_would_be_banned(paths: Paths) -> None:
    commit(paths, *ROWS)

    async def work(service: Service) -> None:
        await ready(paths)
        await judged(paths, service, "203.0.113.7")
        more = {"id": "home", "name": "Home", "zone": "management", "networks": ["203.0.113.0/24"]}
        await asyncio.to_thread(commit, paths, ("network", more))
        while (await asked(paths)).count:
            await asyncio.sleep(0.02)
        when, _ = service.times()
        for each in scan(when, "203.0.113.8"):
            service.take(each)
        while not (found := await asked(paths)).spared:
            await asyncio.sleep(0.02)
        assert [ban.network for ban in found.spared] == ["203.0.113.8/32"]
        assert found.count == 0

    serving(paths, work)


def test_without_a_document_nobody_is_judged_and_it_says_why(paths: Paths) -> None:
    """Nobody would be protected: not even whoever is to mend it."""
    paths.store.mkdir(parents=True)
    paths.document_db.write_bytes(b"garbage" * 1000)

    async def work(service: Service) -> None:
        service.take(attempt(0))
        while not (found := await asked(paths)).troubles:
            await asyncio.sleep(0.02)
        assert [each.where for each in found.troubles] == ["document"]
        assert found.missed == 1
        with pytest.raises(UnavailableError) as refused:
            await asyncio.to_thread(asking.lift, paths, "203.0.113.7")
        assert refused.value.error_id == "bans_not_ready"

    serving(paths, work)


def test_bans_are_taken_over_from_the_process_before(paths: Paths) -> None:
    commit(paths, *ROWS)

    async def before(service: Service) -> None:
        await ready(paths)
        await judged(paths, service, "203.0.113.7")

    async def after(_service: Service) -> None:
        while not (found := await asked(paths)).count:
            await asyncio.sleep(0.02)
        assert [ban.network for ban in found.bans] == ["203.0.113.7/32"]
        assert found.bans[0].evidence

    serving(paths, before)
    serving(paths, after)


def test_a_damaged_database_of_bans_is_told_and_judging_goes_on(paths: Paths) -> None:
    commit(paths, *ROWS)
    paths.bans_db.write_bytes(b"garbage" * 1000)

    async def work(service: Service) -> None:
        await ready(paths)
        await judged(paths, service, "203.0.113.7")
        troubles = {each.where: each.hint for each in (await asked(paths)).troubles}
        assert troubles.keys() == {"database", "kernel"}
        assert troubles["database"].startswith(f"move {paths.bans_db} ")
        for file in paths.bans_db.parent.glob(f"{paths.bans_db.name}*"):
            file.unlink()
        while "database" in {each.where for each in (await asked(paths)).troubles}:  # it is over when that was done
            await asyncio.sleep(0.02)

    serving(paths, work)


def test_whoever_asks_nonsense_gets_an_error_and_harms_nobody(paths: Paths) -> None:
    commit(paths, *ROWS)

    def ask(said: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connect(connection, paths.bans_socket)
            try:
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                return connection.recv(1000)
            except ConnectionError:
                return b""

    async def work(_service: Service) -> None:
        for said in (b"", b"\n", b"garbage\n", b"[]\n", b'{"ask":"everything"}\n', b"x" * 200_000, b"[" * 3000 + b"\n"):
            answer = await asyncio.to_thread(ask, said)
            assert not answer or json.loads(answer)["error"]["id"] == "bad_question"
        assert (await asked(paths)).count == 0

    serving(paths, work)


def test_there_is_one_judge(paths: Paths) -> None:
    commit(paths, *ROWS)

    async def work(_service: Service) -> None:
        with pytest.raises(RefusedError):
            await Service(paths).run()

    serving(paths, work)


# -- what it goes by ---------------------------------------------------------------------------------------------------


def test_addresses_that_branches_come_in_from_are_protected(paths: Paths, tmp_path: Path) -> None:
    """Also for a day after the voice VPN's process, which tells them, has gone. So are servers for names."""
    commit(paths, *ROWS)
    paths.live.mkdir(parents=True)
    file = tmp_path / "resolv.conf"
    file.write_text("# a comment\nsearch example.com\nnameserver 198.51.100.53\nnameserver fe80::1%eth0\nnameserver\n")
    branches = [
        {"site": "torino", "connected": True, "address": "203.0.113.5"},
        {"site": "bari", "connected": True, "address": "2001:db8:9::1"},
        {"site": "roma", "connected": False},
        {"site": "pisa", "connected": True, "address": "garbage"},
    ]
    followed = Followed(paths, file)
    with telling(paths.vpn_socket, json.dumps({"branches": branches}).encode()):
        found = followed.changed()
        assert found is not None
        assert followed.changed() is None
    followed._outer_at = 0
    assert followed.changed() is None
    followed.close()
    spared = {"192.0.2.0/24", "203.0.113.5/32", "198.51.100.53/32", "2001:db8:9::1/128", "fe80::1/128"}
    assert {str(each) for each in found.policy.protected} == spared
    assert "112" in found.doors.emergency


@pytest.mark.parametrize("said", [b"", b"garbage", b"[]", b'{"branches": 7}', b'{"branches": [7]}', b"[" * 5000])
def test_a_voice_vpn_that_says_nonsense_protects_nobody_and_harms_nobody(tmp_path: Path, said: bytes) -> None:
    with telling(tmp_path / "vpn.sock", said):
        assert outer_addresses(tmp_path / "vpn.sock") == []
    assert outer_addresses(tmp_path / "gone.sock") == []


@contextlib.contextmanager
def telling(path: Path, said: bytes) -> Iterator[None]:
    """Somebody who says this to whoever connects, once."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(said)

    with socket.socket(socket.AF_UNIX) as listener:
        bind(listener, path)
        listener.listen(4)
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10)
    path.unlink()
