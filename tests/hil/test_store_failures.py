"""The store when the ground shakes: killed, disk full, file damaged, not allowed, server gone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from appliance.core.errors import CentralinoError, CorruptError, InvalidError, UnavailableError
from appliance.organisation.model import Person
from appliance.store import Store
from appliance.store.database import Patience
from tests.hil.postgres import Postgres, postgres

ROOT = Path(__file__).parents[2]
COUNTER = count()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.hil.store_child", *arguments]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store/document.db"
    server: Postgres = request.getfixturevalue("server")
    return server.database(f"failures{next(COUNTER)}")


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_killed_at_any_moment_it_is_the_old_or_the_new_one_whole(url: str) -> None:
    """Each time the writer is killed at another moment after it began to commit."""
    chance = random.Random(7)
    last, kills = 0, 0
    for _ in range(8):
        with child("write", url) as process:
            assert process.stdout is not None
            said = [int(process.stdout.readline()) for _ in range(chance.randint(1, 20))][-1]
            for _ in range(chance.randint(0, 20_000)):  # somewhere within the next commit
                pass
            process.send_signal(signal.SIGKILL)
            said = max([said, *(int(line) for line in process.stdout if line.endswith("\n"))])
            kills += process.wait() == -signal.SIGKILL
        with Store(url) as store:
            store.check()
            head = store.document()
            left, right = head.get(Person, "left"), head.get(Person, "right")
            assert left.name == right.name
            reached = int(left.name[1:])
            assert reached in (said, said + 1)  # all that was said to be committed, and at most the one under way
            assert reached > last
            last = reached
            for proposal in store.open_proposals():
                store.fail(proposal.number, "its writer died")
    assert kills == 8


def test_processes_never_lose_or_mix_edits(url: str) -> None:
    with Store(url):
        pass
    names = ["a", "b", "c"]
    running = [subprocess.Popen(command("count", url, name, "10"), cwd=ROOT) for name in names]
    try:
        assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
    with Store(url) as store:
        assert store.document().get(Person, "counter").name.split()[0] == "30"
        assert len(store.document()) == 31


def test_a_full_disk_refuses_the_change_and_nothing_else(tmp_path: Path) -> None:
    namespace = ["unshare", "--mount"] + (["--map-root-user"] if os.geteuid() else [])
    done = subprocess.run(
        [*namespace, *command("fill", str(tmp_path))], cwd=ROOT, check=True, capture_output=True, text=True, timeout=120
    )
    told = json.loads(done.stdout)
    assert [error_id for error_id, _ in told["errors"]] == ["disk_full", "disk_full"]
    assert all("space" in hint for _, hint in told["errors"])
    assert told["objects"] > told["at_first"] > 0  # it went on once there was room
    assert told["objects"] % 100 == 0  # each change whole or not at all
    assert told["same"]


def test_a_file_that_is_garbage_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "document.db"
    with Store(f"sqlite:///{path}") as store:
        store.promote(store.propose([Person(id="x", name="x")], base=0, author="a").number)
    whole = path.read_bytes()
    for damaged in (b"GARBAGE " * 16 + whole[128:], b"\x00" * len(whole), b"hello\n" * 1000):
        path.write_bytes(damaged)
        with pytest.raises(CorruptError, match=r"document\.db") as caught:
            Store(f"sqlite:///{path}")
        assert caught.value.error_id == "corrupt"
        assert "backup" in caught.value.hint
        assert path.read_bytes() == damaged


def test_damage_in_the_middle_is_found(tmp_path: Path) -> None:
    path = tmp_path / "document.db"
    with Store(f"sqlite:///{path}") as store:
        people = [Person(id=f"p{number}", name="x" * 100) for number in range(500)]
        store.promote(store.propose(people, base=0, author="a").number)
        store.check()
    with path.open("r+b") as file:
        size = path.stat().st_size
        for offset in range(4096 * 8, size, 4096):
            file.seek(offset)
            file.write(b"\xa5" * 4096)
    with pytest.raises(CorruptError), Store(f"sqlite:///{path}") as store:
        store.check()


def test_without_rights_it_says_so() -> None:
    directory = Path(tempfile.mkdtemp(prefix="store-"))
    try:
        with Store(f"sqlite:///{directory}/document.db") as store:
            store.propose([Person(id="x", name="x")], base=0, author="a")
        directory.chmod(0o555)
        for name in ("document.db", "new.db", "sub/new.db"):
            done = subprocess.run(
                command("nobody", f"sqlite:///{directory}/{name}"), cwd=ROOT, check=True, capture_output=True, text=True
            )
            if os.geteuid() or done.stdout:
                error_id, message, hint = json.loads(done.stdout)
                assert error_id == "read_only"
                assert str(directory) in message
                assert "owner" in hint
            else:
                pytest.fail("it wrote where it has no right to")
    finally:
        directory.chmod(0o755)
        shutil.rmtree(directory)


def test_the_world_can_not_read_the_database(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        with Store(f"sqlite:///{tmp_path}/store/document.db") as store:
            store.propose([Person(id="x", name="x")], base=0, author="a")
            modes = {path.name: path.stat().st_mode & 0o007 for path in (tmp_path / "store").iterdir()}
    finally:
        os.umask(previous)
    assert {"document.db", "document.db-wal", "document.db-shm"} <= modes.keys()
    assert set(modes.values()) == {0}


def test_sqlite_is_set_to_survive_a_power_cut(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/document.db") as store, store._database.read() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_locked_sqlite_file_is_busy_for_writers_only(tmp_path: Path) -> None:
    path = tmp_path / "document.db"
    with Store(f"sqlite:///{path}", patience=Patience(turn=0.2)) as store:
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            assert store.head().number == 0
            with pytest.raises(UnavailableError) as caught:
                store.propose([Person(id="x", name="x")], base=0, author="a")
            assert caught.value.error_id == "database_busy"
        finally:
            other.close()
        store.propose([Person(id="x", name="x")], base=0, author="a")


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    password = "".join(["hunt", "er2"])  # or the traceback shows it as a line of this test
    with pytest.raises(UnavailableError, match="socket") as caught:
        Store(f"postgresql://ann:{password}@/pbx?host={tmp_path}")
    assert caught.value.error_id == "database_unavailable"
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caught.value.hint
    assert "hunter2" not in shown


def test_connections_cut_by_the_server_are_made_again(server: Postgres) -> None:
    url = server.database("cut")
    with Store(url) as store:
        store.propose([Person(id="x", name="x")], base=0, author="a")
        admin = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with admin.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cut' AND pid <> pg_backend_pid()"
                )
            )
        admin.dispose()
        assert store.promote(1).number == 1


def test_a_database_that_is_not_there(server: Postgres) -> None:
    url = server.database("there").replace("/there", "/nowhere")
    with pytest.raises(UnavailableError, match="nowhere"):
        Store(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense:hunter2",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://a:hunter2@b/c",
        "postgresql://a:hunter2@b:x/c",
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Store(url)
    assert caught.value.faults[0].path == "store/url"
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_errors_are_ours_and_do_not_carry_what_was_to_be_written(url: str) -> None:
    name = "".join(["Maria", " Rossi"])
    with Store(url) as store:
        with store._database.write() as connection:
            connection.execute(text("DROP TABLE proposed_change"))
        with pytest.raises(CentralinoError) as caught:
            store.propose([Person(id="x", name=name)], base=0, author="a")
        assert name not in "".join(traceback.format_exception(caught.value))
        assert store.history() == []
