"""The engine itself normalises, classifies and permits as phonenumbers and the classes of service say."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from appliance.core.asterisk import ConfFile, dialplan, lookup, table
from appliance.core.document import Document
from appliance.engine.launch import Engine
from appliance.engine.root import ensure_root
from appliance.paths import Paths
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
HOSTILE = (
    '0200001234"', "0200001234,1", "02)00(00x234", "${EVAL(1)}", "$[1 + 1]", "anonymous", "*21*0200001234#", "+", "++39",
    "0200001234;phone-context=x", "02\\\\00001234", "0' & 1", '" | "1" = "1', "1?2:3", "[0-9]", "0" * 500, "٠٢٠٠٠٠١٢٣٤",
    "0200 001234@192.0.2.1", "\N{PILE OF POO}", "0-", "()",
)  # fmt: skip
SEPARATED = {
    "02 0000 1234": "+390200001234",
    "+39 02/0000-1234": "+390200001234",
    "02)00(001234": "+390200001234",
    "(02) 0000.1234": "+390200001234",
    "0039 02 0000 1234 ": "+390200001234",
    "+44 (0)20 7946 0000": "+442079460000",
}
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
    "ExecIf($[${I} % 50 = 0]?Wait(0.2))",  # or the queue of events that nobody asked for grows too long
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
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose dialplan is the product's for Italy, with the other countries' ``classify`` beside it."""
    installation = Installation(transport_token="t")
    sections = list(contribute(document("IT"), installation).dialplan)
    files: list[ConfFile] = []
    for region in numbering.COUNTRIES:
        name = region.lower()
        own = next(s for s in contribute(document(region), installation).dialplan if s.name == "classify")
        sections.append(replace(own, name=f"classify-{name}"))
        files.append(table(f"asked-{name}", ((f"{i}", n) for i, n in enumerate(asked(region), 1))))
    files.append(table("asked-hostile", ((f"{i}", n) for i, n in enumerate(HOSTILE, 1))))
    sections += [dialplan("ask", ("s", LOOP), ("one", ONE)), dialplan("idle", ("s", ["Answer()", "Wait(300)"]))]
    launcher = prepared(ensure_root(Paths.default()), tmp_path_factory.mktemp("numbers") / "engine")
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
        ami.action("Events", {"EventMask": "user"})
        ami.action(
            "Originate",
            {
                "Channel": "Local/s@idle/n",
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


def told(engine: Engine, country: str, name: str, count: int) -> list[Mapping[str, str]]:
    found = answers(engine, "s", {"COUNTRY": country, "TABLE": name, "COUNT": str(count)}, "Done")
    assert [int(each["Place"]) for each in found] == list(range(1, count + 1))
    return found


@pytest.mark.parametrize("region", numbering.COUNTRIES)
def test_engine_equals_phonenumbers(engine: Engine, region: str) -> None:
    """E.164 of every number that phonenumbers knows, and of every short one; the category of whatever is answered."""
    numbers = asked(region)
    assert len(numbers) > (1300 if region == "IT" else 350)
    wrong = []
    valid = 0
    for number, answer in zip(numbers, told(engine, region.lower(), region.lower(), len(numbers)), strict=True):
        expected, found = numbering.e164(number, region), answer["E164"]
        known = numbering.is_valid(number, region) or (expected and expected[0] != "+")
        valid += bool(known)
        category = numbering.category(found, region) if found else ""
        if (known and found != expected) or answer["Category"] != category:
            wrong.append((number, dict(answer), expected, category))
    assert wrong == []
    assert valid > len(numbers) / 2


def test_what_is_no_number_is_answered_with_nothing(engine: Engine) -> None:
    for text, answer in zip(HOSTILE, told(engine, "it", "hostile", len(HOSTILE)), strict=True):
        assert answer["E164"] == "", text


@pytest.mark.parametrize(("written", "e164"), SEPARATED.items())
def test_separators_are_dropped(engine: Engine, written: str, e164: str) -> None:
    assert one(engine, written)["E164"] == e164


def one(engine: Engine, number: str, of_class: str = "plain") -> Mapping[str, str]:
    (answer,) = answers(engine, "one", {"N": number, "CLASS": of_class}, "Answer")
    return answer


@pytest.mark.parametrize(
    ("of_class", "number", "allowed"),
    [
        ("plain", "0200001234", "1"),
        ("plain", "3330000123", "1"),
        ("plain", "800000123", "1"),
        ("plain", "899123456", "0"),  # premium
        ("plain", "00442079460000", "0"),  # international
        ("plain", "1240", "0"),  # a short number that costs
        ("plain", "1500", "0"),  # a service
        ("", "0200001234", "1"),  # the class of who has none
        ("", "00442079460000", "0"),
        ("fussy", "0600001234", "1"),  # category
        ("fussy", "3200000123", "0"),
        ("fussy", "3330000123", "1"),  # prefix beyond the categories
        ("fussy", "3331000123", "0"),  # longer prefix denies
        ("fussy", "0200001111", "0"),  # prefix denies the category
        ("fussy", "0200001234", "1"),  # the longest of all is a whole number
        ("fussy", "892999", "0"),
        ("fussy", "892120", "1"),  # +3989212 with one digit more
        ("fussy", "00442079460000", "0"),
        ("fussy", "0033123456789", "1"),
        ("shut", "00442079460000", "1"),
        ("shut", "0200001234", "0"),
        ("shut", "1500", "0"),
    ],
)
def test_longest_prefix_wins_then_the_category(engine: Engine, of_class: str, number: str, allowed: str) -> None:
    assert one(engine, number, of_class)["May"] == allowed


@pytest.mark.parametrize(
    ("number", "italy", "germany"),
    [
        ("0200001234", "0200001234", "00390200001234"),
        ("00493012345678", "00493012345678", "03012345678"),
        ("1500", "1500", "1500"),
    ],
)
def test_national_form(engine: Engine, number: str, italy: str, germany: str) -> None:
    answer = one(engine, number)
    assert (answer["Italy"], answer["Germany"]) == (italy, germany)


def test_the_engine_had_nothing_to_complain_about(engine: Engine) -> None:
    """Neither at the start nor while it was asked all of the above."""
    log = engine.launcher.paths.messages.read_text()
    assert [line for line in log.splitlines() if "WARNING" in line or "ERROR" in line] == []
