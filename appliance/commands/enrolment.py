"""``centralino vpn enrol|invitations|withdraw|bundle``: how branches get their certificates. The edge's side: :mod:`.edge_enrol`."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import segno
import typer

from appliance.commands.common import Json, author, out, print_json, print_table, store
from appliance.commands.completion import ids_of
from appliance.commands.configuration import seconds
from appliance.core.errors import CentralinoError, RefusedError, UnavailableError
from appliance.i18n import _
from appliance.paths import Paths

if TYPE_CHECKING:
    from appliance.access.audit import Event
    from appliance.core.document import Document
    from appliance.vpn.enrolment.service import Bundle, Enrolment, Invited
    from appliance.vpn.pki import Issued

DEFAULT: Final = "24h"
Site = Annotated[str, typer.Argument(metavar="SITE", autocompletion=ids_of("site"))]
Replace = Annotated[
    bool, typer.Option("--replace", help=_("Revoke what the site has now, at once: its router was stolen or is lost"))
]


def add_to(sub: typer.Typer) -> None:
    """Add the verbs to ``centralino vpn``."""
    sub.command(
        "enrol", help=_("Invite a new edge, or a spare: a file, a QR code and a code for the telephone, good once")
    )(enrol)
    sub.command("invitations", help=_("Which invitations wait, were used, or are burned"))(invitations)
    sub.command("withdraw", help=_("End a site's invitation"))(withdraw)
    sub.command("bundle", help=_("One .ovpn file, with its private key, for a router of another maker"))(bundle)


def enrol(
    site: Site,
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help=_("How long it waits: 24h, 90m; a week at most"))
    ] = DEFAULT,
    code: Annotated[bool, typer.Option("--code", help=_("Only the code that is read over the telephone"))] = False,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="F", help=_("Write it to this file (mode 0600) and show no secret"))
    ] = None,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """A second invitation for a site ends the first."""
    from appliance.access.audit import Event

    require_new(file)
    hours = seconds(lasts, "--for") / 3600
    with _service() as (service, document), _noted(Event.BRANCH_INVITED, site, hours=hours, replace=replace):
        made = service.invite(document, site, hours=hours, replace=replace)
    if file is not None:
        write_secret(file, made.file)
    if json:
        print_json(_plain(made, file))
        return
    if file is not None:
        out.print(
            _("{file}: carry it to the edge, then there: centralino edge enrol {name}").format(
                file=file, name=file.name
            )
        )
    elif not code and sys.stdout.isatty():
        _picture(made.file)
    if file is None:
        out.print(_("Code: {code}").format(code=f"[bold]{made.code}[/]"))
        centre = made.centres[0]
        out.print(_("At the edge: centralino edge enrol --code CODE --centre {centre}").format(centre=centre))
    out.print(_("Good once, until {time}. Until then TCP port {port} of the centre must be reachable, as the tunnel's UDP port is.").format(
        time=_local(made.until), port=made.centres[0].port
    ))  # fmt: skip
    _tell_ended(made.ended, replace)


def invitations(json: Json = False) -> None:
    """Of every site, the last one."""
    with _service() as (service, _document):
        found = service.invitations()
    if json:
        print_json([
            {"site": each.site, "standing": each.standing, "until": each.until.isoformat(), "tries": each.tries, "key": each.key}
            for each in found
        ])  # fmt: skip
        return
    words = {
        "waiting": _("waits"), "used": _("was used"), "burned": _("burned by wrong codes"), "over": _("has run out"),
    }  # fmt: skip
    rows = (
        [each.site, words[each.standing], _local(each.until), str(each.tries), each.key[:16] or "–"] for each in found
    )
    columns = (_("site"), _("standing"), _("until"), _("wrong attempts"), _("key"))
    print_table(
        _("Invitations"), columns, rows, empty=_("Nobody was invited. Invite an edge: centralino vpn enrol SITE")
    )


def withdraw(site: Site) -> None:
    """Whoever still has it is refused."""
    from appliance.access.audit import Event

    with _service() as (service, _document), _noted(Event.INVITATION_ENDED, site):
        there = service.withdraw(site)
    out.print((_("{site}: the invitation is over.") if there else _("{site} has no invitation.")).format(site=site))


def bundle(
    site: Site,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="F", help=_("Where to write it (mode 0600); SITE.ovpn by default"))
    ] = None,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """The private key is made here, goes into the file, and is kept nowhere else: it can't be shown again."""
    from appliance.access.audit import Event

    where = file or Path(f"{site}.ovpn")
    require_new(where)

    def put(made: Bundle) -> None:
        write_secret(where, made.content)

    with _service() as (service, document), _noted(Event.BRANCH_INVITED, site, bundle=True, replace=replace):
        made = service.bundle(document, site, replace=replace, put=put)
    if json:
        print_json(
            {
                "site": site,
                "file": str(where),
                "ends": made.ends.isoformat(),
                "revoked": [each.name for each in made.ended],
            }
        )
        return
    out.print(
        _("{file}: good until {time}; make another in time, for it isn't renewed by itself.").format(
            file=where, time=_local(made.ends)
        )
    )
    out.print(
        _("[yellow]The private key is in it[/]: whoever has the file is that site. Delete it when the router has it.")
    )
    _tell_ended(made.ended, replace)


@contextmanager
def _service() -> Iterator[tuple[Enrolment, Document]]:
    from appliance.vpn.enrolment.service import Enrolment
    from appliance.vpn.pki import Authority

    if os.geteuid() != 0:
        raise RefusedError(
            "only root may enrol branches: it reads and writes the voice VPN's keys",
            "sudo centralino vpn …",
            error_id="not_root",
        )
    paths = Paths.default().vpn
    with store() as opened:
        yield Enrolment(paths, Authority(paths), cores=os.cpu_count() or 1), opened.document()


@contextmanager
def _noted(event: Event, site: str, **more: object) -> Iterator[None]:
    """Before the deed: nobody who can read the keys leaves no trace of what was given away. Once more if it failed."""
    from appliance.access.branches import note
    from appliance.commands.access import CONSOLE, access

    def noted(**failed: object) -> None:
        with access() as opened:
            note(opened, event, site, author(), CONSOLE, **more, **failed)

    noted()
    try:
        yield
    except CentralinoError as error:
        noted(failed=error.error_id)
        raise


def _plain(made: Invited, file: Path | None) -> dict[str, object]:
    found: dict[str, object] = {
        "site": made.site, "until": made.until.isoformat(), "centres": [str(each) for each in made.centres],
        "revoked": [each.name for each in made.ended],
    }  # fmt: skip
    if file is None:
        return {**found, "code": made.code, "invitation": made.file.decode().strip()}
    return {**found, "file": str(file)}


def require_new(file: Path | None) -> None:
    """Before anything is made: what is written over can't be brought back."""
    if file is not None and file.exists():
        raise RefusedError(f"{file} is there already", "name another file, or delete it first", error_id="exists")


def write_secret(file: Path, content: bytes) -> None:
    """For its owner alone, whole or not at all."""
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
        except OSError:
            file.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UnavailableError(
            f"{file} can't be written: {error.strerror}", "name a file elsewhere, and make it again", error_id="storage"
        ) from error


def _picture(content: bytes) -> None:
    drawn = io.StringIO()
    segno.make(content.decode().strip(), error="l", micro=False).terminal(drawn, compact=True, border=2)
    print(drawn.getvalue())  # noqa: T201


def _tell_ended(ended: tuple[Issued, ...], replace: bool) -> None:
    if ended:
        out.print(_("Revoked: {names}.").format(names=", ".join(each.name for each in ended)))
    elif not replace:
        out.print(_("What the site has now is revoked when the new one has come in."))


def _local(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")
