"""The whole system with branches of three lines: people talk, lines are harmed by name, and nobody hears it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from appliance.cli import app
from appliance.core.errors import CentralinoError
from lab.calls import Talk
from lab.control import Control
from lab.impairments import IMPAIRMENTS, PROFILES
from lab.page import make_app
from lab.plan import BRANCHES, CENTRE_NAME, HEAD_OFFICE_FIRST, LINES, OUTSIDE, WRONG
from lab.topology import Lab, UnknownNameError
from lab.watch import Watch
from tests.hil.agents.process import eventually
from tests.hil.agents.softphone import SoftPhone

HARM_S = 3.0
GOOD_MOS = 4.2
SCENES = [name for name in IMPAIRMENTS if name not in ("well", "wrong-names")]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture(scope="module")
def talk(lab: Lab) -> Iterator[Talk]:
    """Ten people at Torino talk with ten at the head office."""
    with Talk(lab, [(str(310 + at), str(HEAD_OFFICE_FIRST + at)) for at in range(10)], lasts_s=3600) as made:
        eventually(lambda: {each.state for each in made.conversations} == {"talking"}, "all talk", 60)
        time.sleep(1)  # the first packets
        yield made


def lost(talk: Talk) -> dict[str, int]:
    """Packets that each phone missed until now."""
    return {
        end["number"]: end["heard"]["lost"]
        for call in talk.told()
        for end in (call["caller"], call["callee"])
        if end["heard"]
    }


@contextlib.contextmanager
def unheard(lab: Lab, talk: Talk, *, slower_ms: float = 0) -> Iterator[None]:
    """Nobody misses anything meanwhile, and tones are whole. ``slower_ms``: what is left may be that much slower, for which a listener waits once."""
    phones: list[tuple[SoftPhone, SoftPhone]] = [
        (lab.phone(each.caller), lab.phone(each.callee)) for each in talk.conversations
    ]
    before = lost(talk)
    assert len(before) == 2 * len(phones)
    marks = [(one.mark(), other.mark()) for one, other in phones]
    yield
    until = time.time()
    time.sleep(0.5)  # what is on its way, or not yet in the file of what came
    reports = [
        report
        for (one, other), (at_one, at_other) in zip(phones, marks, strict=True)
        for report in (one.since(at_one, other.tone_hz, until), other.since(at_other, one.tone_hz, until))
    ]
    assert lost(talk) == before
    bad = [report for report in reports if not report.good(longest_gap_ms=60 + slower_ms)]
    assert not bad, bad


@pytest.mark.parametrize("harm", SCENES)
def test_ten_calls_dont_hear_it(lab: Lab, talk: Talk, harm: str) -> None:
    with unheard(lab, talk):
        lab.impair("torino-fibre", harm)
        time.sleep(HARM_S)
        heard = [end["heard"]["mos"] for call in talk.told() for end in (call["caller"], call["callee"])]
        lab.impair("torino-fibre", "well")
    assert min(heard) >= GOOD_MOS, heard
    counted = lab.counted()["torino-fibre"]
    if harm not in (
        "jitter60",
        "squeeze",
        "small-packets",
        "flapping",
    ):  # of these little or nothing need be lost on the line
        assert counted["up"]["lost"] + counted["down"]["lost"] > 0
    lab.all_up()


def at_most_ms(profile: str) -> float:
    """By how much a line of that kind may be slower than the first."""
    return PROFILES[profile].delay_ms + 2 * PROFILES[profile].jitter_ms


def test_lines_of_every_kind_die_in_turn(lab: Lab, talk: Talk) -> None:
    for profile in ("25ms", "45ms-loss1", "700ms"):  # all of them: bench/failover
        lab.profile("torino-dsl", profile)
        slower_ms = min(at_most_ms(profile), at_most_ms("45ms"))  # mobile data is the third line
        with unheard(lab, talk, slower_ms=slower_ms):
            for line in LINES[:2]:
                lab.impair(f"torino-{line.id}", "blackhole")
                time.sleep(1.5)
                lab.impair(f"torino-{line.id}", "well")
                time.sleep(1.5)
    lab.profile("torino-dsl", "10ms")
    lab.all_up()


def test_a_name_server_that_lies_moves_no_line_that_works(lab: Lab, talk: Talk) -> None:
    edge = lab.edges["torino"]
    for line in LINES:
        lab.impair(f"torino-{line.id}", "wrong-names")
    assert edge.agent is not None
    edge.agent.signal(signal.SIGKILL)
    edge.agent.wait()
    with unheard(lab, talk):
        edge.start()  # asks at once
        eventually(lambda: f"{CENTRE_NAME} is at {WRONG}" in (edge.work / "edge.log").read_text(), "it was lied to", 15)
        time.sleep(3)
        assert set(lab.ups("torino").values()) == {True}
    # Not even when nothing works for a while: what was proven is tried too.
    lab.impair("centre", "gone")
    eventually(lambda: set(lab.ups("torino").values()) == {False}, "nothing works", 20)
    time.sleep(2)
    lab.impair("centre", "well")
    lab.all_up(40)
    assert f"{WRONG}: the centre has proven it" not in (edge.work / "edge.log").read_text()
    for line in LINES:
        lab.impair(f"torino-{line.id}", "well")


def test_calls_are_there_again_when_the_centre_is(lab: Lab, talk: Talk) -> None:
    eventually(lambda: len(lost(talk)) == 2 * len(talk.conversations), "all talk", 60)
    calls = [each.since for each in talk.conversations]
    lab.impair("centre", "gone")
    time.sleep(3)
    heard = [end["heard"]["mos"] for call in talk.told() for end in (call["caller"], call["callee"])]
    assert max(heard) < GOOD_MOS, "that is heard"
    lab.impair("centre", "well")
    lab.all_up()
    time.sleep(1)
    with unheard(lab, talk):
        time.sleep(2)
    assert [each.since for each in talk.conversations] == calls, "the same calls"


def test_a_branch_talks_with_the_telephone_company(lab: Lab) -> None:
    with Talk(lab, [("320", OUTSIDE)], lasts_s=2) as talk:
        [call] = talk.conversations
        eventually(lambda: call.state == "over", "they talked", 30)


def place(lab: Lab) -> Path:
    return lab.work / "orders.sock"


def command(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance.cli", "lab", *words],
        env={**os.environ, "CENTRALINO_LAB": str(place(lab)), "CENTRALINO_LANGUAGE": "en", "COLUMNS": "200"}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_the_command_harms_and_tells_and_the_page_shows(lab: Lab, talk: Talk) -> None:
    assert "lab_not_running" in command(lab, "status", "--json").stderr + command(lab, "status", "--json").stdout
    with Watch(lab, talk) as watch, Control(lab, watch, place(lab)):
        assert place(lab).stat().st_mode & 0o777 == 0o600
        done = command(lab, "impair", "nowhere", "well")
        assert done.returncode == 1
        assert "LINK" in done.stderr
        assert "torino-fibre" in done.stderr
        for wrong, argument, known in (
            (("impair", "roma-fibre", "nothing"), "NAME", "blackhole"),
            (("impair", "centre", "loss3"), "NAME", "gone"),
            (("profile", "roma-fibre", "nothing"), "NAME", "45ms-loss1"),
        ):
            refused = CliRunner().invoke(app, ["lab", *wrong], env={"CENTRALINO_LAB": str(place(lab))}).exception
            assert isinstance(refused, CentralinoError)
            assert argument in refused.message
            assert known in f"{refused.message} {refused.hint}"
        assert command(lab, "impair", "roma-dsl", "blackhole").returncode == 0
        assert command(lab, "profile", "roma-lte", "25ms").returncode == 0
        looked = next(at for at, branch in enumerate(BRANCHES) if branch.site == "roma")
        eventually(lambda: watch.now["branches"][looked]["lines"][1]["up"] is False, "it is seen to be down", 20)
        found = json.loads(command(lab, "status", "--json").stdout)
        roma = found["branches"][looked]
        assert roma["site"] == "roma"
        _fibre, dsl, lte = roma["lines"]
        assert (dsl["up"], dsl["harmed"], lte["profile"]) == (False, "blackhole", "25ms")
        client = make_app(watch).test_client()
        for lang, down in (("en", "is down"), ("it", "non funziona")):
            page = client.get("/", headers={"Accept-Language": lang}).text
            row = re.search(r'data-link="roma-dsl".*?</tr>', page, re.DOTALL)
            assert row is not None
            assert down in row[0]
            assert "blackhole" in row[0]
            assert page.count("MOS ") == 20
        assert client.get("/portal/../app.py").status_code == 404
        assert client.get("/portal/portal.js").status_code == 404
        for line in (b"", b"[]\n", b"{}\n", b'{"do": "dance"}\n', b"[" * 4000):
            assert "unknown" in Control(lab, watch, place(lab)).answer(line)
        lab.impair("roma-dsl", "well")
    assert "lab_not_running" in command(lab, "status", "--json").stderr + command(lab, "status", "--json").stdout


def test_what_lines_would_have_done_is_counted(lab: Lab, talk: Talk) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "appliance.cli", "vpn", "drill", "--json"], env=lab.system.environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {line["line"]: line for line in json.loads(done.stdout)["lines"]}
    assert set(found) == {link for link, _line in lab.lines()}
    assert min(line["watched_s"] for line in found.values()) > 10
    assert found["torino-fibre"]["outages"] >= 2
    assert found["torino-fibre"]["share"] < found["roma-fibre"]["share"]


def test_what_isnt_known_changes_nothing(lab: Lab) -> None:
    before = dict(lab.harmed), dict(lab.profiles)
    wrongs: list[Callable[[], None]] = [
        lambda: lab.impair("torino-fibre", "x"),
        lambda: lab.impair("x", "well"),
        lambda: lab.profile("centre", "10ms"),
    ]
    for wrong in wrongs:
        with pytest.raises(UnknownNameError):
            wrong()
    assert (lab.harmed, lab.profiles) == before
