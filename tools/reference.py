"""Writes ``docs/reference.md`` from the code: verbs of the command, kinds with their fields, error ids. See ``tools/reference``."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

os.environ["CENTRALINO_LANGUAGE"] = "en"  # before the command is imported: its help texts are made then

import typer

from appliance.access.roles import AREAS, BUILT_IN
from appliance.cli import app
from appliance.commands.fields import description, fields, summary
from appliance.console.api import openapi
from appliance.core import errors
from appliance.kinds import KINDS
from tools.catalogue import ROOT, SOURCE, texts_of

FILE: Final = ROOT / "docs" / "reference.md"
HEAD: Final = """\
# Reference

Made from the code by `tools/reference`; a test holds it up to date.

- [The command](#the-command)
- [Kinds of the document](#kinds-of-the-document)
- [Roles and rights](#roles-and-rights)
- [The REST API](#the-rest-api)
- [Error ids](#error-ids)
"""
STATUS: Final = """\
`centralino status --json` has these keys, which stay as they are:

| key | what it holds |
|---|---|
| `services` | list of `name`, `pid` (null: not running) of the supervisor and every process of `centralino run` |
| `configuration` | `revision` (number of the newest committed one), `state`, `message` |
| `applied` | what the applier says; null: it can't be reached. `revision` (in force), `verified` (the engine was asked and has it), `applying` (a revision or null), `confirm` (null, or `revision`, `previous`, `left_s`), `scheduled` (list of `revision`, `at`), `last_error` (null, or `revision`, `error_id`, `message`) |
| `devices` | number of devices in the document |
| `registrations` | list of `device`, `uri`, `state` (as the engine says it), `phone` (its user agent) |
| `lines` | list of `name`, `state` of the trunks that register at a provider |
| `calls` | list of `caller`, `called`, `seconds`, `state` of the calls that are up |
| `faults` | sentences: what could not be asked, and why |
"""
COMMAND: Final = """\
Exit codes: 0 done, 1 an error (one line with a hint; every fault of a document on a line of its own), 2 wrong usage.
`centralino --debug …` shows a traceback. Edits are *staged* per person until `centralino commit`. The language is that of
the environment (`LC_ALL`, `LANG`), or `CENTRALINO_LANGUAGE=it`. `centralino --install-completion` sets up the shell.
"""


def reference() -> str:
    """The whole page."""
    group = typer.main.get_command(app)
    parts = [HEAD, "## The command\n", COMMAND]
    commands: dict[str, Any] = group.commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        if name not in KINDS:
            parts.append(verb(name, command))
    parts.append(STATUS)
    parts.append("### Verbs of every kind\n\n" + rows_of_verbs(commands["extension"]))
    parts.append(
        "Of a `secret`, `add` and `set` take the value from a prompt or from standard input, never from the command line.\n"
    )
    parts.append("## Kinds of the document\n")
    parts.append("\n".join(f"- [`{kind}`](#{kind}) {summary(model)}" for kind, model in KINDS.items()) + "\n")
    parts.extend(kind_section(kind) for kind in KINDS)
    parts.append(roles_section())
    parts.append(api_section())
    parts.append(errors_section())
    return "\n".join(parts)


def verb(name: str, command: Any) -> str:
    """One verb, with what it takes."""
    lines = [f"### centralino {name}\n", f"{command.help.rstrip('.')}.\n"]
    return "\n".join([*lines, *parameters(command), *below(name, command)]) + "\n"


def below(name: str, command: Any) -> Iterator[str]:
    """The verbs of a verb, and theirs."""
    for inner, sub in getattr(command, "commands", {}).items():
        yield f"\n`centralino {name} {inner}`: {sub.help.rstrip('.')}.\n"
        yield from parameters(sub)
        yield from below(f"{name} {inner}", sub)


def parameters(command: Any) -> Iterator[str]:
    """A line for each argument and option."""
    for item in command.params:
        if item.name == "help" or getattr(item, "hidden", False):
            continue
        is_option = item.param_type_name == "option"
        names = ", ".join(f"`{name}`" for name in item.opts) if is_option else f"`{item.metavar or item.name.upper()}`"
        text = getattr(item, "help", None) or ""
        default = f" Default: `{item.default}`." if item.default not in (None, False, "", ()) else ""
        yield f"- {names}{': ' if text else ''}{text}{'.' if text and default else ''}{default}"


def rows_of_verbs(group: Any) -> str:
    """The verbs of a kind."""
    rows = [f"| `centralino KIND {name}` | {command.help} |" for name, command in group.commands.items()]
    return "\n".join(["| verb | what it does |", "|---|---|", *rows]) + "\n"


def kind_section(kind: str) -> str:
    """One kind with its fields."""
    lines = [
        f"### {kind}\n",
        description(KINDS[kind]) + "\n",
        "| field | value | default | meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{row.name}` | {escaped(row.values)} | {code(row.default)} | {escaped(row.help)} |"
        for row in fields(KINDS[kind])
    ]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """A value in a table."""
    return "**required**" if text == "required" else f"`{text}`" if text else ""


def escaped(text: str) -> str:
    """Text in a table."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def roles_section() -> str:
    """Areas of rights, and the roles that every installation has."""
    areas = [f"| `{area}` | {escaped(text)} |" for area, text in AREAS.items()]
    roles = [
        f"| `{role.id}` | {role.name} | {', '.join(f'`{each}`' for each in role.permissions)}"
        f"{'; only what is the own' if role.own_only else ''} |"
        for role in BUILT_IN.values()
    ]
    return "\n".join(
        (
            "## Roles and rights\n",
            "A permission is `<kind or area>:view` or `:edit`, `<kind>.<field>:view` or `:edit` for one field, `*` for everything; to edit includes",
            "to view. Besides the kinds there are these areas:\n",
            "| area | what it opens |\n|---|---|",
            *areas,
            "",
            "Roles that every installation has; others are objects of the kind [`role`](#role):\n",
            "| id | name | permissions |\n|---|---|---|",
            *roles,
            "",
        )
    )


def api_section() -> str:
    """Every operation of the REST API."""
    rows = [
        f"| {method.upper()} | `{path}` | {escaped(each['summary'])} | `{each['operationId']}` |"
        for path, item in openapi.description()["paths"].items()
        if not path.startswith("/objects/")
        for method, each in item.items()
        if method != "parameters"
    ]
    return "\n".join(
        (
            "## The REST API\n",
            "Below `/api/v1`; fields, parameters and answers stand in its description (`/api/v1/openapi.json`) and in the portal, to be tried out.",
            "Of each kind there are besides `GET` and `POST /objects/<kind>`, `GET`, `PUT`, `PATCH` and `DELETE /objects/<kind>/<id>`. The last column is",
            "the method's name in the Python client (`/api/v1/client.py`).\n",
            "| method | path | what it does | name |\n|---|---|---|---|",
            *rows,
            "",
        )
    )


def errors_section() -> str:
    """Every error id, and what is said with it."""
    lines = [
        "## Error ids\n",
        "Stable: programs may go by them. `{1}` stands for a value.\n",
        "| id | said with it |",
        "|---|---|",
    ]
    for id, said in sorted(error_ids().items()):
        lines.append(f"| `{id}` | {escaped('; '.join(sorted(said)) or '–')} |")
    return "\n".join(lines) + "\n"


def error_ids() -> dict[str, set[str]]:
    """Every ``error_id`` in the source → messages that it comes with."""
    found: dict[str, set[str]] = {}
    for item in vars(errors).values():
        if isinstance(item, type) and issubclass(item, errors.CentralinoError):
            found.setdefault(item.error_id, set()).add(f"{(item.__doc__ or '').splitlines()[0].rstrip('.')}")
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                message = 1 if name == "Fault" else 0
                ids = [keyword.value for keyword in node.keywords if keyword.arg == "error_id"]
                ids += node.args[3:4] if name == "Fault" else []
                for id in ids:
                    if isinstance(id, ast.Constant) and isinstance(id.value, str):
                        said = texts_of(node.args[message]) if message < len(node.args) else ()
                        found.setdefault(id.value, set()).update(said)
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(reference())
    else:
        FILE.write_text(reference())
