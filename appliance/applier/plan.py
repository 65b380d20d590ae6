"""Files of the old revision against files of the new one → the steps from one to the other (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from appliance.applier.expect import redacted
from appliance.core.asterisk import ConfFile, Section
from appliance.core.document import Change
from appliance.core.plan import (
    CollectState,
    Effect,
    LoadRules,
    Plan,
    ReadBack,
    ReloadModule,
    RestartEngine,
    Step,
    WriteFile,
)
from appliance.failover.plan import FILE as RELAYS
from appliance.vpn.plan import without_routes
from appliance.vpn.slices.plan import FOLDER as SLICES
from appliance.vpn.slices.plan import kept_of_tunnel

Files = Mapping[str, ConfFile | str]
"""Every file of the engine's configuration by name: sections where a feature wrote it, or plain text."""

SectionKey = tuple[str, str]
"""(type, name); the type is empty but for objects of pjsip.conf."""

MODULES: Final[Mapping[str, str]] = {
    "pjsip.conf": "res_pjsip.so",
    "extensions.conf": "pbx_config.so",
    "musiconhold.conf": "res_musiconhold.so",
    "rtp.conf": "res_rtp_asterisk.so",
    "cel_custom.conf": "cel_custom.so",
    "http.conf": "http",
    "manager.conf": "manager",
    "cel.conf": "cel",
    "cdr.conf": "cdr",
    "features.conf": "features",
    "logger.conf": "logger",
    "udptl.conf": "udptl",
    "indications.conf": "indications",
    "acl.conf": "acl",
}
"""File → the engine module that re-reads it. The order is the order of reloads."""

HOT: Final = "tables/"
"""Files below it are read at call time: nothing is reloaded."""
READ_AT_RELOAD: Final[Mapping[str, str]] = {"tables/hints.conf": "pbx_config.so"}
"""But for these: a hint is evaluated when its first watcher comes and at a reload, not again in between."""

FIREWALL: Final = "host/firewall.nft"
"""The rules of this machine's firewall: in the generation, so that they go forward and back with everything else."""

TUNING: Final = "host/sysctl.conf"
"""Settings of the kernel that those rules rely on (:mod:`appliance.firewall.tuning`)."""

VPN: Final = "host/vpn/"
"""Configurations of the voice VPN's daemons, which their keeper follows (:mod:`appliance.vpn.configured`)."""

TURN: Final = "host/turn/"
"""Configuration of the TURN server, which its keeper follows (:mod:`appliance.turn.keeper`)."""

PJSIP: Final = "pjsip.conf"
TRANSPORT: Final = "transport"

RUNTIME: Final[Mapping[str, tuple[str, ...]]] = {
    "extension": ("dnd", "forward", "lock"),
    "ring_group": ("round-robin",),
}
"""Kind → families of the engine's database that hold runtime values of its objects, keyed by object id."""


def text_of(file: ConfFile | str) -> str:
    """The whole file as text."""
    return file if isinstance(file, str) else file.text


def grouped(file: ConfFile) -> dict[SectionKey, Section]:
    """Sections by type and name. The engine merges dialplan contexts of one name, so equal names are merged here."""
    found: dict[SectionKey, Section] = {}
    for section in file.sections:
        key = (section.type, section.name)
        first = found.get(key)
        found[key] = section if first is None else Section(section.name, first.options + section.options, section.type)
    return found


def changed_sections(
    old: ConfFile | None, new: ConfFile | None
) -> Iterator[tuple[SectionKey, Section | None, Section | None]]:
    """(key, before, after) of each section that differs, in the order of the new file, removed ones last."""
    before = grouped(old) if old else {}
    after = grouped(new) if new else {}
    for key, section in after.items():
        was = before.get(key)
        if was is not section and was != section:
            yield key, was, section
    for key, section in before.items():
        if key not in after:
            yield key, section, None


def build(old: Files, new: Files, changes: Iterable[Change] = ()) -> Plan:
    """The plan that leads from one set of files to the other.

    Order of the steps: files, the firewall's rules, reloads (one per module) or one restart, what to read back, values to collect.
    """
    changes = tuple(changes)
    writes: list[Step] = []
    readbacks: list[ReadBack] = []
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if was is now or was == now:
            continue
        sections = list(_read_backs(name, was, now))
        if not sections and was is not None and now is not None and text_of(was) == text_of(now):
            continue
        content = None if now is None else text_of(now)
        effect = _effect_of_host(name, was, now)
        writes.append(WriteFile(name, content, effect))
        readbacks.extend(sections)
    ruled = isinstance(new.get(FIREWALL), str) and (_writes(writes, FIREWALL) or _writes(writes, TUNING))
    rules = [LoadRules(FIREWALL)] if ruled else []
    reloads = _reloads([step for step in writes if isinstance(step, WriteFile)], readbacks)
    steps = [*writes, *rules, *reloads, *readbacks]
    return Plan(changes, (*steps, *_collected(changes)))


def _writes(steps: Iterable[Step], name: str) -> bool:
    return any(isinstance(step, WriteFile) and step.name == name for step in steps)


def _read_backs(name: str, was: ConfFile | str | None, now: ConfFile | str | None) -> Iterator[ReadBack]:
    old = was if isinstance(was, ConfFile) else None
    new = now if isinstance(now, ConfFile) else None
    for (type, section), before, after in changed_sections(old, new):
        effect = _effect_of_section(name, type, before, after)
        yield ReadBack(name, section, type, before, after, effect)


def _effect_of_file(name: str) -> Effect:
    if name.startswith(HOT) or name in MODULES or name in (FIREWALL, TUNING):
        return Effect.DROPS_CONNECTIONS if name == "http.conf" else Effect.LIVE
    return Effect.NEEDS_RESTART


def _effect_of_host(name: str, was: ConfFile | str | None, now: ConfFile | str | None) -> Effect:
    if name.startswith(VPN):
        return _effect_of_tunnels(name, was, now)
    if name.startswith(TURN):  # started anew, or ended: the voice of browsers that it carries is gone for seconds
        return Effect.LIVE if was is None else Effect.DROPS_CONNECTIONS
    return _effect_of_file(name)


def _effect_of_tunnels(name: str, was: ConfFile | str | None, now: ConfFile | str | None) -> Effect:
    """A daemon whose configuration changes is started anew, and its branches are back in seconds; routes and what single
    branches are given disturb nobody."""
    if name.startswith(SLICES):  # an edge whose slice says so starts its OpenVPN anew
        same = was is None or now is None or kept_of_tunnel(text_of(was)) == kept_of_tunnel(text_of(now))
        return Effect.LIVE if same else Effect.DROPS_CONNECTIONS
    if name == RELAYS:  # told to relays as they run; without any, edges have been told so by their slices
        return Effect.LIVE
    same = was is None or (now is not None and without_routes(text_of(was)) == without_routes(text_of(now)))
    return Effect.LIVE if same or not name.endswith(".conf") else Effect.DROPS_CONNECTIONS


def _effect_of_section(name: str, type: str, before: Section | None, after: Section | None) -> Effect:
    """A transport that is changed or taken away takes its connections with it; a new one disturbs nobody."""
    if name == PJSIP and type == TRANSPORT and before is not None:
        return Effect.DROPS_CONNECTIONS if after is not None else Effect.NEEDS_RESTART
    if name == PJSIP and type == "system":
        return Effect.NEEDS_RESTART
    return Effect.LIVE


def _reloads(writes: list[WriteFile], readbacks: list[ReadBack]) -> Iterator[Step]:
    names = {step.name for step in writes}
    fixed = [step.name for step in writes if step.effect is Effect.NEEDS_RESTART]
    fixed += [
        f"{step.file} [{step.section}]"
        for step in readbacks
        if step.effect is Effect.NEEDS_RESTART and step.file not in fixed
    ]
    if fixed:
        yield RestartEngine(f"{', '.join(fixed)}: read at start only")
        return
    order = list(Effect)
    asked = {module for name, module in READ_AT_RELOAD.items() if name in names}
    for name, module in MODULES.items():
        if name in names or module in asked:
            effects = [Effect.LIVE, *(step.effect for step in writes if step.name == name)]
            effects += [step.effect for step in readbacks if step.file == name]
            yield ReloadModule(module, max(effects, key=order.index))


def _collected(changes: Iterable[Change]) -> Iterator[CollectState]:
    for change in changes:
        if change.after is None and change.kind in RUNTIME:
            yield CollectState(change.kind, change.id)


def written(plan: Plan) -> frozenset[str]:
    """Names of the files that a plan writes or removes."""
    return frozenset(step.name for step in plan.steps if isinstance(step, WriteFile))


def checkpoints(plan: Plan, *, confirm: bool = False) -> tuple[str, ...]:
    """Names of the moments between the steps of an apply, in order: where a test can kill the applier."""
    names = ["journalled"]
    writes = [f"wrote {step.name}" for step in plan.steps if isinstance(step, WriteFile) and step.content is not None]
    names += [*writes, "generation complete", "switched"]
    for step in plan.steps:
        if isinstance(step, LoadRules):
            names.append("loaded the firewall's rules")
        elif isinstance(step, ReloadModule):
            names.append(f"reloaded {step.module}")
        elif isinstance(step, RestartEngine):
            names.append("restarted the engine")
    names.append("read back")
    if confirm:
        names.append("confirm pending")
    names += ["promoted", "settled", "handed out", "collected", "pruned"]
    return tuple(names)


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data. Contents and options stay out of it: they hold secrets."""
    return {
        "effect": plan.effect.value,
        "changes": [{"path": change.path, "action": _action(change.before, change.after)} for change in plan.changes],
        "steps": [_step_json(step) for step in plan.steps],
    }


def _action(before: object | None, after: object | None) -> str:
    return "added" if before is None else "removed" if after is None else "changed"


def _step_json(step: Step) -> dict[str, Any]:
    known: dict[str, Any]
    match step:
        case WriteFile():
            known = {"step": "write_file", "file": step.name, "action": "remove" if step.content is None else "write"}
        case ReloadModule():
            known = {"step": "reload_module", "module": step.module}
        case RestartEngine():
            known = {"step": "restart_engine", "reason": step.reason}
        case LoadRules():
            known = {"step": "load_rules", "file": step.name}
        case ReadBack():
            action = _action(step.before, step.after)
            known = {
                "step": "read_back",
                "file": step.file,
                "section": redacted(step.section),
                "type": step.type,
                "action": action,
            }
        case CollectState():
            known = {"step": "collect_state", "kind": step.kind, "id": step.id}
    return {**known, "effect": step.effect.value, "text": sentence(step)}


LABELS: Final = {
    Effect.LIVE: "live",
    Effect.DROPS_CONNECTIONS: "drops connections",
    Effect.NEEDS_RESTART: "needs restart",
}


def for_people(plan: dict[str, Any], read_backs: int = 20, say: Callable[[str], str] = str) -> str:
    """The plan (as by :func:`as_json`) as lines of text; of many objects to read back only the first are named.

    :param say: translates words and sentences.
    """
    lines = [f"{say(change['action']):10} {change['path']}" for change in plan["changes"]]
    lines.append("")
    shown = 0
    for step in plan["steps"]:
        if step["step"] == "read_back" and step["effect"] == Effect.LIVE.value:
            shown += 1
            if shown > read_backs:
                continue
        lines.append(f"[{say(LABELS[Effect(step['effect'])])}] {say(step['text'])}")
    if shown > read_backs:
        lines.append(f"[{say(LABELS[Effect.LIVE])}] " + say(f"… and {shown - read_backs} more objects to read back"))
    if not plan["steps"]:
        lines.append(say("nothing to do on the engine"))
    return "\n".join(lines).lstrip("\n")


def sentence(step: Step) -> str:
    """One step in words."""
    match step:
        case WriteFile(name, None):
            return f"remove {name}"
        case WriteFile(name, content):
            return f"write {name} ({len((content or '').encode())} bytes)"
        case ReloadModule(module):
            return f"reload {module}"
        case RestartEngine(reason):
            return f"restart the engine ({reason})"
        case LoadRules():
            return "load the firewall's rules"
        case ReadBack():
            section = redacted(step.section)
            name = f"{step.type} {section}" if step.type else f"[{section}]"
            return f"read back {name} of {step.file} ({_action(step.before, step.after)})"
        case CollectState(kind, id):
            return f"forget the runtime values of {kind} {id}"
