"""``centralino edge logs``, ``events`` and ``bundle``: what a branch's edge has to say to who helps it, without any secret."""

from __future__ import annotations

import errno
import os
import secrets as random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from appliance.commands.common import Json, out, print_json, print_table
from appliance.core.errors import (
    CentralinoError,
    CorruptError,
    Fault,
    InvalidError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from appliance.i18n import _, later

if TYPE_CHECKING:
    from appliance.edge.paths import EdgePaths

SHOWN: Final = 200
"""Events that people are shown; programs are given all."""


def bundle(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=later("Where to, such as torino.tar.gz"))],
    json: Json = False,
) -> None:
    """One file for who helps from afar: how the edge stands, what happened, its logs, its network. No key or password is in it."""
    from appliance.clock import system_clock
    from appliance.edge.bundle import made

    _refuse_to_overwrite(file)
    told = _told()
    with _edge() as paths:
        packed = made(paths, told, now=system_clock())
    _write(file, packed)
    if json:
        print_json({"file": str(file), "bytes": len(packed)})
        return
    out.print(_("Written: {file}").format(file=file), markup=False)
    out.print(_("Keys and passwords are not in it; addresses and names of the branch's network are. MANIFEST.txt says what is."))  # fmt: skip


def logs(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help=later("openvpn, relay or foreign; none: all that there are"))
    ] = None,
    lines: Annotated[int, typer.Option(min=0, max=100_000, help=_("So many of its last lines"))] = 50,
    follow: Annotated[bool, typer.Option("--follow", help=_("Go on with what comes, until Ctrl-C"))] = False,
) -> None:
    """The ends of its logs, without keys and passwords. What the agent itself says is in the journal: journalctl -u centralino-edge."""
    from appliance.edge.logs import followed, names, tail

    with _edge() as paths:
        there = names(paths)
        if follow and name is None and len(there) != 1:
            raise InvalidError(
                [Fault("NAME", "only one log can be followed", f"name one of {', '.join(there) or '–'}", "usage")]
            )
        if follow:
            with suppress(KeyboardInterrupt):
                for came in followed(paths, name or there[0], lines):
                    _say(came)
            return
        for each in (name,) if name is not None else there:
            if name is None:
                out.print(f"[bold]{each}[/]")
            _say(tail(paths, each, lines))
        if name is None and not there:
            out.print(_("There are no logs yet: neither its tunnel nor its relay has run."))


def events(json: Json = False) -> None:
    """What happened at this branch, the newest first: what the centre hasn't yet, and the last that it has."""
    found = _events()
    if json:
        print_json({"events": found})
        return
    shown = found[:SHOWN]
    print_table(_("What happened here"), (_("when"), _("what")), map(_row, shown), empty=_("Nothing has happened yet."))
    if any(not each["sure"] for each in shown):
        out.print(_("*: the edge's clock wasn't sure. The order is right all the same."))
    if len(found) > SHOWN:
        out.print(_("{count} older ones: --json").format(count=len(found) - SHOWN))


def _events() -> list[dict[str, Any]]:
    from appliance.edge.journal import KEPT, TOLD, recent
    from appliance.edge.redaction import Redaction
    from appliance.edge.secrets_here import secrets_here
    from appliance.failover.happened import text

    with _edge() as paths:
        redaction = Redaction(secrets_here(paths)[0])
        try:
            found = recent(paths.journal, KEPT + TOLD)
        except FileNotFoundError:
            return []
        except sqlite3.OperationalError as error:
            raise UnavailableError(f"what happened can't be read now: {error}", "try again", error_id="journal_busy") from error  # fmt: skip
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            raise CorruptError("the file of what happened is garbage", "the agent puts it aside by itself", error_id="journal_damaged") from error  # fmt: skip
    plain = [{"number": each.number, "at": each.at, "sure": each.sure, "what": each.what, "about": redaction.data(each.about)} for each in found]  # fmt: skip
    return [{**each, "text": redaction.text(text(each))} for each in plain]


def _row(event: dict[str, Any]) -> list[str]:
    at = datetime.fromtimestamp(event["at"] / 1000).astimezone()
    return [f"{at:%Y-%m-%d %H:%M:%S}{'' if event['sure'] else ' *'}", event["text"]]


def _say(lines: list[str]) -> None:
    """As it is written there, but for what a terminal would take for an order."""
    for line in lines:
        typer.echo("".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in line))


def _told() -> dict[str, Any]:
    """What the agent says; nothing: it doesn't run."""
    from appliance.commands.edge import told

    try:
        return told()
    except UnavailableError:
        return {}


@contextmanager
def _edge() -> Iterator[EdgePaths]:
    """The edge of this machine, as whose it is. :raises NotFoundError: ``no_edge``; :raises RefusedError: ``not_root``."""
    from appliance.edge.owner import as_owner, owner
    from appliance.edge.paths import EdgePaths

    paths = EdgePaths.default()
    if not paths.top.is_dir():
        raise NotFoundError("there is no edge on this machine", "enrol it: centralino edge enrol …", error_id="no_edge")
    if os.geteuid() not in (0, owner(paths)[0]):
        raise RefusedError(
            "only root may look into this edge: it keeps its key", "the same, with sudo", error_id="not_root"
        )
    with as_owner(paths):
        yield paths


def _refuse_to_overwrite(file: Path) -> None:
    if os.path.lexists(file):
        raise _there_already(file)


def _there_already(file: Path) -> CentralinoError:
    return RefusedError(f"{file} is there already", "name another file, or delete it first", error_id="exists")


def _write(file: Path, content: bytes) -> None:
    """Whole, or not at all; for whoever calls alone, where the file system knows of owners (a stick's doesn't).

    :raises RefusedError: ``exists``; :raises UnavailableError: ``storage``.
    """
    draft = file.with_name(f".{file.name[:100]}.{random.token_hex(8)}.new")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(handle)
        _name(draft, file)
    except FileExistsError:
        raise _there_already(file) from None
    except OSError as error:
        raise UnavailableError(f"can't write {file}: {error.strerror}", "name a file where there is room, and where you may write", error_id="storage") from error  # fmt: skip
    finally:
        with suppress(OSError):
            draft.unlink()


def _name(draft: Path, file: Path) -> None:
    """Give it its name, if nothing has it. On a file system without links (a stick's), a name that came up in this moment is lost."""
    try:
        os.link(draft, file, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        if os.path.lexists(file):
            raise FileExistsError from error
        draft.rename(file)
