"""``centralino KIND list|show|add|set|remove``: the same five verbs for every kind of the document.

Edits are collected (staged) per person until ``centralino commit``.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import typer
from rich.markup import escape

from appliance.commands.common import Json, author, out, plain, print_json, print_table, store
from appliance.commands.completion import ids_of
from appliance.commands.fields import REQUIRED, fields, summary
from appliance.core.document import Document, parse
from appliance.core.errors import Fault, InvalidError, NotFoundError, RefusedError
from appliance.core.fields import valid_id
from appliance.core.model import Object, Part
from appliance.core.references import references
from appliance.i18n import _, translated
from appliance.kinds import KINDS
from appliance.organisation.model import Secret
from appliance.paths import Paths
from appliance.pbx.extensions.model import Device

Assignments = Annotated[
    list[str], typer.Argument(metavar="FIELD=VALUE", help=_("Nested fields with dots; lists with commas"))
]
Refused = Annotated[list[str] | None, typer.Argument(hidden=True)]
HIDDEN: Final = "••••••"
SECRET_MAX: Final = 4096
"""Characters of a secret's value."""


def command(kind: str) -> typer.Typer:
    """The sub-command of one kind."""
    model = KINDS[kind]
    app = typer.Typer(help=translated(summary(model)), no_args_is_help=True)
    known = Annotated[str, typer.Argument(metavar="ID", autocompletion=ids_of(kind))]

    def list_(json: Json = False) -> None:
        show_all(kind, json=json)

    def show(id: str, json: Json = False) -> None:
        show_one(kind, id, json=json)

    def remove(id: str, json: Json = False) -> None:
        remove_one(kind, id, json=json)

    def fields_(json: Json = False) -> None:
        show_fields(kind, json=json)

    # Types of arguments are looked up in the module, where `known` isn't: they are put in place here.
    for function in (show, remove):
        function.__annotations__["id"] = known
    app.command("list", help=_("Show all, with staged changes"))(list_)
    app.command("show", help=_("Show one"))(show)
    if kind == Secret.kind:
        app.command("add", help=_("Add one; its value is asked for, or read from standard input"))(add_value)
        app.command("set", help=_("Give one a value: asked for, or read from standard input"))(set_value)
    else:
        add_edits(app, kind, known)
    app.command("remove", help=_("Remove one"))(remove)
    app.command("fields", help=_("Which fields there are, and what they take"))(fields_)
    return app


def add_edits(app: typer.Typer, kind: str, known: Any) -> None:
    """The verbs that assign fields."""

    def add(id: str, assignments: Assignments, json: Json = False) -> None:
        add_one(kind, id, assignments, json=json)

    def set_(id: str, assignments: Assignments, json: Json = False) -> None:
        set_one(kind, id, assignments, json=json)

    add.__annotations__["id"] = Annotated[str, typer.Argument(metavar="ID")]
    set_.__annotations__["id"] = known
    names = fields_help(KINDS[kind])
    app.command("add", help=_("Add one"), epilog=names)(add)
    app.command("set", help=_("Change some fields of one"), epilog=names)(set_)


def fields_help(model: type[Part]) -> str:
    """The fields of a kind, for the end of a help text."""
    names = [row.name if row.default == REQUIRED else f"[{row.name}]" for row in fields(model) if "." not in row.name]
    return _("Fields: {names}. More about them: centralino {kind} fields").format(
        names=escape(" ".join(names)), kind=getattr(model, "kind", "")
    )


def show_fields(kind: str, *, json: bool) -> None:
    """What fields a kind has, and what they take."""
    rows = list(fields(KINDS[kind]))
    if json:
        print_json([asdict(row) for row in rows])
        return
    columns = (_("field"), _("value"), _("default"), _("meaning"))
    table = [
        [
            row.name,
            translated(row.values),
            _(row.default) if row.default == REQUIRED else row.default,
            translated(row.help),
        ]
        for row in rows
    ]
    print_table(translated(summary(KINDS[kind])), columns, table, empty="")


def show_all(kind: str, *, json: bool) -> None:
    """A table of all objects of a kind, or all of them as JSON."""
    rows = [masked(item) for _id, item in sorted(current().objects.get(kind, {}).items())]
    if json:
        print_json(rows)
        return
    names = [name for name in KINDS[kind].model_fields if any(row.get(name) not in (None, [], "") for row in rows)]
    fields = names[: columns_for(out.width)]
    print_table(
        kind,
        fields,
        ([plain(row.get(name)) for name in fields] for row in rows),
        empty=_("There is none yet. Add one: centralino {kind} add ID FIELD=VALUE …").format(kind=kind),
    )


def columns_for(width: int) -> int:
    """How many columns of a table can be read on a terminal of this width."""
    return max(3, width // 16)


def show_one(kind: str, id: str, *, json: bool) -> None:
    """One object, field by field."""
    row = masked(one(current(), kind, id))
    if json:
        print_json(row)
        return
    print_table(f"{kind}/{id}", (_("field"), _("value")), ([k, plain(v)] for k, v in row.items()), empty="")


def add_one(kind: str, id: str, assignments: Iterable[str], *, json: bool) -> None:
    """Stage a new object; a device without credentials gets some, shown once."""
    document = current()
    new_id(document, kind, id)
    data = assigned(KINDS[kind], {"id": id}, assignments)
    account = new_account(document, data) if kind == Device.kind else None
    made = parse(KINDS, kind, data)
    if account is None:
        stage([made], json=json)
    else:
        stage([made, account[0]], json=json, account={"user": id, "password": account[1]})


def set_one(kind: str, id: str, assignments: Iterable[str], *, json: bool) -> None:
    """Stage an object with some fields changed."""
    data = one(current(), kind, id).model_dump(mode="json", exclude_unset=True)
    stage([parse(KINDS, kind, assigned(KINDS[kind], data | {"id": id}, assignments))], json=json)


def remove_one(kind: str, id: str, *, json: bool) -> None:
    """Stage the removal of an object; a device takes the credentials along that were made with it."""
    document = current()
    item = one(document, kind, id)
    gone = [(kind, id)]
    if isinstance(item, Device) and item.secret == id and own_secret(document, id):
        gone.append((Secret.kind, id))
    stage(remove=gone, json=json)


def own_secret(document: Document, id: str) -> bool:
    """Whether the secret exists and nobody but the device of the same id refers to it."""
    users = [
        (item.kind, item.id)
        for item in document
        for _path, target, kinds in references(item)
        if target == id and Secret.kind in kinds
    ]
    return document.find(Secret, id) is not None and users == [(Device.kind, id)]


def add_value(
    id: Annotated[str, typer.Argument(metavar="ID")], assignments: Refused = None, json: Json = False
) -> None:
    """Stage a new secret."""
    new_id(current(), Secret.kind, id)
    secret_value(id, read_value(id, assignments), json=json)


def set_value(
    id: Annotated[str, typer.Argument(metavar="ID", autocompletion=ids_of("secret"))],
    assignments: Refused = None,
    json: Json = False,
) -> None:
    """Stage a secret's new value."""
    one(current(), Secret.kind, id)
    secret_value(id, read_value(id, assignments), json=json)


def read_value(id: str, refused: Iterable[str] | None) -> str:
    """A secret as somebody types it, twice and unseen, or as standard input has it. Never from the command line:
    every user of the machine can read other people's command lines."""
    if refused:
        raise RefusedError(
            "a secret is not taken from the command line, where everybody on this machine can read it",
            "leave it out: it is asked for, or read from standard input",
            error_id="secret_on_command_line",
        )
    if sys.stdin.isatty():
        value = typer.prompt(_("Value"), hide_input=True, confirmation_prompt=_("The same again"), err=True)
    else:
        value = sys.stdin.read(SECRET_MAX + 2).removesuffix("\n").removesuffix("\r")
    path = f"{Secret.kind}/{id}/value"
    if not value:
        raise InvalidError([Fault(path, "is empty", "give it a value", "missing")])
    if len(value) > SECRET_MAX or not value.isprintable():
        raise InvalidError([Fault(path, "can't be typed", f"one line of at most {SECRET_MAX} characters", "secret")])
    if value != value.strip():
        raise InvalidError([Fault(path, "starts or ends with white space", "leave the blanks out", "secret")])
    return str(value)


def secret_value(id: str, value: str, *, json: bool) -> None:
    """Stage a secret's value, sealed at once."""
    with store() as opened:
        sealed = opened.keyring(Paths.default().secret_key).seal(id, value)
    stage([parse(KINDS, Secret.kind, {"id": id, "value": sealed})], json=json)


def new_id(document: Document, kind: str, id: str) -> None:
    """Raises InvalidError or RefusedError unless an object of that id can be added."""
    if not valid_id(id):
        raise InvalidError([Fault(f"{kind}/{id[:40]}/id", "is not a valid id", "use a-z, 0-9 and hyphens", "id")])
    if id in document.objects.get(kind, {}):
        raise RefusedError(f"{kind} {id!r} exists already", f"centralino {kind} set {id} …", error_id="exists")


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


def stage(
    put: Iterable[Object] = (),
    remove: Iterable[tuple[str, str]] = (),
    *,
    json: bool = False,
    account: Mapping[str, str] | None = None,
) -> None:
    """Add to this person's staged changes, and say so. ``account``: credentials that are shown this once."""
    put, remove = tuple(put), tuple(remove)
    with store() as opened:
        opened.stage(author(), put=put, remove=remove)
    if json:
        print_json(
            {
                "staged": [item.path() for item in put],
                "removed": [f"{kind}/{id}" for kind, id in remove],
                **({"account": account} if account else {}),
            }
        )
        return
    out.print(_("Staged. “centralino plan” shows what would change, “centralino commit” does it."))
    if account:
        out.print(_("SIP account: user {user}, password {password} (shown once)").format(**account), markup=False)


def masked(item: Object) -> dict[str, Any]:
    """An object's fields as people may see them: a secret's value only as set or not."""
    row = item.model_dump(mode="json")
    if isinstance(item, Secret):
        row["value"] = None if item.value is None else HIDDEN
    return row


def assigned(model: type[Object], data: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """``data`` with ``field=value`` words applied. An empty value unsets a field."""
    for word in assignments:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise InvalidError([Fault(word[:80], "is not FIELD=VALUE", "for example: label=Reception", "assignment")])
        *parents, last = name.split(".")
        if (parents or [last])[0] == "id":
            raise InvalidError([Fault(f"{model.kind}/{data['id']}/id", "never changes", "remove and add", "id")])
        place = data
        for parent in parents:
            if place.get(parent) is None:
                place[parent] = {}
            place = place[parent]
            if not isinstance(place, dict):
                raise InvalidError([Fault(f"{model.kind}/{data['id']}/{name}", "has no such part", "", "assignment")])
        if text:
            place[last] = value_of(model, (*parents, last), text)
        else:
            place.pop(last, None)
    return data


def value_of(model: type[Part], path: Sequence[str], text: str) -> Any:
    """A field's value from a word: text stays as it is (the model converts it); lists are written with commas, or like
    mappings as YAML."""
    wanted = annotation_of(model, path)
    if text[:1] in "[{" and not is_text(wanted):
        import yaml

        try:
            return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 (makes nothing but texts, lists and mappings)
        except yaml.YAMLError:
            raise InvalidError(
                [Fault(".".join(path), "is not a valid list or mapping", "for example [a, b] or {x: 1}", "yaml")]
            ) from None
    if get_origin(wanted) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def annotation_of(model: type[Part], path: Sequence[str]) -> Any:
    """The type of a field, in parts of the object too; None where it can't be told from the path alone."""
    info = model.model_fields.get(path[0])
    if info is None:
        return None
    if len(path) == 1:
        return info.annotation
    options = [info.annotation, *get_args(info.annotation)]
    parts = [option for option in options if isinstance(option, type) and issubclass(option, Part)]
    found = [annotation_of(part, path[1:]) for part in parts]
    return next((option for option in found if option is not None), None)


def is_text(annotation: Any) -> bool:
    """Whether a field holds text: ``str``, with rules to it or optional."""
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return any(map(is_text, get_args(annotation)))
    return annotation is str


def new_account(document: Document, data: dict[str, Any]) -> tuple[Object, str] | None:
    """A device without credentials gets fresh ones: its secret, and the password in the clear."""
    if "secret" in data or data["id"] in document.objects.get("secret", {}):
        data.setdefault("secret", data["id"])
        return None
    password = secrets.token_urlsafe(18)
    data["secret"] = data["id"]
    with store() as opened:
        sealed = opened.keyring(Paths.default().secret_key).seal(data["id"], password)
    return parse(KINDS, Secret.kind, {"id": data["id"], "value": sealed}), password
