"""The revision in force, made anew with what has been learned since: addresses of the names that its document mentions.

A generation like any other, of the same revision: rules of the firewall and objects of the engine change together or not at all,
what changed is read back, and on any failure the former generation stands again. Killed in between, the next start finds the
engine unverified, and the newest answers in the names' own file.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from appliance.applier import plan as plans
from appliance.applier.apply import KEPT
from appliance.applier.options import quiet
from appliance.applier.plan import FIREWALL, TUNING, Files
from appliance.core.errors import ApplyError
from appliance.core.plan import Effect

if TYPE_CHECKING:
    from appliance.applier.service import Service

_log = structlog.get_logger("centralino.applier")


def refresh(service: Service) -> bool:
    """Put what has been learned in force; whether anything changed. Under the service's lock.

    :raises CentralinoError: kernel, engine or disk refuses; what was in force still is.
    """
    held, applier, journal = service.current, service.applier, service.journal
    files: Files = service.desired.files(held.document)
    if held.kept:  # files that can't be made anew while secrets can't be opened: the engine keeps what it has
        files = {**held.files, **{name: files[name] for name in (FIREWALL, TUNING) if name in files}}
    plan = plans.build(held.files, files)
    if not plan.steps:
        return False
    if plan.effect is not Effect.LIVE:
        raise ApplyError(
            "what host names mean now waits: it would be put in force with what disturbs calls",
            "centralino plan shows it; the next commit does it",
            error_id="names_wait",
        )
    base, online, verified = applier.generations.current(), applier.link.answers, journal.state.verified
    journal.update(verified=False)
    target = applier.write(plan, files, held.revision)
    try:
        applier.switch(plan, held.files, files, target, quiet, tell=online)
    finally:
        current = applier.generations.current()
        number = current.number if current is not None else 0
        journal.update(generation=number, verified=verified and online and current in (base, target))
    service.hold(replace(held, files=files))
    applier.generations.prune(KEPT)
    _log.info("refreshed", revision=held.revision, generation=target.number, told_engine=online)
    return True
