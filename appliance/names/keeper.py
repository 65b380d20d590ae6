"""Asks for names when it is time, and keeps what was learned: in memory, and in one file for the next start.

=====================  ==========================================================================================
name servers silent    what was known stays for 30 days; asked again after 30 s, then ever more seldom, 15 min at most
an answer of lies      what can't be is left out; an answer of nothing else counts as none
disk full              what was learned is used, and written as soon as there is room
killed at any moment   the file is replaced as a whole: the old or the new one
garbage in the file    it counts as absent: names are asked for anew
the clock jumps        nothing: running time alone counts
=====================  ==========================================================================================
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import TypeAdapter, ValidationError

from appliance.applier.files import replace
from appliance.core.errors import CentralinoError
from appliance.engine.runner import run
from appliance.i18n import later
from appliance.names.answers import Answer, Known, Question, Resolved, Target, judged, pause_s
from appliance.names.wanted import Wanted

_log = structlog.get_logger("centralino.names")

ROUND_S: Final = 45.0
"""After so long a round of questions is given up."""
AWAY_S: Final = (600.0, 21_600.0)
"""For so long a target that doesn't answer is called last, if there are others; twice as long each time, until it is a day old."""
NOTED_S: Final = 3600.0
"""How often it is noted that nothing has changed."""

Ask = Callable[[Sequence[Question]], Mapping[str, Answer]]
_KNOWN: Final = TypeAdapter(dict[str, Known])
_ANSWERS: Final = TypeAdapter(dict[str, Answer])


def known_in(file: Path) -> dict[str, Known]:
    """What such a file holds; nothing if it isn't there, or can't be read."""
    try:
        return _KNOWN.validate_json(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError, ValueError) as error:
        _log.error("names_unreadable", file=str(file), error=type(error).__name__)
        return {}


def sources_in(file: Path) -> dict[str, tuple[str, ...]]:
    """For processes that aren't the applier: addresses by name, for :attr:`appliance.firewall.promise.Machine.names`."""
    return {key: each.sources for key, each in known_in(file).items() if each.sources}


def asker(resolv_conf: Path, network_namespace: str | None = None) -> Ask:
    """Asks by a process of its own (:mod:`appliance.names.asking`).

    :param resolv_conf: whose name servers are asked, if it names any; else the system's.
    """

    def ask(questions: Sequence[Question]) -> Mapping[str, Answer]:
        inside = ["ip", "netns", "exec", network_namespace] if network_namespace else []
        argv = [*inside, sys.executable, "-m", "appliance.names.asking", str(resolv_conf)]
        env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        asked = json.dumps([each.model_dump() for each in questions])
        said = run(
            argv, timeout_s=ROUND_S, input_text=asked, env=env
        )  # none of our own environment: it may hold passwords
        return _ANSWERS.validate_json(said.output)

    return ask


class Names:
    """The names of the document in force. All methods may be called from any thread."""

    def __init__(self, file: Path, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._ask, self._clock = file, ask, clock
        self._changed = threading.Condition()
        self._known = known_in(file)
        self._wanted = Wanted()
        self._due: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._away: dict[tuple[str, Target], tuple[float, float]] = {}
        self._noted, self._unwritten = clock(), False
        self._thread: threading.Thread | None = None
        self._stopping = False

    def resolved(self) -> Mapping[str, Resolved]:
        """What plans are told, by the key of the question."""
        with self._changed:
            return {
                key: Resolved(self._ordered(key, each), each.sources) for key, each in self._known.items() if each.held
            }

    def _ordered(self, key: str, known: Known) -> tuple[Target, ...]:
        """Those that don't answer come last."""
        now = self._clock()
        away = {target for (of, target), (until, _) in self._away.items() if of == key and until > now}
        return tuple(sorted(known.targets, key=lambda each: each in away))

    def away(self, key: str, target: Target) -> bool:
        """A target doesn't answer: whether there are others of its family, which come before it from now on."""
        with self._changed:
            known = self._known.get(key, Known())
            others = [each for each in known.targets if each.version == target.version and each != target]
            if not others or target not in known.targets:
                return False
            now = self._clock()
            until, pause = self._away.get((key, target), (0.0, 0.0))
            if until <= now:
                first, longest = AWAY_S
                pause = min(longest, 2 * pause) if pause and now - until < longest else first
                self._away[key, target] = (now + pause, pause)
                _log.warning("target_away", name=key, address=target.address, port=target.port, seconds=pause)
            return True

    @property
    def choices(self) -> bool:
        """Whether any name means more than one target."""
        with self._changed:
            return any(len(each.targets) > 1 for each in self._known.values())

    def told(self) -> list[dict[str, Any]]:
        """For people: each name that is wanted, its addresses, and what isn't well."""
        with self._changed:
            return [
                {
                    "name": f"{question.service}.{question.name}".lstrip("."),
                    "addresses": list(known.sources),
                    "asked": key in self._asked,
                    "failing_s": known.failing_s,
                    "error": known.error,
                    "refused": list(known.refused),
                }
                for key, question in sorted(self._wanted.questions.items())
                for known in [self._known.get(key, Known())]
            ]

    def follow(self, wanted: Wanted) -> None:
        """These names are wanted from now on. New ones are asked for at once; those that nobody wants are forgotten."""
        with self._changed:
            if wanted == self._wanted:
                return
            before, self._wanted = self._wanted, wanted
            for key, limits in wanted.limits.items():  # what can't be a provider's any more is forgotten at once
                if (known := self._known.get(key)) is not None:
                    self._known[key] = known.within(limits)
            for key in wanted.questions:
                if key not in before.questions or before.limits.get(key) != wanted.limits.get(key):
                    self._due[key] = self._clock()
            self._away = {place: left for place, left in self._away.items() if place[0] in wanted.questions}
            for each in (self._due, self._asked, self._failures):
                for key in each.keys() - wanted.questions.keys():
                    del each[key]
            self._changed.notify_all()

    def again(self) -> list[str]:
        """Ask for every name now, whenever it was asked for last; which these are."""
        with self._changed:
            self._due = dict.fromkeys(self._wanted.questions, self._clock())
            self._failures = {}
            self._changed.notify_all()
            return sorted(self._due)

    def due_in(self) -> float | None:
        """Seconds until there is something to ask (0: now); None: nothing is wanted."""
        with self._changed:
            return max(0.0, min(self._due.values()) - self._clock()) if self._due else None

    def work(self) -> bool:
        """Ask for what is due; whether anything was learned that plans must know. Takes :data:`ROUND_S` at most."""
        with self._changed:
            now, wanted = self._clock(), self._wanted
            due = [wanted.questions[key] for key, when in self._due.items() if when <= now]
        if not due:
            return False
        try:
            answers = self._ask(due)
        except (CentralinoError, ValidationError, ValueError) as error:
            _log.error("names_not_asked", error=str(error)[:200])
            answers = {}
        before = self.resolved()
        with self._changed:
            for question in due:
                if question.key in self._wanted.questions:
                    self._take(
                        question.key, answers.get(question.key, Answer(error=later("name servers couldn't be asked")))
                    )
        after = self.resolved()
        self._note(changed=before != after)
        return before != after

    def _take(self, key: str, answer: Answer) -> None:
        now = self._clock()
        elapsed = now - self._asked.get(key, now)
        known = self._known.get(key, Known())
        believed, refused = judged(answer.targets, self._wanted.limits[key])
        if believed:
            fresh = known.heard(believed, refused, 0.0 if answer.partial else elapsed)
        else:
            reason = answer.error or later("the name has no address")
            if refused:
                reason = f"none of its addresses can be a provider's: {', '.join(refused[:4])}"
            fresh = known.failed(reason, refused, elapsed)
        failures = self._failures[key] = 0 if believed else self._failures.get(key, 0) + 1
        if (fresh.error, fresh.refused, fresh.sources) != (known.error, known.refused, known.sources):
            log = _log.warning if fresh.error or fresh.refused else _log.info
            log("name_looked_up", name=key, addresses=fresh.sources, error=fresh.error, refused=fresh.refused)
        self._known[key], self._asked[key] = fresh, now
        self._due[key] = now + pause_s(answer, failures)

    def _note(self, *, changed: bool) -> None:
        """Write down what is known, of names that are wanted."""
        with self._changed:
            self._unwritten |= changed or self._clock() - self._noted >= NOTED_S or not self._file.exists()
            if not self._unwritten:
                return
            text = _KNOWN.dump_json({key: self._known[key] for key in self._known if key in self._wanted.questions})
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            replace(self._file, text, 0o644)
        except OSError as error:
            _log.error("names_not_written", error=error.strerror)
            return
        with self._changed:
            self._unwritten, self._noted = False, self._clock()

    # A thread of its own

    def start(self) -> None:
        """Ask from now on, until :meth:`stop`."""
        self._thread = threading.Thread(target=self._run, name="names", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more questions. One that is under way ends with the process: nobody waits for a silent name server."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                due = self.due_in()
                if due != 0.0 and not self._stopping:
                    self._changed.wait(due)
                if self._stopping:
                    return
            try:
                self.work()
            except Exception:  # noqa: BLE001 (a mistake of ours must not end the looking-up)
                _log.exception("names_failed")
                time.sleep(1.0)
