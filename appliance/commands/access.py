"""``centralino access``: who may sign in, who is signed in, keys of programs, the audit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from appliance.commands.common import Json, author, err, out, print_json, print_table, store
from appliance.commands.completion import ids_of
from appliance.core.document import Document
from appliance.core.errors import CorruptError, Fault, InvalidError
from appliance.i18n import _
from appliance.organisation.model import Person
from appliance.paths import Paths

if TYPE_CHECKING:
    from appliance.access.access import Access

CONSOLE = "console"
"""Stands in the audit where an address would."""

PersonId = Annotated[str, typer.Argument(metavar="PERSON", autocompletion=ids_of("person"))]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("Who may sign in, who is signed in, keys of programs, the audit"), no_args_is_help=True)
    sub.command("link", help=_("Print a link by which somebody sets a password, once"))(link)
    sub.command("list", help=_("Everybody who may sign in, and what with"))(list_)
    sub.command("sessions", help=_("Who is signed in, where, since when"))(sessions)
    sub.command("end", help=_("End a session, or all of a person's"))(end)
    sub.command("reset", help=_("Forget somebody's password and second factors; then make a link"))(reset)
    sub.command("forget", help=_("Forget credentials of people who were removed from the document"))(forget)
    sub.command("audit", help=_("Who did what, from where, newest first"))(audit)
    key = typer.Typer(help=_("API keys: what programs sign in with"), no_args_is_help=True)
    key.command("list", help=_("Show them, without their secrets"))(key_list)
    key.command("add", help=_("Make one and print it, once"))(key_add)
    key.command("revoke", help=_("From now on it opens nothing, nor do tokens made from it"))(key_revoke)
    sub.add_typer(key, name="key")
    app.add_typer(sub, name="access", rich_help_panel=_("The running system"))


@contextmanager
def access() -> Iterator[Access]:
    """The credentials of this installation."""
    from appliance.access.access import Access

    with Access.open(Paths.default()) as opened:
        yield opened


def document() -> Document:
    """The document in force: staged people don't count yet."""
    with store() as opened:
        return opened.document()


def link(
    person: PersonId,
    hours: Annotated[float, typer.Option(help=_("How long it is good, at most 336"))] = 24,
    json: Json = False,
) -> None:
    """The token stands after the #: browsers don't send that part, so no log has it."""
    from appliance.access.links import path_of
    from appliance.access.passkeys import portal_url

    found, portal = document().get(Person, person), portal_url()
    with access() as opened:
        url = portal + path_of(opened.links.make(found.id, hours=hours, author=author(), address=CONSOLE))
    if json:
        print_json({"person": found.id, "url": url, "hours": hours})
        return
    out.print(escape(url))
    err.print(
        _("{name} sets a password there, once, within {hours:g} hours.").format(name=escape(found.name), hours=hours)
    )


def list_(json: Json = False) -> None:
    """Everybody of the document, with what they have."""
    people = document().all(Person)
    rows = []
    with access() as opened:
        for id, person in sorted(people.items()):
            held, now = opened.held(id), len(opened.sessions.listed(id))
            rows.append({"person": id, "name": person.name, "email": person.email, "sessions": now, **asdict(held)})
    if json:
        print_json(rows)
        return
    columns = (
        _("person"),
        _("name"),
        _("password"),
        _("authenticator"),
        _("passkeys"),
        _("recovery codes"),
        _("sessions"),
    )
    print_table(_("Accounts"), columns, map(_account_row, rows), empty=_("Nobody yet: centralino person add"))


def _account_row(row: dict[str, Any]) -> list[str]:
    return [
        row["person"],
        row["name"],
        _("yes") if row["password"] else "–",
        _("yes") if row["totp"] else "–",
        ", ".join(key["name"] for key in row["passkeys"]) or "–",
        str(row["recovery_codes"]),
        str(row["sessions"]),
    ]


def sessions(
    person: Annotated[
        str | None, typer.Argument(metavar="[PERSON]", autocompletion=ids_of("person"), help=_("Only this person's"))
    ] = None,
    json: Json = False,
) -> None:
    """Those that are valid, last seen first."""
    with access() as opened:
        found = opened.sessions.listed(person)
    if json:
        print_json([{name: value for name, value in asdict(each).items() if name != "csrf"} for each in found])
        return
    columns = ("id", _("person"), _("stage"), _("address"), _("device"), _("since"), _("last seen"))
    rows = (
        [each.id, each.person, stage_text(each.stage), each.address, each.agent, when(each.created), when(each.seen)]
        for each in found
    )
    print_table(_("Sessions"), columns, rows, empty=_("Nobody is signed in."))


def stage_text(stage: str) -> str:
    """How far somebody is signed in, in words."""
    return {
        "password": _("second factor due"),
        "enrol": _("must add a second factor"),
        "full": _("signed in"),
    }.get(stage, stage)


def end(
    session: Annotated[str | None, typer.Argument(help=_("Its id: centralino access sessions"))] = None,
    everything: Annotated[
        str | None,
        typer.Option("--all", metavar="PERSON", help=_("All of this person's"), autocompletion=ids_of("person")),
    ] = None,
    json: Json = False,
) -> None:
    """The browser has to sign in again."""
    if (session is None) == (everything is None):
        raise InvalidError([Fault("end", _("which session?"), _("name one, or --all PERSON"))])
    with access() as opened:
        if session is not None:
            opened.sessions.end(session, author=author(), address=CONSOLE)
            count = 1
        else:
            count = opened.sessions.end_all(everything or "", author=author(), address=CONSOLE)
    if json:
        print_json({"ended": count})
    else:
        out.print(_("Ended: {count}.").format(count=count))


def reset(person: PersonId, json: Json = False) -> None:
    """For somebody who lost the second factor, or whose account somebody else got into."""
    found = document().get(Person, person)
    with access() as opened:
        keys = opened.reset(found.id, author=author(), address=CONSOLE)
    if json:
        print_json({"person": found.id, "keys": keys})
        return
    out.print(_("{person} can't sign in any more. A new link: centralino access link {person}").format(person=found.id))
    if keys:
        err.print(_("API keys stay: {count}. See centralino access key list").format(count=keys))


def forget(json: Json = False) -> None:
    """Another person of the same id must not inherit them."""
    from appliance.access.people import known_people

    known = known_people(document())
    with access() as opened:
        gone = opened.forget_unknown(known)
    if json:
        print_json({"forgotten": gone})
    else:
        out.print(_("Forgotten: {people}.").format(people=", ".join(gone) or "–"))


def audit(
    verify: Annotated[bool, typer.Option("--verify", help=_("Look whether any entry was changed or removed"))] = False,
    person: Annotated[
        str | None, typer.Option(help=_("Only about this person"), autocompletion=ids_of("person"))
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help=_("Entries on a page"))] = 50,
    before: Annotated[
        int | None, typer.Option(help=_("The next page: number of the last entry of the page before"))
    ] = None,
    json: Json = False,
) -> None:
    """A page, or whether all of it is as it was written."""
    if verify:
        verify_audit(json=json)
        return
    with access() as opened:
        found = opened.audit.entries(person=person, before=before, limit=limit)
    if json:
        print_json([asdict(each) for each in found])
        return
    columns = ("", _("time"), _("what"), _("person"), _("by"), _("address"), "")
    rows = (
        [str(each.number), when(each.time), event_text(each.event), each.person or "–", each.author or "–",
         each.address or "–", " ".join(f"{name}={value}" for name, value in each.detail.items())] for each in found
    )  # fmt: skip
    print_table(_("Audit"), columns, rows, empty=_("Nothing happened yet."))


def verify_audit(*, json: bool) -> None:
    """Exit code 1 when it is broken."""
    with access() as opened:
        chain = opened.audit.verify()
    if chain.broken is not None:
        raise CorruptError(
            f"the audit was changed: entry {chain.broken} isn't what was written",
            "find out who can write to the database; the entries before it are whole",
            error_id="audit_broken",
        )
    if json:
        print_json({"entries": chain.number, "hash": chain.hash})
    else:
        out.print(_("Whole: {count} entries, the last has the hash {hash}").format(count=chain.number, hash=chain.hash))


def event_text(event: str) -> str:
    """What happened, in words."""
    return {
        "signed_in": _("signed in"),
        "password_right": _("password right, second factor due"),
        "failed": _("failed to sign in"),
        "throttled": _("too many attempts"),
        "password_changed": _("password changed"),
        "link_made": _("link made"),
        "link_used": _("link used"),
        "factor_added": _("second factor added"),
        "factor_removed": _("second factor removed"),
        "recovery_codes_made": _("recovery codes made"),
        "key_made": _("API key made"),
        "key_revoked": _("API key revoked"),
        "session_ended": _("session ended"),
        "reset": _("password and second factors forgotten"),
        "forgotten": _("account collected"),
        "ban_lifted": _("ban lifted"),
        "branch_revoked": _("certificates of a branch revoked"),
    }.get(event, event)


def key_list(
    owner: Annotated[str | None, typer.Option(help=_("Only this person's"), autocompletion=ids_of("person"))] = None,
    json: Json = False,
) -> None:
    """Good ones and others."""
    with access() as opened:
        found = opened.keys.listed(owner)
    if json:
        print_json([asdict(each) for each in found])
        return
    columns = ("id", _("name"), _("owner"), _("scopes"), _("made"), _("good until"), _("last used"))
    rows = (
        [each.id, each.name, each.owner, " ".join(each.scopes), when(each.created),
         _("revoked") if each.revoked is not None else when(each.expires), when(each.used)] for each in found
    )  # fmt: skip
    print_table(_("API keys"), columns, rows, empty=_("There are none."))


def key_add(
    owner: Annotated[
        str, typer.Argument(metavar="OWNER", autocompletion=ids_of("person"), help=_("Whose permissions it has"))
    ],
    name: Annotated[str, typer.Argument(help=_("What uses it"))],
    scope: Annotated[list[str], typer.Option(help=_("What it may, as in a role: extension:view; may be repeated"))],
    days: Annotated[int | None, typer.Option(help=_("How long it is good, 1 to 3650; otherwise until revoked"))] = None,
    json: Json = False,
) -> None:
    """It has its scopes as far as its owner has them."""
    found = document().get(Person, owner)
    with access() as opened:
        made, text = opened.keys.make(found.id, name, scope, days=days, author=author(), address=CONSOLE)
    if json:
        print_json({**asdict(made), "key": text})
        return
    out.print(text)
    err.print(_("It is shown this once. To revoke it: centralino access key revoke {id}").format(id=made.id))


def key_revoke(
    id: Annotated[str, typer.Argument(help=_("Its id: centralino access key list"))], json: Json = False
) -> None:
    """At once."""
    with access() as opened:
        opened.keys.revoke(id, author=author(), address=CONSOLE)
    if json:
        print_json({"revoked": id})
    else:
        out.print(_("Revoked: {id}.").format(id=id))


def when(millis: int | None) -> str:
    """A time in the machine's time zone, to the second."""
    return "–" if millis is None else datetime.fromtimestamp(millis / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
