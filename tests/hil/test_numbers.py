"""The engine itself normalises, classifies and permits as phonenumbers and the classes of service say."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.asterisk import ConfFile, dialplan, lookup, table
from appliance.core.document import Document
from appliance.engine.launch import Engine
from appliance.engine.root import EngineRoot
from appliance.pbx.context import Installation
from appliance.pbx.numbers import dialling
from appliance.pbx.numbers.model import ClassOfService, NumberCategory, NumberPlan, NumberRange
from appliance.pbx.numbers.plan import contribute
from appliance.pbx.trunks.model import Provider
from tests import numbering
from tests.hil.engine_under_test import prepared, started, write_generation

PER_TYPE = 40
CLASSES = (
    ClassOfService(id="plain", name="Plain"),
    ClassOfService(
        id="fussy",
        name="Fussy",
        allow=(NumberCategory.FIXED, NumberCategory.INTERNATIONAL),
        allow_prefixes=("+39333", "+3989212", "+390200001234"),
        deny_prefixes=("+3902", "+393331", "+44"),
    ),
    ClassOfService(id="shut", name="Nothing at all", allow=(), allow_prefixes=("+",), deny_prefixes=("+39",)),
)
LOOP = [
    "Set(I=0)",
    "next: Set(I=$[${I} + 1])",
    "GotoIf($[${I} > ${COUNT}]?end)",
    f"Set(N={lookup('asked-${TABLE}', 'I')})",
    "Gosub(normalise-${COUNTRY},s,1(${N}))",
    "Set(E=${GOSUB_RETVAL})",
    "Set(C=)",
    "GotoIf($[${LEN(${E})} = 0]?tell)",
    "Gosub(classify-${COUNTRY},${E},1)",
    "Set(C=${GOSUB_RETVAL})",
    "tell: UserEvent(Answer,Place: ${I},E164: ${E},Category: ${C})",
    "Goto(next)",
    "end: UserEvent(Done)",
]
ONE = [
    dialling.normalise("${N}", "IT"),
    "Set(E=${GOSUB_RETVAL})",
    "Set(C=)",
    "Set(MAY=)",
    "GotoIf($[${LEN(${E})} = 0]?tell)",
    dialling.classify("${E}"),
    "Set(C=${GOSUB_RETVAL})",
    dialling.class_check("${CLASS}", "${E}", "${C}"),
    "Set(MAY=${GOSUB_RETVAL})",
    "tell: UserEvent(Answer,E164: ${E},Category: ${C},May: ${MAY},"
    f"Germany: {dialling.national('E', 'DE')},Italy: {dialling.national('E', 'IT')})",
]


def document(home: str) -> Document:
    """A number plan at home in one country, and providers in all."""
    plan = NumberPlan(id="plan", name="Plan", country=home, ranges=(NumberRange(first="200", last="299"),))
    providers = [Provider(id=region.lower(), name=region, country=region) for region in numbering.COUNTRIES]
    return Document.of([plan, *CLASSES, *providers])


def asked(region: str) -> list[str]:
    return numbering.asked(region, PER_TYPE if region == "IT" else PER_TYPE // 4)


@pytest.fixture(scope="module")
def engine(engine_root: EngineRoot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose dialplan is the product's for Italy, with the other countries' ``classify`` beside it."""
    installation = Installation(transport_token="t")
    sections = list(contribute(document("IT"), installation).dialplan)
    files: list[ConfFile] = []
    for region in numbering.COUNTRIES:
        name = region.lower()
        own = next(s for s in contribute(document(region), installation).dialplan if s.name == "classify")
        sections.append(replace(own, name=f"classify-{name}"))
        files.append(table(f"asked-{name}", ((f"{i}", n) for i, n in enumerate(asked(region), 1))))
    sections.append(dialplan("ask", ("s", LOOP), ("one", ONE)))
    launcher = prepared(engine_root, tmp_path_factory.mktemp("numbers") / "engine")
    files.append(ConfFile("extensions.conf", tuple(sections)))
    generation = launcher.paths.current.resolve()
    texts = {path.name: path.read_text() for path in generation.iterdir()}
    write_generation(launcher, texts, 2)
    newest = launcher.paths.current.resolve()
    (newest / "tables").mkdir()
    for file in files:
        (newest / file.name).write_text(file.text)
    launcher.grant(newest)
    with started(launcher) as running:
        yield running


def answers(engine: Engine, extension: str, variables: Mapping[str, str], until: str) -> list[Mapping[str, str]]:
    """What a channel that runs a test extension tells by user events, up to the event ``until``."""
    with engine.ami() as ami:
        ami.action(
            "Originate",
            {
                "Channel": "Local/wait@ask-wait/n",
                "Context": "ask",
                "Exten": extension,
                "Priority": "1",
                "Async": "true",
                "Variable": [f"{name}={value}" for name, value in variables.items()],
            },
        )
        found: list[Mapping[str, str]] = []
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            event = ami.next_event(deadline - time.monotonic())
            if event is None or event.event != "UserEvent":
                continue
            fields = {name: event.get(name) for name in ("Place", "E164", "Category", "May", "Germany", "Italy")}
            if event.get("UserEvent") == "Answer":
                found.append(fields)
            if event.get("UserEvent") == until:
                return found
    raise AssertionError(f"only {len(found)} answers came in time")
