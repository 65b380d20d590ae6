"""``kill -9`` of each process: what must go on goes on, what was killed comes back to the same.

The engine is autonomous: with every process of ours dead it makes every kind of call, also after a start of its own.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.history.model import Outcome
from appliance.history.service import History
from appliance.pbx.extensions.model import Extension
from appliance.store.history import open_history
from tests.hil.agents.process import eventually
from tests.hil.agents.softphone import SoftPhone, converse
from tests.hil.company import MAIN, PBX_OUTSIDE, Company, open_company, talk
from tests.hil.more_calls import MORE_CALLS, document

NOT_KNOWN = "Unsupported fingerprint hash type"
"""aiortc offers more than the engine knows."""
REGISTERED = ("201-1", "202-1", "203-1", "204-1", "204-2")
ON_DISK_S = 2.0
"""What a phone has set is on disk after this time."""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    made = document()
    with open_company(tmp_path_factory.mktemp("survival"), made, complaints=[NOT_KNOWN]) as company:
        company.system.start_history()
        for device in REGISTERED:
            company.phone(device, expires_s=3600)  # they don't register again by themselves within the test
        yield company


@pytest.fixture(autouse=True)
def alive(company: Company) -> Iterator[None]:
    """Everything runs before each test, and no call is up."""
    system = company.system
    assert system.engine is not None
    if not system.engine.running:
        system.start_engine()
    if not system.applier.running:
        system.start_applier()
    if system._history is None or not system._history.running:
        system._history = None
        system.start_history()
    yield
    company.quiet()


def service(phone: SoftPhone, code: str) -> None:
    """Dial a star code and hear it out."""
    phone.call(code).established().closed(20)


def kill_python(company: Company) -> None:
    """kill -9 of every process of ours."""
    for child in (company.system.applier, company.system._history):
        assert child is not None
        child.signal(signal.SIGKILL)
        child.wait()


def crash_engine(company: Company) -> None:
    """kill -9 of the engine, and a start as systemd does it: nobody of ours has a hand in it."""
    assert company.system.engine is not None
    time.sleep(ON_DISK_S)  # the promise is about what is older than this
    company.system.engine.kill()
    company.system.start_engine()


def line_registered(company: Company) -> None:
    eventually(lambda: company.lines_up() == ["Registered"], "the line is registered")


# --- every kind of call ---


def internal(company: Company) -> None:
    one, two = company.phone("201-1"), company.phone("202-1")
    talk(one, two, one.call("202"))


def ring_group(company: Company) -> None:
    four, others = company.phone("204-1"), [company.phone(f"20{n}-1") for n in (1, 2, 3)]
    call = four.call("400").ringing()
    ringing = [phone.incoming() for phone in others]
    ringing[1].answer()
    call.established()
    assert all(report.good() for report in converse(four, others[1], 0.5))
    call.hangup()
    for each in ringing:
        each.closed()


def echo_and_time(company: Company) -> None:
    one = company.phone("201-1")
    call = one.call("*43").established()
    assert one.listen(one.tone_hz, 0.5).good()
    call.hangup()
    call = one.call("*60").established()
    mark = one.mark()
    eventually(lambda: one.since(mark, 440).dominant_hz > 0, "the time is told", 10)
    call.hangup()


def outbound(company: Company) -> None:
    one = company.phone("201-1")
    company.line.does((0, "180 Ringing"), (0.1, "200 OK"))
    call = one.call("00200000999").established()
    assert one.listen(one.tone_hz, 0.5).good()  # the provider sends back what it hears
    call.hangup()


def inbound(company: Company) -> None:
    one = company.phone("201-1")
    with ThreadPoolExecutor() as pool:
        placed = pool.submit(company.line.call, MAIN, "+390200000777", PBX_OUTSIDE)
        incoming = one.incoming().answer()
        dialog = placed.result()
    assert one.listen(one.tone_hz, 0.5).good()
    company.line.hangup(dialog)
    incoming.closed()


def emergency(company: Company) -> None:
    one, before = company.phone("201-1"), len(company.line.invites)
    call = one.call("112").established()
    invite = company.line.invites[before]
    assert invite.uri.user == "112"
    assert MAIN in str(invite.headers["P-Asserted-Identity"])
    call.hangup()


def forwarded(company: Company) -> None:
    one, two, three = (company.phone(f"20{n}-1") for n in (1, 2, 3))
    service(two, "*72203")
    talk(one, three, one.call("202"))
    service(two, "*73")


def transferred_blindly(company: Company) -> None:
    one, two, three = (company.phone(f"20{n}-1") for n in (1, 2, 3))
    call = one.call("202")
    at_two = two.incoming().answer()
    call.established()
    at_two.transfer("203")
    at_three = three.incoming().answer()
    assert all(report.good() for report in converse(one, three, 0.5))
    call.hangup()
    at_three.closed()


def transferred_after_asking(company: Company) -> None:
    one, two, three = (company.phone(f"20{n}-1") for n in (1, 2, 3))
    call = one.call("202")
    at_two = two.incoming().answer()
    call.established()
    consultation = two.call("203")
    at_three = three.incoming().answer()
    consultation.established()
    at_two.transfer_to(consultation)
    assert all(report.good() for report in converse(one, three, 0.5))
    call.hangup()
    at_three.closed()


EVERY_CALL = (
    internal, ring_group, echo_and_time, outbound, inbound, emergency, forwarded, transferred_blindly,
    transferred_after_asking, *MORE_CALLS,
)  # fmt: skip


def test_everything_dead_and_the_engine_restarted_every_call_completes(company: Company) -> None:
    kill_python(company)
    crash_engine(company)
    assert not company.system.applier.running
    for kind in EVERY_CALL:
        kind(company)
        company.quiet()
    assert not company.system.applier.running
    line_registered(company)


def test_what_phones_have_set_and_who_is_registered_outlives_the_engine(company: Company) -> None:
    one, two, three = (company.phone(f"20{n}-1") for n in (1, 2, 3))
    service(two, "*78")
    service(three, "*72204")
    service(one, "*51")
    contacts = company.contacts()
    assert {"201-1", "202-1", "203-1", "204-1"} <= set(contacts)
    crash_engine(company)
    assert company.contacts() == contacts
    assert one.call("00200000999").closed().startswith("403"), "it is locked as before"
    service(one, "*52")
    one.call("00200000999").established().hangup()
    assert one.call("202").closed().startswith("486")
    talk(one, company.phone("204-1"), one.call("203"))
    service(two, "*79")
    service(three, "*73")
    talk(one, two, one.call("202"))


def test_a_call_goes_on_when_applier_and_history_writer_die_and_is_in_the_history(company: Company) -> None:
    one, two, system = company.phone("201-1"), company.phone("202-1"), company.system
    known = len(settled_history(company))
    call = one.call("202")
    incoming = two.incoming().answer()
    call.established()
    mark = one.hears(two.tone_hz).mark()
    kill_python(company)
    assert one.since(mark, two.tone_hz).longest_gap_ms <= 60
    # Back: the applier finds the engine as it is and takes the next change, the call goes on all the while.
    system._history = None
    system.start_applier()
    eventually(lambda: system.client.state()["verified"], "the applier has asked the engine", 20)
    assert system.client.check() == []
    system.commit(Extension(id="ext-206", number="206", label=f"Changed {time.time():.0f}", site="hq"))
    assert one.since(mark, two.tone_hz).good()
    call.hangup()
    incoming.closed()
    system.start_history()
    eventually(lambda: len(read_history(company)) == known + 1, "the call is in the history", 20)
    assert read_history(company)[-1] == ("201", "202", Outcome.ANSWERED)


def test_the_engine_dies_in_a_call_and_is_whole_again_with_the_applier_at_work(company: Company) -> None:
    one, two, system = company.phone("201-1"), company.phone("202-1"), company.system
    call = one.call("202")
    incoming = two.incoming().answer()
    call.established()
    crash_engine(company)
    call.hangup()
    incoming.hangup()
    eventually(lambda: system.client.state()["verified"], "the applier has asked the new engine", 30)
    assert system.client.check() == []
    system.commit(Extension(id="ext-202", number="202", label="After the crash", site="hq"))
    with system.ami() as ami:
        assert ami.getvar("AST_CONFIG(tables/names.conf,02,202)") == "After the crash"
    internal(company)
    eventually(lambda: ("201", "202", Outcome.ENGINE_FAILURE) in read_history(company), "what became of the call", 20)


def settled_history(company: Company) -> list[tuple[str | None, str | None, Outcome]]:
    """The history when the writer has nothing left to take in."""
    seen = [-1]

    def settled() -> bool:
        seen.append(len(read_history(company)))
        return seen[-1] == seen[-2]

    eventually(settled, "the history has settled", 20, 2.0)
    return read_history(company)


def read_history(company: Company) -> list[tuple[str | None, str | None, Outcome]]:
    """The calls in the history, oldest first: who, whom, how it ended."""
    if not Path(company.system.paths.history_db).exists():
        return []
    database = open_history(f"sqlite:///{company.system.paths.history_db}")
    try:
        calls = [stored.call for stored in History(database).calls(limit=1000).calls]
    finally:
        database.close()
    return [(call.from_extension, call.dialled, call.outcome) for call in reversed(calls)]
