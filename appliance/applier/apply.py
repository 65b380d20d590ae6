"""Walks the steps of a plan. On any failure the former generation stands again, and the engine is told and asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from appliance.applier.checkpoint import checkpoint
from appliance.applier.expect import Mismatch
from appliance.applier.generations import Generation, Generations
from appliance.applier.link import EngineLink
from appliance.applier.plan import FIREWALL, MODULES, TRANSPORT, TUNING, Files, changed_sections, text_of, written
from appliance.core.asterisk import ConfFile
from appliance.core.errors import ApplyError, CentralinoError
from appliance.core.plan import LoadRules, Plan, ReadBack, ReloadModule, RestartEngine, Step, WriteFile
from appliance.firewall.rules import digest_in

_log = structlog.get_logger("centralino.applier")

KEPT: Final = 5
"""Generations that stay on disk."""

SHOWN: Final = 3
"""Differences that an error message names."""

Progress = Callable[[str], None]


class Firewall(Protocol):
    """What loads rules: :class:`appliance.firewall.kernel.Kernel`."""

    def check(self, script: str) -> None:
        """:raises ApplyError: it would be refused."""

    def load(self, script: str) -> None:
        """All or nothing. :raises ApplyError: it was refused."""

    def tune(self, settings: str) -> Sequence[object]:
        """Make the kernel's settings; those that it doesn't take."""

    def digest(self) -> str | None:
        """Of the script that is loaded; None: none of ours."""


def everything(files: Files) -> Iterator[ReadBack]:
    """Read back each section of a configuration."""
    for name, file in sorted(files.items()):
        if isinstance(file, ConfFile):
            for (type, section), _, after in changed_sections(None, file):
                yield ReadBack(name, section, type, None, after)


def modules_of(files: Files) -> list[str]:
    """Every module that re-reads one of these files, in order."""
    return list(dict.fromkeys(module for name, module in MODULES.items() if name in files))


@dataclass(frozen=True, slots=True)
class Applier:
    """Puts configurations in force."""

    generations: Generations
    link: EngineLink
    firewall: Firewall | None = None
    """None: this machine's firewall isn't ours."""

    def write(self, plan: Plan, new: Files, revision: int) -> Generation:
        """Write the generation that the plan describes; it isn't in force yet.

        :raises UnavailableError: the disk is full, or refuses; nothing has changed.
        :raises ApplyError: the kernel would refuse the firewall's rules; nothing has changed.
        """
        if self.firewall is not None and any(isinstance(step, LoadRules) for step in plan.steps):
            self.firewall.check(text_of(new[FIREWALL]))
        base = self.generations.current()
        writes = {step.name: step.content for step in plan.steps if isinstance(step, WriteFile)}
        fresh = {name: text for name, text in writes.items() if text is not None}
        there = base.names() if base is not None else frozenset()
        keep = [name for name in new if name not in writes and name in there]
        fresh |= {name: text_of(new[name]) for name in new if name not in writes and name not in there}
        return self.generations.create(base, fresh, keep, revision, lambda name: checkpoint(f"wrote {name}"))

    def switch(self, plan: Plan, old: Files, new: Files, target: Generation, progress: Progress, *, tell: bool) -> None:
        """Put a generation in force, make the engine read it, and read back what changed.

        :param tell: False leaves the engine alone: it isn't running and will find the files when it starts.
        :raises ApplyError: the engine didn't take it; the former generation stands again.
        """
        base = self.generations.current()
        log = self.link.log()
        self.generations.switch(target)
        checkpoint("switched")
        try:
            self._load_rules(plan.steps, new)
            if not tell:
                return
            self._tell(plan.steps, progress)
            progress("reading back")
            wrong = self.link.mismatches(_read_backs(plan.steps), new)
            wrong += self.link.doors(new).mismatches if _touches_listeners(plan) else []
            refused = log.refusals()
            checkpoint("read back")
        except CentralinoError as error:
            raise self.revert(plan, old, base, error.message) from error
        if wrong or refused:
            raise self.revert(plan, old, base, "; ".join(map(_first, filter(None, (wrong, refused)))))

    def _tell(self, steps: tuple[Step, ...], progress: Progress) -> None:
        for step in steps:
            if isinstance(step, ReloadModule):
                progress(f"reloading {step.module}")
                self.link.reload(step.module)
                checkpoint(f"reloaded {step.module}")
            elif isinstance(step, RestartEngine):
                progress("restarting the engine")
                self.link.restart()
                checkpoint("restarted the engine")

    def _load_rules(self, steps: tuple[Step, ...], files: Files) -> None:
        if any(isinstance(step, LoadRules) for step in steps):
            self.enforce(files)
            checkpoint("loaded the firewall's rules")

    def enforce(self, files: Files) -> bool:
        """Load the firewall's rules of these files, if they aren't loaded; whether they had to be.

        :raises CentralinoError: the kernel refuses them; what was loaded still is.
        """
        wanted = files.get(FIREWALL)
        if self.firewall is None or wanted is None:
            return False
        lacking = self.firewall.digest() != digest_in(text_of(wanted))
        if lacking:
            self.firewall.load(text_of(wanted))
        if left := self.firewall.tune(
            text_of(files.get(TUNING, ""))
        ):  # after the rules: they bring its part of the kernel
            _log.debug("kernel_not_tuned", count=len(left), first=str(left[0]))
        return lacking

    def revert(self, plan: Plan, old: Files, base: Generation | None, reason: str) -> ApplyError:
        """Put the former generation in force again; gives the error to raise, which says whether the engine has it."""
        if base is None:
            return ApplyError(f"the engine didn't take the change: {reason}", "centralino doctor")
        failed = self.generations.current()
        self.generations.switch(base)
        if failed is not None:
            self.generations.discard(failed)
        verified, note = False, ""
        try:
            self._load_rules(plan.steps, old)
            self.link.ping()
            self._tell(plan.steps, lambda _: None)
            back = [
                ReadBack(step.file, step.section, step.type, step.after, step.before)
                for step in _read_backs(plan.steps)
            ]
            wrong = self.link.mismatches(back, old)
            if _touches_listeners(plan):
                wrong += self.link.doors(old).mismatches
            verified = not wrong
            note = f"; after going back {_first(wrong)}" if wrong else ""
        except CentralinoError as error:
            note = f"; the former files stand again, but the engine couldn't be asked: {error.message}"
        _log.warning("reverted", reason=reason, verified=verified)
        return RevertedError(f"the engine didn't take the change: {reason}{note}", verified=verified)

    def verify(self, files: Files, *, reload: bool) -> list[Mismatch]:
        """Ask the engine for everything.

        :param reload: let it read all its files first: it may hold what an interrupted apply left.
        :raises CentralinoError: it doesn't answer, or a module refused to reload.
        """
        if reload:
            for module in modules_of(files):
                self.link.reload(module)
        return self.link.mismatches(everything(files), files)


class RevertedError(ApplyError):
    """The change was undone; ``verified``: the engine was asked and holds the former configuration."""

    def __init__(self, message: str, *, verified: bool) -> None:
        hint = (
            "the former configuration is in force; correct the object and commit again"
            if verified
            else "the former configuration is checked again as soon as the engine answers: centralino status"
        )
        super().__init__(message, hint)
        self.verified = verified


def _touches_listeners(plan: Plan) -> bool:
    """Whether ports are opened or closed by it: by transports, by the web server of WSS, or because all are."""
    return "http.conf" in written(plan) or any(
        isinstance(step, RestartEngine) or (isinstance(step, ReadBack) and step.type == TRANSPORT)
        for step in plan.steps
    )


def _read_backs(steps: tuple[Step, ...]) -> list[ReadBack]:
    return [step for step in steps if isinstance(step, ReadBack)]


def _first(wrong: list[Mismatch]) -> str:
    more = f" (and {len(wrong) - SHOWN} more)" if len(wrong) > SHOWN else ""
    return "; ".join(map(str, wrong[:SHOWN])) + more
