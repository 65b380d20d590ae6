"""Verbs about the document as a whole: plan, commit, confirm, roll back, history, diff, export, import."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from rich.markup import escape

from appliance.applier.confirm import LONGEST_S
from appliance.commands.common import (
    Json,
    author,
    err,
    local_time,
    out,
    plain,
    print_fault,
    print_json,
    print_table,
    store,
)
from appliance.core.document import Change
from appliance.core.errors import CentralinoError, Fault, InvalidError, NotFoundError, UnavailableError
from appliance.i18n import _, translated
from appliance.paths import Paths

OF_THIS_MACHINE = frozenset({"bad_key", "certificate"})
"""Ids of faults that a document has on one machine and not on another."""

Message = Annotated[str, typer.Option("--message", "-m", help=_("Why: shown in the history"))]
Confirm = Annotated[
    str | None, typer.Option("--confirm", help=_("Go back unless confirmed within this time: 10m, 90s, 2h"))
]
Drops = Annotated[bool, typer.Option("--allow-drops", help=_("Also steps that drop connections"))]
Restart = Annotated[bool, typer.Option("--allow-restart", help=_("Also steps that restart the engine"))]
At = Annotated[str | None, typer.Option("--at", help=_("Do it at this time: 22:30, or 2030-01-31T22:30"))]
Offline = Annotated[
    bool, typer.Option("--offline", help=_("The engine doesn't run: it takes the files at its next start"))
]


def add_to(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    panel = _("The configuration document")
    verbs = {
        "plan": (plan, _("What a commit would change, in the document and in the system")),
        "commit": (commit, _("Apply your staged changes")),
        "confirm": (confirm, _("Keep what was committed with --confirm")),
        "rollback": (rollback, _("Make an old revision's content the newest")),
        "discard": (discard, _("Forget your staged changes")),
        "history": (history, _("Revisions, newest first")),
        "diff": (diff, _("What differs between two revisions")),
        "verify": (verify, _("Look for faults in the document with your staged changes")),
    }
    for name, (function, text) in verbs.items():
        register: Any = app.command(name, help=text, rich_help_panel=panel)
        register(function)


def plan(json: Json = False) -> None:
    """Ask the applier what committing the staged changes would do."""
    from appliance.applier.client import ApplierClient

    with store() as opened:
        if not opened.candidate(author()):
            print_json({"changes": [], "steps": []}) if json else out.print(_("Nothing is staged."))
            return
        proposed = opened.propose_staged(author(), _("plan"))
    client = ApplierClient(Paths.default().applier_socket)
    try:
        with progress(quiet=json, what=_("Planning …")):
            found = client.plan(proposed.number)
    finally:
        with store() as opened:
            opened.withdraw(proposed.number)
    print_json(found) if json else show_plan(found)


def show_plan(found: dict[str, Any]) -> None:
    """A plan for people."""
    from appliance.applier.plan import for_people

    out.print(escape(for_people(found, say=translated)))
    out.print(_("Effect: {effect}").format(effect=effect_text(found["effect"])))


def effect_text(effect: str) -> str:
    """What a plan does to calls and connections."""
    return {
        "live": _("live: no call notices it"),
        "drops_connections": _("drops connections: commit --allow-drops"),
        "needs_restart": _("needs a restart of the engine: commit --allow-restart"),
    }.get(effect, effect)


def commit(
    message: Message = "", confirm: Confirm = None, allow_drops: Drops = False, allow_restart: Restart = False,
    at: At = None, offline: Offline = False, json: Json = False,
) -> None:  # fmt: skip
    """Propose the staged changes and have them applied."""
    from appliance.applier.client import ApplierClient

    window, when = seconds(confirm) if confirm else None, moment(at) if at else None
    ApplierClient(Paths.default().applier_socket).state()  # without an applier, nothing is left in the history
    with store() as opened:
        revision = opened.propose_staged(author(), message)
    allow = allowed(allow_drops, allow_restart)
    with progress(quiet=json) as say, answering_for(revision.number):
        client = ApplierClient(Paths.default().applier_socket, say)
        answer = client.apply(revision.number, allow=allow, confirm_s=window, at=when, offline=offline)
    report(answer, json=json)


@contextmanager
def answering_for(revision: int) -> Iterator[None]:
    """A proposal that the applier refused to look at is as if it had never been made. One that it may be applying, only
    that its answer doesn't come, is left to it."""
    try:
        yield
    except CentralinoError as error:
        if error.error_id != "applier_unreachable":
            with store() as opened:
                opened.withdraw(revision)
        raise


def confirm(json: Json = False) -> None:
    """Keep the revision that waits for confirmation."""
    from appliance.applier.client import ApplierClient

    report(ApplierClient(Paths.default().applier_socket).confirm(), json=json)


def revisions() -> list[str]:
    """Numbers of committed revisions, for the shell's completion."""
    from appliance.commands.completion import completed

    return completed(lambda opened: [str(r.number) for r in opened.history(100) if r.state == "committed"])


def rollback(
    revision: Annotated[int, typer.Argument(help=_("Its number: centralino history"), autocompletion=revisions)],
    message: Message = "",
    confirm: Confirm = None,
    allow_drops: Drops = False,
    allow_restart: Restart = False,
    at: At = None,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """A new revision with the content of an old one."""
    from appliance.applier.client import ApplierClient

    window, when = seconds(confirm) if confirm else None, moment(at) if at else None
    with progress(quiet=json) as say:
        answer = ApplierClient(Paths.default().applier_socket, say).rollback(
            revision,
            author=author(),
            message=message,
            allow=allowed(allow_drops, allow_restart),
            confirm_s=window,
            at=when,
            offline=offline,
        )
    report(answer, json=json)


@contextmanager
def progress(*, quiet: bool, what: str = "") -> Iterator[Callable[[str], None]]:
    """A moving line on a terminal that says which step is under way."""
    if quiet or not err.is_terminal:
        yield lambda _text: None
        return
    with err.status(what or _("Committing …")) as status:
        yield lambda text: status.update(escape(translated(text)))


def report(answer: dict[str, Any], *, json: bool) -> None:
    """What the applier did."""
    if json:
        print_json(answer)
        return
    out.print(
        _("Revision {revision}: {state}.").format(
            revision=answer["revision"], state=state_text(answer.get("state", "committed"))
        )
    )
    if answer.get("at"):
        out.print(_("It will be applied at {time}.").format(time=local_time(answer["at"])))
    if answer.get("confirm_left_s"):
        out.print(
            _("Say “centralino confirm” within {seconds:.0f} s, or it is undone.").format(
                seconds=answer["confirm_left_s"]
            )
        )


def state_text(state: str) -> str:
    """A revision's state in words."""
    return {
        "proposed": _("proposed"),
        "committed": _("committed"),
        "failed": _("failed"),
        "superseded": _("superseded"),
        "scheduled": _("scheduled"),
        "confirmed": _("confirmed"),
        "cancelled": _("cancelled"),
        "in_force": _("already in force"),
        "unknown": _("unknown"),
    }.get(state, state)


def allowed(drops: bool, restart: bool) -> tuple[str, ...]:
    """Effects beyond *live* that were asked for."""
    return tuple(name for name, asked in (("drops_connections", drops), ("needs_restart", restart)) if asked)


def discard(
    kind: Annotated[str | None, typer.Argument(help=_("Only changes of this kind …"))] = None,
    id: Annotated[str | None, typer.Argument(help=_("… and of this object"))] = None,
    json: Json = False,
) -> None:
    """Forget the staged changes."""
    with store() as opened:
        staged = opened.candidate(author())
        keys = [*((item.kind, item.id) for item in staged.put), *staged.remove]
        chosen = [key for key in keys if kind in (None, key[0]) and id in (None, key[1])]
        if kind is not None and not chosen:
            wanted = f"{kind}/{id}" if id else kind
            raise NotFoundError(f"nothing of {wanted} is staged", "centralino diff shows what is")
        opened.discard(author(), None if kind is None else chosen)
    if json:
        print_json({"discarded": [f"{key[0]}/{key[1]}" for key in chosen]})
    else:
        out.print(_("Forgotten."))


def verify(json: Json = False) -> None:
    """All faults and warnings at once; exit code 1 when there are faults."""
    from appliance.commands.objects import current
    from appliance.verify import check

    found = [*check(current()), *of_this_machine()]
    if json:
        print_json([asdict(fault) for fault in found])
    elif not found:
        out.print(_("No fault found."))
    for fault in found if not json else []:
        print_fault(fault)
    if any(fault.severity == "error" for fault in found):
        raise typer.Exit(1)


def of_this_machine() -> list[Fault]:
    """What the applier finds amiss beside the document: keys and certificates. Nothing while it doesn't run."""
    from appliance.applier.client import ApplierClient

    try:
        found = ApplierClient(Paths.default().applier_socket).verify()
    except UnavailableError:
        return []
    faults = [Fault(**fault) for fault in found]  # type: ignore[arg-type]
    return [fault for fault in faults if fault.error_id in OF_THIS_MACHINE]


def history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help=_("Revisions shown"))] = 20, json: Json = False
) -> None:
    """Revisions of every state."""
    with store() as opened:
        revisions = opened.history(limit)
    if json:
        print_json([
            {"number": r.number, "parent": r.parent, "author": r.author, "time": r.time, "message": r.message,
             "state": str(r.state), "reason": r.reason} for r in revisions
        ])  # fmt: skip
        return
    rows = (
        [str(r.number), local_time(r.time), r.author, state_text(r.state), r.message or translated(r.reason)]
        for r in revisions
    )
    columns = (_("revision"), _("time"), _("author"), _("state"), _("message"))
    print_table(_("History"), columns, rows, empty=_("No revision yet: nothing was ever committed."))


def diff(
    a: Annotated[
        int | None, typer.Argument(help=_("From this revision; none: the newest against your staged changes"))
    ] = None,
    b: Annotated[int | None, typer.Argument(help=_("To this one; none: the newest"))] = None,
    json: Json = False,
) -> None:
    """Field by field; secrets only as changed or not."""
    from appliance.core.document import changes

    with store() as opened:
        if a is None:
            base = opened.document()
            found = changes(base, opened.candidate(author()).on(base))
        else:
            found = opened.diff(a, b if b is not None else opened.head().number)
    show_changes(found, json=json)


def show_changes(found: Iterable[Change], *, json: bool) -> None:
    """Changes of the document, field by field."""
    from appliance.store import field_changes

    fields = [item for change in found for item in field_changes(change)]
    if json:
        print_json([{"path": item.path, "before": item.before, "after": item.after} for item in fields])
    elif not fields:
        out.print(_("No difference."))
    for item in fields if not json else []:
        out.print(f"{escape(item.path)}: [red]{escape(plain(item.before))}[/] → [green]{escape(plain(item.after))}[/]")


def seconds(text: str, option: str = "--confirm") -> float:
    """A duration such as ``10m``, ``90s``, ``2h`` in seconds. Raises InvalidError, which names the option."""
    match = re.fullmatch(r"(\d{1,6})([smh]?)", text)
    if match is None or int(match[1]) == 0:
        raise InvalidError([Fault(option, _("is not a duration"), _("for example 10m, 90s or 2h"), "duration")])
    found = float(int(match[1]) * {"s": 1, "m": 60, "h": 3600, "": 1}[match[2]])
    if found > LONGEST_S:
        raise InvalidError([Fault(option, _("is longer than a week"), _("for example 10m, 90s or 2h"), "duration")])
    return found


def moment(text: str, now: datetime | None = None) -> datetime:
    """A time of day (the next one) or a date and time, in the machine's time zone. Raises InvalidError."""
    now = now or datetime.now().astimezone()
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}", text):
            hour, minute = map(int, text.split(":"))
            today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            return today if today > now else today + timedelta(days=1)
        found = datetime.fromisoformat(text)
        found = found if found.tzinfo else found.astimezone()
    except ValueError:
        raise InvalidError(
            [Fault("--at", _("is not a time"), _("for example 22:30 or 2030-01-31T22:30"), "time")]
        ) from None
    if found <= now:
        raise InvalidError([Fault("--at", _("is in the past"), _("for example 22:30 or 2030-01-31T22:30"), "time")])
    return found
