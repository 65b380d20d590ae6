"""The sender against real HTTPS receivers, well-behaved and not."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import pytest

from appliance.core.errors import UnavailableError
from appliance.history import notice
from appliance.notifications import sender as sending_module
from appliance.notifications import web
from appliance.notifications.config import Config
from appliance.notifications.sender import Sender
from appliance.notifications.state import State
from tests.unit.notifications.ground import KEY, SECRET, WHOLE, Ground, call, sending, until
from tests.unit.notifications.receiver import (
    Behaviour,
    Handler,
    Receiver,
    authority,
    deaf,
    endless,
    garbage,
    receiving,
    silent,
    slow,
    status,
)


def test_events_arrive_signed_and_in_order(ground: Ground, receiver: Receiver) -> None:
    ground.document.put("crm", receiver.url("/hook?token=x"))
    for n in range(20):
        ground.notice(call(f"c.{n}", *WHOLE))

    async def run() -> None:
        async with sending(ground):
            await until(lambda: len(receiver.requests) == 60)
            await until(lambda: not ground.listed(state=State.WAITING))

    asyncio.run(run())
    for n in range(20):
        mine = [request for request in receiver.requests if request.json["data"]["call"] == f"c.{n}"]
        assert [request.json["type"] for request in mine] == list(WHOLE)
    request = receiver.requests[0]
    assert (request.method, request.path, request.headers["host"]) == (
        "POST",
        "/hook?token=x",
        f"localhost:{receiver.port}",
    )
    assert request.headers["content-type"] == "application/json"
    assert request.signed_by(KEY)
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 10
    assert len({request.id for request in receiver.requests}) == 60
    assert {each.state for each in ground.listed()} == {State.DELIVERED}
    assert {each.attempts for each in ground.listed()} == {1}


FAILURES: dict[str, tuple[Behaviour, str]] = {
    "error": (status(500), "HTTP 500"),
    "busy": (status(429), "HTTP 429"),
    "not there": (status(404), "HTTP 404"),
    "not this one": (status(422), "HTTP 422"),
    "redirect": (status(307, Location="https://example.com/"), "HTTP 307: redirects aren't followed"),
    "garbage": (garbage, "what it answered is no HTTP"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_is_tried_again_under_the_same_id(ground: Ground, receiver: Receiver, soon: None, name: str) -> None:
    behaviour, error = FAILURES[name]
    receiver.default = behaviour
    ground.document.put("crm", receiver.url("/"))
    ground.notice(call("c.1", *WHOLE))

    async def run() -> None:
        async with sending(ground):
            await until(lambda: len(receiver.requests) >= 3)
            assert set(receiver.types()) == {notice.STARTED}, "the next of a call waits for the one before"
            (first,) = await until(lambda: [d for d in ground.listed() if d.type == notice.STARTED and d.error])
            assert (first.error, first.state) == (error, State.WAITING)
            receiver.default = status(200)
            await until(lambda: not ground.listed(state=State.WAITING))

    asyncio.run(run())
    assert len({request.id for request in receiver.requests}) == 3
    assert receiver.types()[-2:] == [notice.ANSWERED, notice.ENDED]
    assert all(request.path == "/" for request in receiver.requests)


def test_one_that_is_refused_holds_up_its_own_call_only(ground: Ground, receiver: Receiver, soon: None) -> None:
    """Whatever status a receiver has for it: sooner or later the others get through."""
    refusals = itertools.cycle([422, 500, 400, 503])

    def picky(handler: Handler) -> None:
        bad = handler.request_taken.json["data"]["call"] == "c.0"
        status(next(refusals) if bad else 204)(handler)

    receiver.default = picky
    ground.document.put("crm", receiver.url("/"))
    for n in range(10):
        ground.notice(call(f"c.{n}", *WHOLE))

    async def run() -> None:
        async with sending(ground):
            await until(lambda: len(ground.listed(state=State.DELIVERED)) == 27)

    asyncio.run(run())
    assert {d.stream for d in ground.listed(state=State.WAITING)} == {"c.0"}


def test_gone_is_a_dead_letter_at_once(ground: Ground, receiver: Receiver) -> None:
    receiver.default = status(410)
    ground.document.put("crm", receiver.url("/"))
    ground.notice(call("c.1", *WHOLE))

    async def run() -> None:
        async with sending(ground):
            await until(lambda: len(ground.listed(state=State.DEAD)) == 3)
            receiver.default = status(200)
            assert ground.deliveries.replay_dead("other") == 0
            assert ground.deliveries.replay_dead("crm") == 3
            await until(lambda: len(ground.listed(state=State.DELIVERED)) == 3)

    asyncio.run(run())
    ids = [request.id for request in receiver.requests]
    assert ids[:3] == ids[3:], "replayed in order, under the same ids"


def test_one_that_is_down_delays_nobody_else(
    ground: Ground, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_module, "AT_ONCE", 4)
    receiver.behaviours = {"/silent": silent, "/slow": slow(0.3), "/endless": endless}
    with deaf() as listener:
        ground.document.put("deaf", f"https://localhost:{listener.getsockname()[1]}/")
        ground.document.put("refused", "https://localhost:9/")
        ground.document.put("unknown", "https://nowhere.invalid/")
        for path in ("silent", "slow", "endless", "good"):
            ground.document.put(path, receiver.url(f"/{path}"))
        for n in range(30):
            ground.notice(call(f"c.{n}", notice.STARTED))

        async def run() -> float:
            async with sending(ground):
                began = time.monotonic()
                await until(lambda: len(receiver.at("/good")) == 30)
                took = time.monotonic() - began
                await until(lambda: len(ground.listed(state=State.DELIVERED, endpoint="endless")) == 30, 20)
                await until(lambda: len(receiver.at("/slow")) >= 8)
                assert len(receiver.at("/silent")) <= 4
                listener.close()  # what is under way there ends
            return took

        assert asyncio.run(run()) < 5
    assert {d.attempts for d in ground.listed(endpoint="deaf")} <= {0, 1}


def test_a_silent_receiver_is_given_up_on_after_a_time(
    ground: Ground, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "WHOLE_S", 0.2)
    receiver.default = silent
    ground.document.put("crm", receiver.url("/"))
    ground.notice(call("c.1", notice.STARTED))

    async def run() -> None:
        async with sending(ground):
            (found,) = await until(lambda: [d for d in ground.listed() if d.attempts])
            assert (found.error, found.status) == ("no answer within 0.2 s", None)

    asyncio.run(run())


def test_certificates_and_addresses_are_checked(ground: Ground, receiver: Receiver, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with receiving(other, name="files.example.com") as stranger:
        ground.document.put("untrusted", receiver.url("/untrusted"), authority=None)
        ground.document.put("othername", stranger.url("/othername"), authority=authority("files.example.com").pem)
        ground.document.put("local", receiver.url("/local"), allow_local=False)
        ground.document.put("address", receiver.url("/address", "127.0.0.1"))
        ground.document.put("mapped", receiver.url("/mapped", "[::ffff:127.0.0.1]"), allow_local=False)
        ground.notice(call("c.1", notice.STARTED))

        async def run() -> dict[str, str]:
            async with sending(ground):
                await until(lambda: all(d.attempts for d in ground.listed()) and len(ground.listed()) == 5)
                return {d.endpoint: d.error for d in ground.listed()}

        errors = asyncio.run(run())
        assert stranger.requests == []
    assert errors["untrusted"].startswith("the server's certificate isn't trusted")
    assert errors["othername"].startswith("the server's certificate isn't trusted: Hostname mismatch")
    assert errors["local"].startswith("localhost leads to this machine itself")
    assert errors["mapped"].endswith("leads to this machine itself (::ffff:127.0.0.1)")
    assert errors["address"] == ""
    assert [request.path for request in receiver.requests] == ["/address"]


def test_the_name_is_resolved_once_and_what_was_looked_at_is_connected_to(
    ground: Ground, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere the second time (DNS rebinding) leads nowhere."""
    asked = []

    def answers(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        address = "192.0.2.1" if len(asked) == 1 else "127.0.0.1"
        return [(2, 1, 6, "", (address, port))]

    monkeypatch.setattr(web.socket, "getaddrinfo", answers)
    monkeypatch.setattr(web, "CONNECT_S", 0.2)
    ground.document.put("crm", f"https://crm.example.com:{receiver.port}/", allow_local=False)
    ground.notice(call("c.1", notice.STARTED))

    async def run() -> None:
        async with sending(ground):
            await until(lambda: [d for d in ground.listed() if d.attempts])

    asyncio.run(run())
    assert asked == ["crm.example.com"]
    assert receiver.requests == []


def test_a_secret_is_replaced_without_loss(ground: Ground, receiver: Receiver, soon: None) -> None:
    new = "a new secret of forty-two characters, plain"
    ground.document.put("crm", receiver.url("/"))

    async def run() -> None:
        async with sending(ground) as sender:
            ground.notice(call("c.1", notice.STARTED))
            await until(lambda: len(receiver.requests) == 1)
            ground.document.put("crm", receiver.url("/"), secret="next", previous_secret="hook")
            await until(lambda: sender.config.revision == ground.document.revision)
            ground.notice(call("c.2", notice.STARTED))
            (waits,) = await until(lambda: [d for d in ground.listed() if d.stream == "c.2" and d.attempts])
            assert "secret isn't there yet" in waits.error, "it hasn't been handed over yet"
            ground.document.handed["next"] = new
            await until(lambda: len(receiver.requests) == 2)
            ground.document.put("crm", receiver.url("/"), secret="next")
            await until(lambda: sender.config.revision == ground.document.revision)
            ground.notice(call("c.3", notice.STARTED))
            await until(lambda: len(receiver.requests) == 3)

    asyncio.run(run())
    signed = [(request.signed_by(KEY), request.signed_by(new.encode())) for request in receiver.requests]
    assert signed == [(True, False), (True, True), (False, True)]


def test_each_endpoint_gets_what_it_asked_for(ground: Ground, receiver: Receiver) -> None:
    ground.document.put("few", receiver.url("/few"), events=("call.missed", "alarm.raised"))
    ground.document.put("short", receiver.url("/short"), events=("call.ended",), fields=("caller", "quality"))
    alarm = {"alarm": "spool_low", "severity": "warning", "message": "12 MiB free", "raised": 1_795_406_000_000}
    ground.notice(call("c.1", *WHOLE), call("c.2", notice.MISSED, notice.ENDED))
    ground.notice([notice.Notice(notice.ALARM_RAISED, "alarm:spool_low", 1_795_406_000_000, alarm)])

    async def run() -> None:
        async with sending(ground):
            await until(lambda: len(receiver.requests) == 4)
            await until(lambda: not ground.listed(state=State.WAITING))

    asyncio.run(run())
    assert sorted(receiver.types("/few")) == [notice.ALARM_RAISED, notice.MISSED]
    (told,) = [request.json["data"] for request in receiver.at("/few") if request.json["type"] == notice.ALARM_RAISED]
    assert told == {**alarm, "raised": "2026-11-23T03:53:20.000Z"}
    quality = {"loss_percent": 0.5, "jitter_ms": 3.25, "round_trip_ms": 20.0}
    assert sorted((request.json["data"] for request in receiver.at("/short")), key=lambda data: data["call"]) == [
        {"call": key, "caller": "+390200000123", "quality": quality} for key in ("c.1", "c.2")
    ]


def test_an_endpoint_that_is_removed_has_its_letters_given_up(ground: Ground, receiver: Receiver) -> None:
    receiver.default = status(500)
    ground.document.put("crm", receiver.url("/"))
    ground.notice(call("c.1", *WHOLE))

    async def run() -> None:
        async with sending(ground):
            await until(lambda: receiver.requests)
            ground.document.endpoints.clear()
            ground.document.revision += 1
            await until(lambda: len(ground.listed(state=State.DEAD)) == 3)

    asyncio.run(run())
    assert {d.error for d in ground.listed()} == {"the endpoint isn't in the document any more"}


def test_without_the_document_what_it_said_last_holds(
    ground: Ground, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.document.put("crm", receiver.url("/"))
    real = ground.document.current

    def locked() -> Config:
        raise UnavailableError("another process keeps it locked", "try again", error_id="database_busy")

    async def run() -> None:
        monkeypatch.setattr(ground.document, "current", locked)
        ground.notice(call("c.1", notice.STARTED))
        never = Sender(ground.queue, ground.document)  # type: ignore[arg-type]
        with pytest.raises(UnavailableError):
            await never.turn()
        await never.close(0)
        assert ground.listed() == [], "who is to be told isn't known yet: the notice waits"
        monkeypatch.setattr(ground.document, "current", real)
        async with sending(ground):
            await until(lambda: len(receiver.requests) == 1)
            monkeypatch.setattr(ground.document, "current", locked)
            ground.notice(call("c.2", notice.STARTED))
            await until(lambda: len(receiver.requests) == 2)

    asyncio.run(run())


def test_a_test_event_goes_the_same_way(ground: Ground, receiver: Receiver) -> None:
    ground.document.put("crm", receiver.url("/"))
    sent = ground.deliveries.test("crm")

    async def run() -> None:
        async with sending(ground):
            await until(lambda: ground.deliveries.get(sent.id).state is State.DELIVERED)

    asyncio.run(run())
    assert receiver.requests[0].json["data"] == {"endpoint": "crm"}
    assert receiver.requests[0].id == sent.id
    assert receiver.requests[0].signed_by(KEY)


def test_no_secret_and_no_url_is_logged(
    ground: Ground, receiver: Receiver, soon: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="centralino")
    behaviours = iter([status(500), garbage])

    def each(handler: Handler) -> None:
        next(behaviours, status(200))(handler)

    receiver.default = each
    ground.document.put("crm", receiver.url("/T0KEN"))
    ground.document.put("down", "https://localhost:9/T0KEN")
    ground.notice(call("c.1", *WHOLE))

    async def run() -> None:
        async with sending(ground):
            await until(lambda: len(ground.listed(state=State.DELIVERED)) == 3)

    asyncio.run(run())
    assert "HTTP 500" in caplog.text
    assert "T0KEN" not in caplog.text
    assert SECRET not in caplog.text
    assert all("T0KEN" not in d.error for d in ground.listed())
