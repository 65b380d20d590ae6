"""Asks the engine for every changed object: "reloaded successfully" proves nothing.

Endpoints come by ``PJSIPShowEndpoint`` with every field; other SIP objects by ``AST_SORCERY``, field by field; contexts
by ``ShowDialPlan``; rows of hot tables by the very expression that the dialplan uses. Requests are sent ahead of their
answers: 10,000 endpoints take a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from appliance.applier import expect
from appliance.applier.expect import Context, Mismatch, Step
from appliance.applier.plan import HOT, PJSIP, Files
from appliance.core.asterisk import ConfFile, Section
from appliance.core.plan import ReadBack
from appliance.engine.ami import AmiClient, AmiError
from appliance.engine.ami_messages import Message

MISMATCHES_KEPT: Final = 20
TIMEOUT_S: Final = 120.0
MANY: Final = 200
"""Objects of a type from which on the engine's whole list of them is quicker than one question for each field."""
_LISTED: Final = {"auth": "PJSIPShowAuths", "aor": "PJSIPShowAors"}
_GETVAR_BYTES: Final = 1023
"""Bytes of a value that the manager's Getvar gives."""

Answer = Sequence[Message] | AmiError
Request = tuple[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Question:
    """One request and what to make of its answer."""

    request: Request
    check: Callable[[Answer], Iterator[Mismatch]]


class Reader:
    """Compares sections with what the engine holds. ``files``: the whole new configuration, to learn defaults from."""

    def __init__(self, ami: AmiClient, files: Files, timeout_s: float = TIMEOUT_S) -> None:
        self._ami = ami
        self._files = files
        self._timeout_s = timeout_s

    def mismatches(self, steps: Iterable[ReadBack]) -> list[Mismatch]:
        """What the engine holds otherwise than it should: the first :data:`MISMATCHES_KEPT`.

        :raises UnavailableError: the engine doesn't answer in time.
        """
        asked: list[Question] = []

        def requests() -> Iterator[Request]:
            for question in self._all(steps):
                asked.append(question)
                yield question.request

        found: list[Mismatch] = []
        for index, answer in enumerate(self._ami.pipeline(requests(), timeout_s=self._timeout_s)):
            if len(found) < MISMATCHES_KEPT:
                found.extend(asked[index].check(answer))
            asked[index] = _DONE
        return found

    def _all(self, steps: Iterable[ReadBack]) -> Iterator[Question]:
        """A question or some for each object; one for all of a type that is listed, where many changed."""
        listed: dict[str, list[ReadBack]] = {}
        for step in steps:
            if _in_list(step):
                listed.setdefault(step.type, []).append(step)
            else:
                yield from self._questions(step)
        for type, of_type in listed.items():
            if len(of_type) >= MANY:
                yield Question((_LISTED[type], {}), _list_check(of_type))
            else:
                for step in of_type:
                    yield from self._object(step)
        for of_type in listed.values():
            if len(of_type) >= MANY:
                for step in of_type:
                    yield from self._dropped(step)

    def _questions(self, step: ReadBack) -> Iterator[Question]:
        if step.file.startswith(HOT):
            return _rows(step)
        if step.file == PJSIP:
            return self._endpoint(step) if step.type == "endpoint" else self._object(step)
        if step.file == "extensions.conf":
            return _variables(step) if step.section in {"globals", "general"} else _context(step)
        return _rows(step)

    # SIP objects

    def _endpoint(self, step: ReadBack) -> Iterator[Question]:
        def check(answer: Answer) -> Iterator[Mismatch]:
            yield from _compare(step, _detail(answer))

        yield Question(("PJSIPShowEndpoint", {"Endpoint": step.section}), check)
        yield from self._dropped(step)

    def _object(self, step: ReadBack) -> Iterator[Question]:
        name = expect.name_of(step)
        presence = expect.PRESENCE.get(step.type, "")
        if step.after is None:
            if presence:
                yield _ask(
                    _sorcery(step, presence),
                    lambda got: [Mismatch(name, "", "", "should be gone and is still there")] if got else [],
                )
            return
        wanted = expect.fields(step.after)
        if presence and presence not in wanted:
            yield _ask(
                _sorcery(step, presence),
                lambda got: [] if got else [Mismatch(name, "", "", "is missing: the engine refused it")],
            )
        for option, value in wanted.items():
            yield _ask(_sorcery(step, option), _field_check(name, option, value))
        yield from self._dropped(step)

    def _dropped(self, step: ReadBack) -> Iterator[Question]:
        """An option taken out of an object: its value must be that of an object which never had it."""
        for option, before in expect.dropped(step).items():
            sibling = self._without(step, option)
            if sibling is None:
                continue
            answers: list[str] = []

            def remember(got: str, answers: list[str] = answers) -> list[Mismatch]:
                answers.append(got)
                return []

            def check(
                got: str, answers: list[str] = answers, option: str = option, before: str = before
            ) -> list[Mismatch]:
                default = answers[0] if answers else ""
                if got != default and expect.same(option, before, got):
                    return [Mismatch(expect.name_of(step), option, default, got)]
                return []

            yield _ask(_sorcery(step, option, sibling.name), remember)
            yield _ask(_sorcery(step, option), check)

    def _without(self, step: ReadBack, option: str) -> Section | None:
        file = self._files.get(step.file)
        if not isinstance(file, ConfFile):
            return None
        siblings = (
            section
            for section in islice(file.sections, 50_000)
            if section.type == step.type and section.name != step.section and section.get(option) is None
        )
        return next(siblings, None)


def _compare(step: ReadBack, held: Mapping[str, str] | None) -> Iterator[Mismatch]:
    """An object against what the engine tells of it, in its own spelling; None: it has no such object."""
    if step.after is None:
        if held is not None:
            yield Mismatch(expect.name_of(step), "", "", "should be gone and is still there")
    elif held is None:
        yield Mismatch(expect.name_of(step), "", "", "is missing: the engine refused it")
    else:
        for option, value in expect.fields(step.after).items():
            got = held.get(expect.camel(option))
            if got is None or not expect.same(option, value, got):
                yield Mismatch(expect.name_of(step), option, value, "unknown to the engine" if got is None else got)


def _in_list(step: ReadBack) -> bool:
    """Whether the list of its type tells all of an object: it leaves out fixed contacts, and what is gone."""
    if step.file != PJSIP or step.type not in _LISTED or step.after is None:
        return False
    return step.after.get("contact") is None


def _list_check(steps: list[ReadBack]) -> Callable[[Answer], Iterator[Mismatch]]:
    def check(answer: Answer) -> Iterator[Mismatch]:
        messages = () if isinstance(answer, AmiError) else answer
        held = {message.get("ObjectName"): message.as_dict() for message in messages if message.event}
        for step in steps:
            yield from _compare(step, held.get(step.section))

    return check


def _ignore(_: Answer) -> Iterator[Mismatch]:
    return iter(())


_DONE: Final = Question(("", {}), _ignore)


def _ask(expression: str, check: Callable[[str], Iterable[Mismatch]]) -> Question:
    """A question whose answer is one value; a function that gives nothing counts as empty."""

    def read(answer: Answer) -> Iterator[Mismatch]:
        yield from check("" if isinstance(answer, AmiError) else answer[0].get("Value"))

    return Question(("Getvar", {"Variable": expression}), read)


def _field_check(name: str, option: str, wanted: str) -> Callable[[str], list[Mismatch]]:
    def check(got: str) -> list[Mismatch]:
        if expect.same(option, wanted, got) or _cut(wanted) == got:
            return []
        return [Mismatch(name, option, wanted, got)]

    return check


def _text_check(name: str, key: str, wanted: str) -> Callable[[str], list[Mismatch]]:
    """For values that the engine keeps as they are written."""
    return lambda got: [] if _cut(wanted) == got else [Mismatch(name, key, wanted, got)]


def _cut(value: str) -> str:
    """A value as Getvar gives it when it is long."""
    return value.encode()[:_GETVAR_BYTES].decode(errors="replace")


def _sorcery(step: ReadBack, option: str, name: str | None = None) -> str:
    return f"AST_SORCERY(res_pjsip,{step.type},{name or step.section},{option})"


def _detail(answer: Answer) -> dict[str, str] | None:
    if isinstance(answer, AmiError):
        return None
    return next((message.as_dict() for message in answer if message.event == "EndpointDetail"), None)


# Dialplan


def _context(step: ReadBack) -> Iterator[Question]:
    name = f"context {step.section}"

    def check(answer: Answer) -> Iterator[Mismatch]:
        got = _as_context(answer)
        if step.after is None:
            if got.steps or got.includes:
                yield Mismatch(name, "", "", "should be gone and is still there")
        else:
            yield from expect.compare_contexts(name, expect.context(step.after.options), got)

    yield Question(("ShowDialPlan", {"Context": step.section}), check)


def _as_context(answer: Answer) -> Context:
    steps: dict[tuple[str, str], Step] = {}
    includes: list[str] = []
    for message in () if isinstance(answer, AmiError) else answer:
        entry = message.as_dict()
        if "Priority" in entry:
            key = (entry.get("Extension", ""), entry["Priority"])
            steps[key] = Step(entry.get("ExtensionLabel", ""), entry.get("Application", ""), entry.get("AppData", ""))
        elif "IncludeContext" in entry:
            includes.append(entry["IncludeContext"])
    return Context(steps, tuple(includes))


def _variables(step: ReadBack) -> Iterator[Question]:
    """Global variables; the options of ``[general]`` can't be asked for."""
    if step.section == "globals" and step.after is not None:
        for name, value in step.after.options:
            yield _ask(name, _text_check("globals", name, value))


# Files read by expression


def _rows(step: ReadBack) -> Iterator[Question]:
    """The rows that changed, by the expression that the dialplan uses."""
    before = dict(reversed(step.before.options)) if step.before else {}
    after = dict(reversed(step.after.options)) if step.after else {}
    for key in dict.fromkeys((*after, *before)):
        wanted = after.get(key, "")
        if before.get(key) != after.get(key):
            yield _ask(
                f"AST_CONFIG({step.file},{step.section},{key})",
                _text_check(f"{step.file} [{step.section}]", key, wanted),
            )
