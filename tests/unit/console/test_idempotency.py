"""Requests that are sent twice are done once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from appliance.console.api.idempotency import BUSY_S, LASTS_S, Idempotency
from appliance.core.errors import InvalidError, RefusedError, UnavailableError


class Work:
    def __init__(self) -> None:
        self.done = 0
        self.error: Exception | None = None

    def __call__(self) -> str:
        self.done += 1
        if self.error is not None:
            raise self.error
        return f"answer {self.done}"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.now = 1_000_000.0
        self.work = Work()
        self.file = folder / "requests.db"
        self.noted = Idempotency(self.file, lambda: self.now)

    def ask(self, key: str | None = "k", asker: str = "boss", request: str = "call 202") -> str:
        return Idempotency(self.file, lambda: self.now).once(asker, key, request, self.work)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_same_key_gives_the_same_answer_also_in_another_process(bench: Bench) -> None:
    assert [bench.ask(), bench.ask(), bench.ask(asker="other"), bench.ask(key="l")] == [
        "answer 1", "answer 1", "answer 2", "answer 3"
    ]  # fmt: skip


def test_without_a_key_each_request_is_done(bench: Bench) -> None:
    assert [bench.ask(None), bench.ask(None)] == ["answer 1", "answer 2"]
    assert not bench.file.exists()


@pytest.mark.parametrize("key", ["", "x" * 65, "two words", "é", "a\nb"])
def test_what_is_no_key_is_refused(bench: Bench, key: str) -> None:
    with pytest.raises(InvalidError, match="not a key"):
        bench.ask(key)
    assert not bench.work.done


def test_a_key_is_good_for_one_request(bench: Bench) -> None:
    bench.ask()
    with pytest.raises(InvalidError, match="another request"):
        bench.ask(request="call 203")
    assert bench.work.done == 1


def test_what_was_refused_may_be_tried_again(bench: Bench) -> None:
    bench.work.error = RefusedError("not registered")
    with pytest.raises(RefusedError, match="not registered"):
        bench.ask()
    bench.work.error = None
    assert bench.ask() == "answer 2"


def test_what_may_have_been_done_is_not_done_again(bench: Bench) -> None:
    bench.work.error = UnavailableError("no answer")
    with pytest.raises(UnavailableError):
        bench.ask()
    with pytest.raises(RefusedError) as first:
        bench.ask()
    assert first.value.error_id == "idempotency_busy"
    bench.now += BUSY_S + 1
    with pytest.raises(RefusedError) as later:
        bench.ask()
    assert later.value.error_id == "idempotency_unknown"
    assert bench.work.done == 1


@pytest.mark.parametrize("jump", [LASTS_S + 1, -LASTS_S - 1])
def test_keys_are_forgotten_after_a_day_and_when_the_clock_was_wrong(bench: Bench, jump: float) -> None:
    bench.ask()
    bench.now += jump
    assert bench.ask() == "answer 2"


def test_nothing_is_done_that_can_not_be_noted(bench: Bench) -> None:
    bench.file.write_bytes(b"garbage " * 1000)
    with pytest.raises(UnavailableError) as error:
        bench.ask()
    assert error.value.error_id == "idempotency_unavailable"
    assert not bench.work.done
    bench.file.unlink()
    with sqlite3.connect(bench.file) as locked:
        locked.execute("CREATE TABLE request (x)")
    locked.close()
    with pytest.raises(UnavailableError):
        bench.ask()
    assert not bench.work.done
