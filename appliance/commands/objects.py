"""``centralino KIND list|show|add|set|remove``: the same five verbs for every kind of the document.

Edits are collected (staged) per person until ``centralino commit``.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Annotated, Any, get_origin

import typer

from appliance.commands.common import author, out, plain, print_json, print_table, store
from appliance.core.document import Document, parse
from appliance.core.errors import Fault, InvalidError, NotFoundError, RefusedError
from appliance.core.fields import valid_id
from appliance.core.model import Object
from appliance.i18n import _
from appliance.kinds import KINDS
from appliance.paths import Paths

Json = Annotated[bool, typer.Option("--json", help="For programs")]
Assignments = Annotated[
    list[str], typer.Argument(metavar="FIELD=VALUE", help="Nested fields with dots; lists with commas")
]


def command(kind: str) -> typer.Typer:
    """The sub-command of one kind."""
    model = KINDS[kind]
    app = typer.Typer(help=(model.__doc__ or "").splitlines()[0], no_args_is_help=True)

    @app.command("list", help=_("Show all, with staged changes"))
    def list_(json: Json = False) -> None:
        document = current()
        rows = [item.model_dump(mode="json") for _id, item in sorted(document.objects.get(kind, {}).items())]
        if json:
            print_json([masked(row) for row in rows])
            return
        fields = [name for name in model.model_fields if any(row.get(name) not in (None, [], "") for row in rows)][:7]
        print_table(
            kind,
            fields,
            ([plain(masked(row).get(name)) for name in fields] for row in rows),
            empty=_("There is none yet. Add one: centralino {kind} add ID FIELD=VALUE …").format(kind=kind),
        )

    @app.command("show", help=_("Show one"))
    def show(id: str, json: Json = False) -> None:
        row = masked(one(current(), kind, id).model_dump(mode="json"))
        if json:
            print_json(row)
            return
        print_table(f"{kind}/{id}", (_("field"), _("value")), ([k, plain(v)] for k, v in row.items()), empty="")

    @app.command("add", help=_("Add one"))
    def add(id: str, assignments: Assignments) -> None:
        if not valid_id(id):
            raise InvalidError(
                [Fault(f"{kind}/{id[:40]}/id", _("is not a valid id"), _("use a-z, 0-9 and hyphens"), "id")]
            )
        document = current()
        if id in document.objects.get(kind, {}):
            raise RefusedError(f"{kind} {id!r} exists already", f"centralino {kind} set {id} …", error_id="exists")
        data = assigned(model, {"id": id}, assignments)
        account = new_account(document, data) if kind == "device" else None
        put: list[Object] = [parse(KINDS, kind, data)]
        if account is not None:
            put.append(account[0])
        stage(put)
        if account is not None:
            out.print(
                _("SIP account: user {user}, password {password} (shown once)").format(user=id, password=account[1])
            )

    @app.command("set", help=_("Change some fields of one"))
    def set_(id: str, assignments: Assignments) -> None:
        before = one(current(), kind, id)
        data = before.model_dump(mode="json", exclude_unset=True)
        stage([parse(KINDS, kind, assigned(model, data | {"id": id}, assignments))])

    @app.command("remove", help=_("Remove one"))
    def remove(id: str) -> None:
        one(current(), kind, id)
        stage(remove=[(kind, id)])

    return app


def secret_value(id: str, value: str) -> None:
    """Stage a secret's value, sealed at once."""
    with store() as opened:
        sealed = opened.keyring(Paths.default().secret_key).seal(id, value)
        opened.stage(author(), put=[parse(KINDS, "secret", {"id": id, "value": sealed})])


def current() -> Document:
    """The head with this person's staged changes on top."""
    with store() as opened:
        document: Document = opened.candidate(author()).on(opened.document())
        return document


def one(document: Document, kind: str, id: str) -> Object:
    """One object, or an error that says how to find those there are."""
    found = document.objects.get(kind, {}).get(id)
    if found is None:
        raise NotFoundError(f"there is no {kind} {id!r}", f"centralino {kind} list shows those there are")
    return found


def stage(put: Iterable[Object] = (), remove: Iterable[tuple[str, str]] = ()) -> None:
    """Add to this person's staged changes."""
    with store() as opened:
        opened.stage(author(), put=tuple(put), remove=tuple(remove))
    out.print(_("Staged. “centralino plan” shows what would change, “centralino commit” does it."))


def masked(row: dict[str, Any]) -> dict[str, Any]:
    """An object as people may see it: a secret's value only as set or not."""
    if set(row) == {"id", "value"}:
        return {"id": row["id"], "value": _("not set") if row["value"] is None else "••••••"}
    return row


def assigned(model: type[Object], data: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """``data`` with ``field=value`` words applied. An empty value or ``none`` unsets a field."""
    for word in assignments:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise InvalidError(
                [Fault(word[:80], _("is not FIELD=VALUE"), _("for example: label=Reception"), "assignment")]
            )
        *parents, last = name.split(".")
        if (parents or [last])[0] == "id":
            raise InvalidError([Fault(f"{model.kind}/{data['id']}/id", _("never changes"), _("remove and add"), "id")])
        place = data
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise InvalidError(
                    [Fault(f"{model.kind}/{data['id']}/{name}", _("has no such part"), "", "assignment")]
                )
        if text in ("", "none"):
            place.pop(last, None)
        else:
            place[last] = value_of(model, last if not parents else "", text)
    return data


def value_of(model: type[Object], field: str, text: str) -> Any:
    """A typed value: YAML for lists and mappings, commas for simple lists, else the text (the model converts it)."""
    if text[:1] in "[{":
        import yaml

        try:
            return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 (makes nothing but texts, lists and mappings)
        except yaml.YAMLError as error:
            raise InvalidError(
                [Fault(field, _("is not a valid list or mapping"), str(error).splitlines()[0], "yaml")]
            ) from None
    info = model.model_fields.get(field)
    if info is not None and get_origin(info.annotation) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def new_account(document: Document, data: dict[str, Any]) -> tuple[Object, str] | None:
    """A device without credentials gets fresh ones: its secret, and the password in the clear."""
    if "secret" in data or data["id"] in document.objects.get("secret", {}):
        data.setdefault("secret", data["id"])
        return None
    password = secrets.token_urlsafe(18)
    data["secret"] = data["id"]
    with store() as opened:
        sealed = opened.keyring(Paths.default().secret_key).seal(data["id"], password)
    return parse(KINDS, "secret", {"id": data["id"], "value": sealed}), password
