"""The engine's own parser reads from our files what we wrote, whatever people type: the same sections, the same values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from appliance.core.asterisk import ConfFile, Section, lookup, parse, table
from appliance.engine.launch import Engine
from appliance.engine.root import ensure_root
from appliance.paths import Paths
from tests import strategies
from tests.hil.engine_under_test import prepared, started

CORNERS = (
    "a;b", "\\;", "\\", "a\\", "\\\\;", ";-- x --;", ";--", "--;", ";;", "[x]", "[x](!)", "](+)", "=> x", ">", ">>x",
    "= x", "+= x", "+", "#include pjsip.conf", "#exec ls", "${EXTEN}", "$[1+1]", '"', "'", "(", ")", "a\u00a0b", "🙂", "à;è",
    "x" * 120, "🙂" * 120, "type=endpoint", "a, b", "a|b&c", "%s%n", "<sip:1@example.com>", "\\x41",
)  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    launcher = prepared(ensure_root(Paths.default()), tmp_path_factory.mktemp("files") / "engine")
    # GetConfig reads below the configuration directory only, and takes a link there for a way out of it.
    generation = launcher.paths.current.resolve()
    launcher.paths.current.unlink()
    generation.rename(launcher.paths.current)
    with started(launcher) as running:
        yield running


def put(engine: Engine, file: ConfFile) -> None:
    path: Path = engine.launcher.paths.current.resolve() / file.name
    path.parent.mkdir(exist_ok=True)
    path.write_text(file.text)
    engine.launcher.grant(path.parent)


def as_the_engine_reads(engine: Engine, name: str) -> tuple[Section, ...]:
    """The sections of a file by AMI GetConfig: ``Category-n`` and ``Line-n-m`` with ``key=value``."""
    with engine.ami() as ami:
        lines = ami.action("GetConfig", {"Filename": name})[0].lines
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    for key, value in lines:
        if key.startswith("Category-"):
            sections.append((value, []))
        elif key.startswith("Line-"):
            option, _, text = value.partition("=")
            sections[-1][1].append((option, text))
    return tuple(Section(name, tuple(options)) for name, options in sections)


def read(engine: Engine, labels: list[str]) -> tuple[tuple[Section, ...], tuple[Section, ...]]:
    first, second = labels[::2], labels[1::2]
    sections = (
        Section("one", tuple(("name", label) for label in first)),
        Section("two", tuple(("callerid", label) for label in second)),
        Section("end", (("key", "value"),)),
    )
    file = ConfFile("labels.conf", sections)
    put(engine, file)
    assert parse(file.text) == sections
    return as_the_engine_reads(engine, file.name), sections


def test_corners_are_read_as_written(engine: Engine) -> None:
    found, written = read(engine, list(CORNERS))
    assert found == written


@seed(1)
@settings(
    deadline=None, max_examples=60, phases=(Phase.generate,), suppress_health_check=list(HealthCheck), database=None
)
@given(labels=st.lists(strategies.labels, min_size=1, max_size=40))
def test_any_labels_are_read_as_written(engine: Engine, labels: list[str]) -> None:
    found, written = read(engine, labels)
    assert found == written


def test_tables_are_read_at_call_time(engine: Engine) -> None:
    rows = {str(number): label for number, label in enumerate(CORNERS, 100)}
    put(engine, table("names", rows.items()))
    expression = lookup("names", "N")[2:-1]
    with engine.ami() as ami:
        for number, label in rows.items():
            asked = expression.replace("${N:-2}", number[-2:]).replace("${N}", number)
            assert ami.getvar(asked) == label


def test_the_engine_takes_lines_up_to_our_limit(engine: Engine) -> None:
    longest = "x" * (8190 - len("key="))
    put(engine, ConfFile("long.conf", (Section("a", (("key", longest),)),)))
    (section,) = as_the_engine_reads(engine, "long.conf")
    assert section.get("key") == longest
    path = engine.launcher.paths.current.resolve() / "long.conf"
    path.write_text(path.read_text().replace("x\n", "xx\n"))
    assert as_the_engine_reads(engine, "long.conf") == (Section("a", ()),)
