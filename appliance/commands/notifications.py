"""``centralino notifications``: what was sent to whom, what waits, dead letters; files of scheduled exports."""

from __future__ import annotations

import json as plain_json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from appliance.commands.common import Json, out, print_json, print_table, store
from appliance.commands.completion import ids_of
from appliance.core.errors import Fault, InvalidError
from appliance.i18n import _, translated
from appliance.notifications.state import State
from appliance.paths import Paths

if TYPE_CHECKING:
    from appliance.notifications.runs import Run
    from appliance.notifications.service import Deliveries, Delivery

Endpoint = Annotated[
    str | None, typer.Option(autocompletion=ids_of("notification_endpoint"), help=_("Only those to this endpoint"))
]
OneOrAll = Annotated[str | None, typer.Argument(metavar="[ID]", help=_("One of them: centralino notifications list"))]
All = Annotated[bool, typer.Option("--all", help=_("All dead letters, or all of an endpoint"))]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("What was sent to whom, what waits, what couldn't be delivered"), no_args_is_help=True)
    sub.command("status", help=_("How each endpoint and each export does"))(status)
    sub.command("list", help=_("Deliveries, newest first"))(list_)
    sub.command("show", help=_("One delivery with what was sent"))(show)
    sub.command("replay", help=_("Send dead letters again, under the same ids"))(replay)
    sub.command("discard", help=_("Forget dead letters"))(discard)
    sub.command("test", help=_("Send an endpoint an event that says nothing"))(send_test)
    sub.command("files", help=_("Files of scheduled exports, newest first"))(files)
    sub.command("retry", help=_("Try now to send an export's file that waits"))(retry)
    app.add_typer(sub, name="notifications", rich_help_panel=_("The running system"))


@contextmanager
def deliveries() -> Iterator[Deliveries]:
    """Those of this installation."""
    from appliance.notifications.service import Deliveries
    from appliance.store.history import open_history

    database = open_history(paths=Paths.default())
    try:
        yield Deliveries(database)
    finally:
        database.close()


def status(json: Json = False) -> None:
    """Endpoints with what waits, exports with their newest file."""
    with deliveries() as opened:
        endpoints, newest = opened.endpoints(), opened.runs.newest()
    if json:
        print_json({"endpoints": list(map(asdict, endpoints)), "exports": [asdict(run) for run in newest.values()]})
        return
    rows = [
        [
            each.id, str(each.waiting), str(each.dead), when(each.succeeded),
            f"{when(each.failing_since)}: {translated(each.error)}" if each.failing_since is not None else "–",
        ]
        for each in endpoints
    ]  # fmt: skip
    columns = (_("endpoint"), _("waiting"), _("dead letters"), _("last success"), _("fails since"))
    print_table(
        _("Endpoints"), columns, rows, empty=_("Nothing was ever sent. Endpoints: centralino notification_endpoint add")
    )
    if newest:
        out.print()
        print_table(_("Exports"), FILE_COLUMNS(), map(file_row, newest.values()), empty="")


def list_(
    state: Annotated[State | None, typer.Option(help=_("Only those in this state"))] = None,
    endpoint: Endpoint = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help=_("How many"))] = 30,
    before: Annotated[int | None, typer.Option(help=_("The next page: the last number of the page before"))] = None,
    json: Json = False,
) -> None:
    """A page of deliveries."""
    with deliveries() as opened:
        found = opened.listed(state=state, endpoint=endpoint, limit=limit, before=before)
    if json:
        print_json([as_json(each) for each in found])
        return
    rows = ([str(d.number), d.id, when(d.time), d.type, d.endpoint, state_text(d.state), str(d.attempts), translated(d.error) or "–"] for d in found)  # fmt: skip
    columns = (
        _("number"), "id", _("time"), _("event"), _("endpoint"), _("state"), _("attempts"), _("last error"),
    )  # fmt: skip
    print_table(_("Deliveries"), columns, rows, empty=_("There is none."))


def show(id: Annotated[str, typer.Argument(metavar="ID")], json: Json = False) -> None:
    """Everything about one."""
    with deliveries() as opened:
        found = opened.get(id)
    if json:
        print_json(as_json(found))
        return
    out.print(f"{escape(found.id)}: {escape(found.type)} → {escape(found.endpoint)}, {state_text(found.state)}")
    out.print(_("Happened {time}, attempts: {attempts}, last {tried}").format(
        time=when(found.time), attempts=found.attempts, tried=when(found.tried)))  # fmt: skip
    if found.error:
        out.print(escape(translated(found.error)))
    out.print(escape(plain_json.dumps(plain_json.loads(found.body), ensure_ascii=False, indent=2)))


def replay(id: OneOrAll = None, endpoint: Endpoint = None, all: All = False, json: Json = False) -> None:
    """Whatever is replayed comes before what waits of the same call, and behind what was delivered meanwhile."""
    one = _one(id, endpoint, all=all)
    with deliveries() as opened:
        count = 1 if one else opened.replay_dead(endpoint)
        if one:
            opened.replay(one)
    if json:
        print_json({"replayed": count})
    else:
        out.print(_("{count} will be sent again.").format(count=count))


def discard(id: OneOrAll = None, endpoint: Endpoint = None, all: All = False, json: Json = False) -> None:
    """They are gone for good."""
    one = _one(id, endpoint, all=all)
    with deliveries() as opened:
        count = 1 if one else opened.discard_dead(endpoint)
        if one:
            opened.discard(one)
    if json:
        print_json({"discarded": count})
    else:
        out.print(_("{count} forgotten.").format(count=count))


def _one(id: str | None, endpoint: str | None, *, all: bool) -> str | None:
    if (id is None) == (not all and endpoint is None):
        hint = "centralino notifications replay ID, or --all, or --endpoint ENDPOINT"
        raise InvalidError([Fault("notifications/id", "say which: one id, or all", hint)])
    return id


def send_test(
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", autocompletion=ids_of("notification_endpoint"))],
    json: Json = False,
) -> None:
    """It goes the way of all others: signed, retried, visible."""
    from appliance.notifications.model import NotificationEndpoint

    with store() as opened:
        opened.document().get(NotificationEndpoint, endpoint)
    with deliveries() as queue:
        found = queue.test(endpoint)
    if json:
        print_json(as_json(found))
    else:
        out.print(_("It is on its way: centralino notifications show {id}").format(id=found.id))


def FILE_COLUMNS() -> tuple[str, ...]:  # noqa: N802 (a constant but for the language)
    """Columns of a table of files."""
    return (_("export"), _("file"), _("calls"), _("state"), _("attempts"), _("last attempt"), _("last error"))


def file_row(run: Run) -> list[str]:
    """A file in a table."""
    calls = str(run.last_call - run.first_call + 1)
    state = {"begun": _("none yet"), "waiting": _("waiting"), "delivered": _("delivered")}[run.state.value]
    error = translated(run.error) or "–"
    return [run.export, run.file or "–", calls, state, str(run.attempts), when(run.tried), error]


def files(
    export: Annotated[str | None, typer.Argument(metavar="[EXPORT]", autocompletion=ids_of("history_export"))] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help=_("How many"))] = 30,
    json: Json = False,
) -> None:
    """Which calls each holds, and whether it has arrived."""
    with deliveries() as opened:
        found = opened.runs.listed(export, limit)
    if json:
        print_json([asdict(run) for run in found])
        return
    print_table(_("Files"), FILE_COLUMNS(), map(file_row, found), empty=_("No file was made yet."))


def retry(
    export: Annotated[str, typer.Argument(metavar="EXPORT", autocompletion=ids_of("history_export"))],
    json: Json = False,
) -> None:
    """It is tried by itself too, at least once an hour."""
    import time

    with deliveries() as opened:
        count = opened.runs.retry(export, time.time_ns() // 1_000_000)
    if json:
        print_json({"retried": count})
    else:
        out.print(_("{count} will be sent again.").format(count=count))


def state_text(state: State) -> str:
    """A delivery's state in words."""
    return {State.WAITING: _("waiting"), State.DELIVERED: _("delivered"), State.DEAD: _("dead letter")}[state]


def as_json(delivery: Delivery) -> dict[str, Any]:
    """A delivery as plain data; its body is data too."""
    return {**asdict(delivery), "body": plain_json.loads(delivery.body)}


def when(millis: int | None) -> str:
    """A time in the machine's time zone, to the second."""
    if millis is None:
        return "–"
    return datetime.fromtimestamp(millis / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
