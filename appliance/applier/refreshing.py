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
from appliance.names.answers import Resolved
from appliance.pbx.trunks.endpoint import endpoint_name, version_of
from appliance.pbx.trunks.listeners import listener_for
from appliance.pbx.trunks.model import Provider, Trunk
from appliance.pbx.trunks.names import question

if TYPE_CHECKING:
    from appliance.applier.service import Service

_log = structlog.get_logger("centralino.applier")


def avoid_silent(service: Service) -> tuple[str, ...]:
    """Whoever is called by a name that means several addresses and doesn't answer at the one in use is called at the next: names of
    the trunks' endpoints. Under the service's lock.

    The engine notices by OPTIONS (trunks whose provider has ``probe`` off are never noticed), and tries other trunks meanwhile.

    :raises UnavailableError: the engine doesn't answer.
    """
    names, document = service.desired.names, service.current.document
    if not names.choices or service.applier.link.run is None:
        return ()
    resolved = names.resolved()
    moved = []
    for trunk in document.all(Trunk).values():
        provider = document.find(Provider, trunk.provider)
        asked = question(trunk, provider) if provider is not None else None
        if provider is None or asked is None or not provider.probe:
            continue
        version = version_of(listener_for(document, trunk, provider))
        there = [each for each in resolved.get(asked.key, Resolved()).targets if each.version == version]
        silent = len(there) > 1 and not service.applier.link.reaches(endpoint_name(trunk.id))
        if silent and names.away(asked.key, there[0]):
            moved.append(endpoint_name(trunk.id))
    return tuple(moved)


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
