"""Puts the newest committed revision in force, whatever was under way when the applier, or an answer, was lost."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import structlog

from appliance.applier import plan as plans
from appliance.applier.apply import KEPT
from appliance.applier.generations import Generation, Generations
from appliance.applier.journal import LastError, Transaction
from appliance.applier.journal import State as Journalled
from appliance.applier.options import Configuration
from appliance.applier.plan import Files
from appliance.applier.schedule import without
from appliance.core.errors import NotFoundError
from appliance.store import State

if TYPE_CHECKING:
    from appliance.applier.service import Service

_log = structlog.get_logger("centralino.applier")


def converged(service: Service, *, first: bool) -> Configuration:
    """What is in force from now on. Under the service's lock.

    :param first: the applier has just started.
    :raises CentralinoError: the store or the disk refuses; call again later.
    """
    head = service.store.head()
    document = service.store.document(head.number)
    files = service.desired.files(document)
    state, generations = service.journal.state, service.applier.generations
    done = _settle_interrupted(service, head.number)
    before = generations.current()
    lost = service.desired.unreadable(document)
    kept: frozenset[str] = frozenset()
    made = _made_of(generations, state, head.number) if lost else None
    if made is not None:
        # When its secrets could still be opened: phones know these passwords, and none would know new ones.
        generation = made
        kept = frozenset(name for name, file in files.items() if not made.holds(name, plans.text_of(file)))
        if made != before:
            generations.switch(made)
    else:
        generation = _generation_of(generations, files, head.number)
    untouched = state.transaction is None and before == generation
    confirm = done.confirm if done else state.confirm
    service.journal.update(
        revision=head.number,
        generation=generation.number,
        transaction=None,
        collect=(*state.collect, *(done.collect if done else ())),
        confirm=confirm if confirm and confirm.revision == head.number else None,
        scheduled=without(state.scheduled, done.revision) if done else state.scheduled,
        verified=untouched and state.verified,
        last_error=_unreadable(head.number, lost) if lost else state.last_error,
    )
    generations.prune(KEPT)
    if first:
        _give_up_forgotten(service)
    if lost:
        _log.error("secrets_unreadable", count=len(lost), first=lost[0], files_kept=sorted(kept))
    _log.info("converged", revision=head.number, generation=generation.number, unchanged=untouched)
    return Configuration(head.number, document, files, kept)


def _settle_interrupted(service: Service, head: int) -> Transaction | None:
    """The revision that was under way, if it was committed just before the end; else it is marked as failed."""
    under_way = service.journal.state.transaction
    if under_way is None:
        return None
    with contextlib.suppress(NotFoundError):
        if service.store.revision(under_way.revision).state is State.COMMITTED:
            return under_way
        service.fail(under_way.revision, f"the applier was ended while applying it; {head} is in force")
    _log.warning("interrupted", revision=under_way.revision)
    return None


def _give_up_forgotten(service: Service) -> None:
    """At the start: nobody waits any more for a revision that was proposed to the applier before this one."""
    state = service.journal.state
    waiting = {each.revision for each in state.scheduled} | ({state.confirm.restore} if state.confirm else set())
    for revision in service.store.open_proposals():
        if revision.number not in waiting:
            service.fail(revision.number, "the applier ended before it was applied")


def _generation_of(generations: Generations, files: Files, revision: int) -> Generation:
    """The generation with exactly these files, in force: found on disk, or written."""
    texts = {name: plans.text_of(file) for name, file in files.items()}
    current = generations.current()
    candidates = [*([current] if current else []), *reversed(generations.all())]
    found = next((each for each in candidates if each.matches(texts)), None)
    if found is None:
        keep = [name for name, text in texts.items() if current is not None and current.holds(name, text)]
        writes = {name: text for name, text in texts.items() if name not in keep}
        found = generations.create(current, writes, keep, revision)
    if found != current:
        generations.switch(found)
    return found


def _made_of(generations: Generations, state: Journalled, revision: int) -> Generation | None:
    """The generation on the disk that was in force for a revision, or was written for it."""
    there = generations.all()[::-1]
    known = (each for each in there if (state.revision, state.generation) == (revision, each.number))
    return next(known, None) or next((each for each in there if each.revision == revision), None)


def _unreadable(revision: int, lost: list[str]) -> LastError:
    more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    message = f"secret/{lost[0]} can't be opened with the key file{more}"
    return LastError(revision=revision, error_id="bad_key", message=message)
