"""How the tests are shared out among workers, with small test suites in a real pytest."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.distribution import BESIDE, AloneLast

TOP = Path(__file__).parents[2]
FILE = """
import os, time
from pathlib import Path
import pytest

HERE = Path({here!r})

@pytest.fixture(scope="module", autouse=True)
def something_that_runs():
    own = HERE / f"up-{name}"
    own.touch()
    yield
    own.unlink()

def note(name):
    began = time.monotonic()
    others = {{file.name for file in HERE.glob("up-*")}} - {{"up-{name}"}}
    (HERE / "log").open("a").write(f"{{os.environ.get('PYTEST_XDIST_WORKER')}} {name} {{name}} {{' '.join(others)}}\\n")
"""
MEETS = """
def test_meets():
    note("meets")
    (HERE / "met-{name}").touch()
    end = time.monotonic() + 30
    while len(list(HERE.glob("met-*"))) < 2:
        assert time.monotonic() < end, "nobody came"
        time.sleep(0.01)
"""
PLAIN = """
@pytest.mark.parametrize("number", range(5))
def test_plain(number):
    note(f"plain{{number}}")
"""


class Suite:
    """Files of tests that note who ran them, and what else was up at that time."""

    def __init__(self, top: Path) -> None:
        self.top = top
        (top / "notes").mkdir()
        (top / "pytest.ini").write_text(
            f"[pytest]\npythonpath = {TOP}\naddopts = --import-mode=importlib -p no:cacheprovider\n"
        )
        (top / "conftest.py").write_text("from tests.distribution import pytest_xdist_make_scheduler\n")

    def file(self, path: str, *parts: str) -> None:
        """A file of tests."""
        file = self.top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        text = "".join((FILE, *parts)).format(here=str(self.top / "notes"), name=file.stem)
        file.write_text(text)

    def run(self, *options: str) -> tuple[int, str]:
        """pytest's exit code, and what it printed."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        argv = [sys.executable, "-m", "pytest", "-p", "xdist", *options]
        done = subprocess.run(
            argv, cwd=self.top, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def notes(self) -> list[list[str]]:
        """Worker, file, test, and what else was up; in the order of their begin."""
        return [line.split() for line in (self.top / "notes/log").read_text().splitlines()]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


def closing_line(output: str) -> str:
    return re.sub(r" in .*", "", output.splitlines()[-1].strip("= "))


def test_unit_tests_run_side_by_side_and_all_others_alone_at_the_end(suite: Suite) -> None:
    for name in ("one", "two"):
        suite.file(f"tests/unit/test_{name}.py", PLAIN, MEETS)
    for name in ("gaps", "load"):
        suite.file(f"tests/hil/test_{name}.py", PLAIN)
    suite.file("tests/unit/test_pause.py", PLAIN, "\ndef test_long():\n    note('long')\n    time.sleep(1)\n")
    code, output = suite.run("-n", "2")
    assert code == 0, output
    assert closing_line(output) == "28 passed"
    notes = suite.notes
    assert len(notes) == 28
    by_file = {file: [note for note in notes if note[1] == file] for file in {note[1] for note in notes}}
    assert all(len({note[0] for note in of_file}) == 1 for of_file in by_file.values()), "one worker for a file"
    assert by_file["test_one"][0][0] != by_file["test_two"][0][0]
    last = notes[-10:]
    assert [note[1] for note in last] == ["test_gaps"] * 5 + ["test_load"] * 5
    assert len({note[0] for note in last}) == 1
    assert all(note[3:] == [] for note in last), "nothing else is up"
    assert [note[2] for note in by_file["test_pause"]] == [*(f"plain{n}" for n in range(5)), "long"]


def test_of_hil_what_judges_no_time_runs_beside_unit_tests_and_one_worker_begins_with_it(suite: Suite) -> None:
    last, first = Path(BESIDE[-1]), Path(BESIDE[0])
    suite.file("tests/unit/test_one.py", PLAIN)
    suite.file("tests/unit/test_two.py", MEETS)
    suite.file(str(first), MEETS, PLAIN)
    suite.file(str(last), PLAIN)
    suite.file("tests/hil/test_gaps.py", PLAIN)
    code, output = suite.run("-n", "2")
    assert code == 0, output
    assert closing_line(output) == "22 passed"
    notes = suite.notes
    assert {note[1] for note in notes[:2]} == {first.stem, "test_two"}, "the first of the ones, the last of the others"
    assert [note[1] for note in notes[-5:]] == ["test_gaps"] * 5
    assert all(note[3:] == [] for note in notes[-5:]), "nothing else is up"


JUDGES = {
    "monotonic": "reads a clock",
    "perf_counter": "reads a clock",
    "sleep": "waits for a fixed time",
    "converse": "listens to voice",
    "hears": "listens to voice",
    "listen": "listens to voice",
    "talk": "listens to voice",
}

COARSE = {"tests/hil/test_trunk_sessions.py", "tests/hil/test_orphans.py"}
"""They wait for timers of half a minute, idle, by bounds that are as far away."""


@pytest.mark.parametrize("file", BESIDE)
def test_what_runs_beside_others_judges_no_time(file: str) -> None:
    nodes = ast.walk(ast.parse((TOP / file).read_text()))
    found = [f"line {line} {JUDGES[name]}: {name}" for line, name in names(nodes) if name in JUDGES]
    assert bool(found) == (file in COARSE), found


def names(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """What source uses, with the line: what it imports, its variables, its attributes."""
    for node in nodes:
        match node:
            case ast.ImportFrom(names=imported):
                yield from ((node.lineno, each.name) for each in imported)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield node.lineno, name


@pytest.mark.parametrize("where", ["tests/unit/test_crash.py", "tests/hil/test_crash.py"])
def test_a_worker_that_dies_fails_one_test_and_no_other_is_lost(suite: Suite, where: str) -> None:
    suite.file(where, "\ndef test_dies():\n    os._exit(3)\n", PLAIN)
    suite.file("tests/unit/test_one.py", PLAIN)
    suite.file("tests/hil/test_gaps.py", PLAIN)
    code, output = suite.run("-n", "2")
    assert code == 1, output
    assert closing_line(output) == "1 failed, 15 passed", output
    assert "crashed while running" in output


class Worker:
    """One that may be dead before anybody is told: real ones can't be made to die in that moment."""

    shutting_down = False

    def __init__(self) -> None:
        self.told: list[int] = []
        self.dead = False
        self.gateway = SimpleNamespace(id="gw")

    def send_runtest_some(self, numbers: list[int]) -> None:
        if self.dead:
            raise OSError
        self.told += numbers

    def shutdown(self) -> None:
        self.shutting_down = True


def test_what_is_given_to_a_worker_that_is_dead_already_is_given_to_the_next() -> None:
    config: Any = SimpleNamespace(getvalue=lambda _name: ["2*popen"])
    shared: Any = AloneLast(config)
    names = [f"tests/unit/test_{name}.py::test" for name in "abcd"]
    names += ["tests/hil/test_gaps.py::one", "tests/hil/test_gaps.py::two"]
    first, second, third = Worker(), Worker(), Worker()
    for each in (first, second):
        shared.add_node(each)
        shared.add_node_collection(each, names)
    shared.schedule()
    assert (first.told, second.told) == ([0, 1], [3, 2])
    assert second.shutting_down, "the other is to be the last one"
    for number in second.told:
        shared.mark_test_complete(second, number)
    first.dead = True
    assert shared.remove_node(second) is None, "it has ended"
    assert shared.remove_node(first) == names[0], "the test at which it died"
    shared.add_node(third)
    shared.add_node_collection(third, names)
    shared.schedule()
    assert third.told == [1, 4, 5]


def test_failures_skips_and_choices_are_told_as_ever(suite: Suite) -> None:
    suite.file("tests/unit/test_one.py", PLAIN, "\ndef test_fails():\n    assert 1 == 2\n")
    suite.file("tests/unit/test_two.py", PLAIN, "\ndef test_skips():\n    pytest.skip('no reason')\n")
    suite.file("tests/hil/test_three.py", PLAIN)
    code, output = suite.run("-n", "2", "-ra")
    assert code == 1, output
    assert closing_line(output) == "1 failed, 15 passed, 1 skipped"
    assert "FAILED tests/unit/test_one.py::test_fails - assert 1 == 2" in output
    assert "SKIPPED [1] tests/unit/test_two.py" in output
    code, output = suite.run("-n", "1", "-k", "plain")
    assert (code, closing_line(output)) == (0, "15 passed"), output
    assert [note[1] for note in suite.notes[-15:]] == [
        name for name in ("test_one", "test_two", "test_three") for _ in range(5)
    ]


def test_workers_that_collect_different_tests_fail_the_run(suite: Suite) -> None:
    suite.file(
        "tests/unit/test_one.py", "\n@pytest.mark.parametrize('pid', [os.getpid()])\ndef test_pid(pid):\n    pass\n"
    )
    code, output = suite.run("-n", "2")
    assert code != 0, output
    assert "Different tests were collected" in output
