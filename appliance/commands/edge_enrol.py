"""``centralino edge enrol``: a new edge becomes a branch. The centre's side: :mod:`.enrolment`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.commands.common import Json, out, print_json
from appliance.core.errors import CentralinoError, Fault, InvalidError, NotFoundError, RefusedError, UnavailableError
from appliance.i18n import _, translated

if TYPE_CHECKING:
    from datetime import datetime

    from appliance.edge.enrol import Step
    from appliance.edge.paths import EdgePaths
    from appliance.vpn.enrolment.invitation import Invitation


def enrol(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help=_("The invitation; - reads it from standard input"))
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(
            "--code",
            help=_(
                "The code that was read out, instead of a file; - asks for it, so that no list of processes shows it"
            ),
        ),
    ] = None,
    centre: Annotated[
        list[str] | None,
        typer.Option("--centre", metavar="HOST[:PORT]", help=_("Where the centre is; more than once: tried in order")),
    ] = None,
    keep_clock: Annotated[
        bool, typer.Option("--keep-clock", help=_("Never set the clock: something else on this machine does"))
    ] = False,
    json: Json = False,
) -> None:
    """Takes a few seconds. Whatever goes wrong, it can be done again."""
    from appliance.edge.enrol import enrol as enrolled
    from appliance.edge.identity import Identity
    from appliance.edge.owner import as_owner, owner
    from appliance.edge.paths import EdgePaths

    invitation = _invitation(file, code, centre or [])
    paths = EdgePaths.default()
    if os.geteuid() != 0 and not (paths.top.is_dir() and os.geteuid() == owner(paths)[0]):
        raise RefusedError(
            "only root may enrol this edge: it keeps its key", "sudo centralino edge enrol …", error_id="not_root"
        )
    with as_owner(paths):
        answer = enrolled(invitation, Identity(paths), tell=(lambda _step: None) if json else _tell)
        if not keep_clock:
            _set_clock(paths, answer.at)
    if json:
        print_json({"site": answer.site, "at": answer.at.isoformat()})
    else:
        out.print(
            _("[green]This edge is {site} now.[/] Its tunnel comes up by: centralino edge run").format(site=answer.site)
        )


def _set_clock(paths: EdgePaths, at: datetime) -> None:
    """The gate has just told the time, and it is the centre: a new edge's clock may never have been set. If it can't be set now, the
    agent sets it when it comes in."""
    from appliance.clock import system_clock
    from appliance.edge.clock import EdgeClock, set_system_clock
    from appliance.edge.owner import as_root

    now = system_clock().uptime
    try:
        EdgeClock(paths.clock, lambda wall: as_root(lambda: set_system_clock(wall))).told(
            int(1000 * at.timestamp()), now, now
        )
    except CentralinoError as error:
        out.print(f"[yellow]{translated(error.message)}[/]")


def _invitation(file: Path | None, code: str | None, centres: list[str]) -> Invitation:
    from appliance.vpn.enrolment.codes import read_code
    from appliance.vpn.enrolment.invitation import Invitation, by_code, read_centre, read_file

    if (file is None) == (code is None):
        raise InvalidError(
            [
                Fault(
                    "FILE",
                    _("a file or --code is wanted, one of the two"),
                    _("see: centralino edge enrol --help"),
                    "usage",
                )
            ]
        )
    there = tuple(read_centre(each) for each in centres)
    if code is not None:
        if not there:
            raise InvalidError(
                [
                    Fault(
                        "--centre",
                        _("is missing: a code doesn't say where the centre is"),
                        "--centre vpn.example.com",
                        "usage",
                    )
                ]
            )
        return by_code(read_code(typer.prompt(_("Code")) if code == "-" else code), there)
    assert file is not None  # noqa: S101 (narrows the type)
    found = read_file(_content(file))
    return Invitation(there, found.secret, found.site, found.root, until=found.until) if there else found


def _content(file: Path) -> bytes:
    from appliance.vpn.enrolment.invitation import FILE_MAX

    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(FILE_MAX + 1)
        with file.open("rb") as opened:
            return opened.read(FILE_MAX + 1)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"there is no file {file}", _("carry the invitation over from the centre"), error_id="no_file"
        ) from error
    except OSError as error:
        raise UnavailableError(f"{file} can't be read: {error.strerror}", error_id="no_file") from error


def _tell(step: Step) -> None:
    words = {
        "key": _("A key of its own, which stays here"),
        "trying": _("Calling the centre at {centre}"),
        "silent": _("{centre}: {why}"),
        "stranger": _("{centre} is not the centre that invites: nothing was told to it"),
        "busy": _("{centre} is busy: waiting"),
        "asking": _("It is the centre. Handing in the request"),
        "installing": _("Putting in force what was granted"),
    }
    out.print("· " + words[step.kind].format(centre=step.centre, why=translated(step.why)))
