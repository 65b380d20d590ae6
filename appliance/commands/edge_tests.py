"""``centralino edge ping``, ``trace``, ``dns`` and ``check``: what is tested at a branch, line by line."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from appliance.commands.common import Json, err, out, print_json, print_table
from appliance.core.errors import Fault, InvalidError, NotFoundError, RefusedError
from appliance.i18n import _, translated

if TYPE_CHECKING:
    from appliance.edge.reach.verdicts import Verdict
    from appliance.edge.reach.words import Told

Target = Annotated[str, typer.Argument(metavar="HOST", help=_("A host's name or address"))]
Line = Annotated[int | None, typer.Option("--line", min=1, help=_("By this line of the edge"))]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help=_("By this interface"))]


def add_to(sub: typer.Typer) -> None:
    """Add the verbs to ``centralino edge``."""
    sub.command("check", help=_("Where the fault of each line is: here, at its router, or farther away"))(check)
    sub.command("ping", help=_("Whether a host answers, how fast and how evenly, by one line"))(ping)
    sub.command("trace", help=_("By which routers the way to a host goes, and how large packets may be"))(trace)
    sub.command("phones", help=_("Who has been heard in the branch's own networks, and who may have made it"))(phones)
    sub.command("dns", help=_("What each name server of this machine says of a name"))(dns)


def ping(
    host: Target,
    line: Line = None,
    device: Device = "",
    count: Annotated[int, typer.Option("--count", min=1, max=100, help=_("How many echoes"))] = 5,
    json: Json = False,
) -> None:
    """Exit code 1: no answer came."""
    from appliance.edge.reach import ping as reach
    from appliance.edge.reach import words
    from appliance.edge.reach.way import look_up

    way = look_up(host, _device(line, device))
    if not json:
        out.print(escape(_by(way.device, _("Ping to {host} ({address})").format(host=host, address=way.address))))
    echoes = []
    for each in reach.ping(way, count):
        echoes.append(each)
        if not json:
            _show(words.of_echo(each), "  ")
    found = reach.summed(echoes)
    if json:
        print_json({"host": host, "address": str(way.address), "device": way.device, **asdict(found)})
    else:
        for told in words.of_pinged(found):
            _show(told)
    _end(bool(found.received))


def trace(host: Target, line: Line = None, device: Device = "", json: Json = False) -> None:
    """Exit code 1: the host wasn't reached."""
    from appliance.edge.reach import trace as reach
    from appliance.edge.reach import words
    from appliance.edge.reach.way import look_up

    way = look_up(host, _device(line, device))
    if not json:
        out.print(escape(_by(way.device, _("Way to {host} ({address})").format(host=host, address=way.address))))
    hops = []
    with _waiting(json, _("Asking the next router …")):
        for each in reach.trace(way):
            hops.append(each)
            if not json:
                _show(words.of_hop(each))
    found = reach.summed(hops)
    if json:
        print_json({"host": host, "address": str(way.address), "device": way.device, **asdict(found)})
    else:
        for told in words.of_traced(found):
            _show(told)
    _end(found.reached)


def dns(host: Target, line: Line = None, device: Device = "", json: Json = False) -> None:
    """Exit code 1: no name server knows an address."""
    from appliance.edge.reach import names, words

    by = _device(line, device)
    said = []
    with _waiting(json, _("Asking name servers …")):
        for each in names.ask_all(host, by):
            said.append(each)
            if not json:
                _show(words.of_said(each))
    if json:
        print_json({"host": host, "device": by, "servers": [asdict(each) for each in said]})
    _end(any(each.addresses for each in said))


def phones(json: Json = False) -> None:
    """As the kernel knows them; nobody is asked."""
    from appliance.commands.edge import told
    from appliance.edge.reach.seen import seen
    from appliance.edge.words import ago

    networks = told().get("networks", ())
    found = seen(networks)
    if json:
        print_json([asdict(each) for each in found])
        return
    rows = [
        [each.address, each.hardware, each.maker or "–", "–" if each.heard_s is None else ago(each.heard_s)] for each in found
    ]  # fmt: skip
    empty = _("Nobody has been heard in this branch's networks.")
    print_table(_("Phones"), (_("address"), _("hardware address"), _("maker"), _("heard")), rows, empty=empty)


def check(
    line: Line = None,
    device: Annotated[
        str, typer.Option("--device", metavar="DEVICE", help=_("An interface, if it is none of the edge's lines"))
    ] = "",
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help=_("What is to be reached by it, instead of the centre"))
    ] = "",
    json: Json = False,
) -> None:
    """Exit code 1: something is wrong with one of them."""
    from appliance.edge.reach.gateway import judged

    found = []
    for number, by, target in _lines(line, device, host):
        title = _("Line {number} ({device})").format(number=number, device=by) if number else by
        with _waiting(json, title) as status:
            verdict = judged(by, target, lambda text, title=title, status=status: _progress(status, title, text))  # type: ignore[misc]
        found.append(
            {
                "line": number,
                **asdict(verdict),
                "message": translated(verdict.message),
                "hint": translated(verdict.hint),
            }
        )
        if not json:
            _show_verdict(title, verdict)
    if json:
        print_json({"lines": found})
    _end(all(each["where"] == "well" for each in found))


# Which lines


def _known_lines() -> list[dict[str, Any]]:
    from appliance.commands.edge import told

    return list(told().get("lines", ()))


def _device(line: int | None, device: str) -> str:
    """The interface that was asked for; empty: as the routes say."""
    from appliance.edge.reach.way import checked_device

    if line is not None and device:
        raise InvalidError([Fault("--device", "a line and an interface are named", "only one of them", "usage")])
    if line is not None:
        return str(_line(line)["device"])
    return checked_device(device) if device else ""


def _line(number: int) -> dict[str, Any]:
    known = {each["line"]: each for each in _known_lines()}
    if number not in known:
        raise NotFoundError(
            f"this edge has no line {number}", "which it has: centralino edge status", error_id="no_line"
        )
    return known[number]


def _lines(line: int | None, device: str, host: str) -> list[tuple[int | None, str, str]]:
    """Numbers, interfaces, and what is to be reached."""
    if device:
        return [(None, _device(line, device), host)]
    lines = [_line(line)] if line is not None else _known_lines()
    if not lines:
        raise RefusedError(
            "the centre has given this edge no lines of its own",
            "name the interface: --device eth0",
            error_id="no_lines",
        )
    return [(each["line"], str(each["device"]), host or str(each["centre"])) for each in lines]


# Showing


def _waiting(json: bool, text: str) -> Any:
    return nullcontext() if json or not err.is_terminal else err.status(escape(text))


def _progress(status: Any, title: str, text: str) -> None:
    if status is not None:
        status.update(escape(f"{title}: {translated(text)}"))


def _by(device: str, text: str) -> str:
    return _("{text} by {device}").format(text=text, device=device) if device else text


def _show(told: Told, before: str = "") -> None:
    text, well = told
    out.print(f"{before}{escape(text)}" if well else f"{before}[red]{escape(text)}[/]")


def _show_verdict(title: str, verdict: Verdict) -> None:
    from appliance.edge.reach import words

    _show(words.of_verdict(title, verdict))
    if facts := words.of_link(verdict):
        out.print(f"  [dim]{escape(facts)}[/]")
    if verdict.hint:
        out.print(f"  → {escape(translated(verdict.hint))}")


def _end(well: bool) -> None:
    if not well:
        raise typer.Exit(1)
