"""``centralino vpn root``: a copy of the voice VPN's root key, taking the key off the appliance, and what needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.commands.common import author, out
from appliance.commands.enrolment import require_new, write_secret
from appliance.commands.files import read, read_passphrase
from appliance.core.errors import CentralinoError, RefusedError
from appliance.i18n import _
from appliance.paths import Paths

if TYPE_CHECKING:
    from appliance.vpn.pki import Authority

Copy = Annotated[Path, typer.Argument(metavar="FILE", help=_("The exported copy"))]


def add_to(sub: typer.Typer) -> None:
    """Add the verbs to ``centralino vpn``."""
    root = typer.Typer(
        help=_("The root key of the voice VPN: a copy elsewhere, and taking it off the appliance"), no_args_is_help=True
    )
    root.command("export", help=_("Write the key to a file, under a passphrase"))(export)
    root.command("verify", help=_("Show that the copy can be read: bring it from where it is kept"))(verify)
    root.command("remove", help=_("Take the key off the appliance; only when a copy was shown to be good"))(remove)
    root.command("restore", help=_("Put the key back on the appliance from its copy"))(restore)
    root.command("renew", help=_("Make the intermediate anew, by the key here or by its copy"))(renew)
    sub.add_typer(root, name="root")


def export(file: Annotated[Path, typer.Argument(metavar="FILE", help=_("Where to write it (mode 0600)"))]) -> None:
    """Keep file and passphrase apart, and both off the appliance. The passphrase is typed unseen, or read from standard input."""
    require_new(file)
    with _noted("export") as authority:
        write_secret(file, authority.root.export(read_passphrase(again=True)))
    out.print(
        _(
            "{file}: keep it elsewhere, bring it back, and show that it is good: centralino vpn root verify {name}"
        ).format(file=file, name=file.name)
    )


def verify(file: Copy) -> None:
    """From then on nobody is reminded any more. The passphrase is typed unseen, or read from standard input."""
    with _noted("verify") as authority:
        authority.root.verify_copy(read(file), read_passphrase(again=False))
    out.print(_("The copy is good. To take the key off the appliance: centralino vpn root remove"))


def remove() -> None:
    """Everything but a new intermediate, once in three years or so, goes without it. Backups from before still have it."""
    with _noted("remove") as authority:
        authority.root.remove()
    out.print(
        _("The key is no longer here. Keep the copy well: without it every site has to be enrolled again one day.")
    )


def restore(file: Copy) -> None:
    """The passphrase is typed unseen, or read from standard input."""
    with _noted("restore") as authority:
        authority.root.bring_back(read(file), read_passphrase(again=False))
    out.print(_("The key is here again."))


def renew(file: Annotated[Path | None, typer.Argument(metavar="FILE", help=_("The exported copy, if the key isn't here"))] = None) -> None:  # fmt: skip
    """What was signed before stays good. The key of the copy isn't kept. The passphrase is typed unseen, or read from standard input."""
    with _noted("renew") as authority:
        if file is None:
            number = authority.root.renew_intermediate()
        else:
            number = authority.root.renew_intermediate(read(file), read_passphrase(again=False))
    out.print(_("Intermediate {number} signs from now on.").format(number=number))


@contextmanager
def _noted(deed: str) -> Iterator[Authority]:
    """The authority, for root alone; into the audit before the deed, and once more if it failed."""
    from appliance.access import audit
    from appliance.access.audit import Event
    from appliance.commands.access import CONSOLE, access
    from appliance.vpn.pki import Authority

    if os.geteuid() != 0:
        raise RefusedError(
            "only root may use the voice VPN's root key", "sudo centralino vpn root …", error_id="not_root"
        )

    def note(**failed: str) -> None:
        with access() as opened, opened.database.write() as connection:
            audit.append(
                connection, opened.clock(), Event.ROOT_KEY, author=author(), address=CONSOLE, deed=deed, **failed
            )

    note()
    try:
        yield Authority(Paths.default().vpn)
    except CentralinoError as error:
        note(failed=error.error_id)
        raise
