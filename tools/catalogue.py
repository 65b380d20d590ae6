"""Collects every message that a person may read, and keeps the catalogues of translations: see ``tools/translations``.

Collected, besides what ``_("…")`` marks: messages and hints of errors and faults, steps of plans, help texts of kinds and
fields, and what libraries say (typer, pydantic). Texts with values become templates: ``f"no {kind} {id!r}"`` is
``no {1} {2}``, which :func:`appliance.i18n.translated` recognises.
"""

from __future__ import annotations

import ast
import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment
from jinja2.ext import extract_from_ast

from appliance.core.fields import FORMS

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "appliance"
SOURCES: Final = (SOURCE, ROOT / "lab")
LOCALE: Final = SOURCE / "locale"
TRANSLATED: Final = ("it",)
EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Time in the catalogues' headers: always the same, so that a catalogue changes only when a message does."""
COMMENT: Final = "# Translations of PROJECT, the on-premises telephone system.\n# Made with tools/translations."

MARKS: Final = {"_", "later"}
CALLS: Final = {
    "Fault": (1, 2),
    "RestartEngine": (0,),
    "progress": (0,),
    "say": (0,),
    "ValueError": (0,),
    "Answer": (1,),
}
"""Calls whose arguments people read, and which; errors of ours (``…Error``) have a message and a hint."""
NOT_OURS: Final = {"OSError", "TypeError", "AmiError", "InvalidError", "RuntimeError", "KeyError", "AssertionError"}
NAMES: Final = {"msg", "message", "hint", "_HINT", "_RESTORE", "reason", "what", "ADDED", "REMOVED", "MOVED"}
"""Variables and parameters that hold such a text."""
FUNCTIONS: Final = {"sentence", "_action", "_words", "_why_not", "upload"}
"""Functions that return such a text."""

LIBRARIES: Final = (
    # typer, as far as it has its texts translated
    "Arguments", "Options", "Commands", "Error", "Aborted!", "Aborted.", "required", "[required]", "default: {default}",
    "[default: {}]", "Missing command.", "No such command {name!r}.",
    "Try [blue]'{command_path} {help_option}'[/] for help.",
    # values of fields (appliance/commands/fields.py)
    "list of {1}", "list of {1}, at least {2}", "number {1}–{2}", "{1} id", "{1} or {2} id", "text", "true or false", "number",
    "text like {1}", "IP address", "network (CIDR)", "IP address with the length of its network", "time zone", "certificates (PEM)",
    # pydantic
    "Input should be greater than or equal to {1}",
    "Input should be less than or equal to {1}", "String should have at least {1} character",
    "String should have at most {1} characters", "Input should be a valid string",
    "Input should be a valid integer, unable to parse string as an integer", "Input should be a valid tuple",
    "Input should be a valid boolean, unable to interpret input", "Input should be a valid dictionary or instance of {1}",
    "Tuple should have at least {1} item after validation, not {2}",
    "Tuple should have at most {1} items after validation, not {2}",
    "Input tag {1} found using {2} does not match any of the expected tags: {3}",
    "Unable to extract tag using discriminator {1}",
)  # fmt: skip


def messages() -> set[str]:
    """Every message id."""
    found = {*LIBRARIES, *FORMS.values(), *_of_kinds(), *_of_templates(), *_of_api()}
    for file in _files("*.py"):
        found |= set(_of_source(ast.parse(file.read_text())))
    return {text for text in found if _readable(text)}


def _files(pattern: str) -> list[Path]:
    return [file for source in SOURCES for file in sorted(source.rglob(pattern))]


def _readable(text: str) -> bool:
    """Whether people read it: no markup, no name of a program's own, no mere values."""
    words = re.sub(r"\{\w+\}", "", text)
    return (
        "[dim]" not in text
        and re.search("[A-Za-z]{2}", words) is not None
        and not re.fullmatch(r"[a-z]+(_[a-z]+)+|[\dT:+-]+", text)
    )


def _of_templates() -> Iterator[str]:
    """What ``_("…")`` marks in the pages' templates."""
    for file in _files("templates/**/*.html"):
        for _line, _function, text in extract_from_ast(
            Environment(autoescape=True).parse(file.read_text()), sorted(MARKS)
        ):
            yield from (text,) if isinstance(text, str) else (each for each in text or () if each is not None)


def _of_kinds() -> Iterator[str]:
    from appliance.commands.fields import fields, summary
    from appliance.kinds import KINDS
    from appliance.labels import texts

    yield from texts()

    for model in KINDS.values():
        yield summary(model)
        yield from (row.help for row in fields(model) if row.help)


def _of_api() -> Iterator[str]:
    """What the portal's page about the API says of its operations; of those that every kind has, with its place left open."""
    from appliance.console.portal.reference import operations_by_group
    from appliance.kinds import KINDS

    for group, operations in operations_by_group().items():
        for one in operations:
            yield one.summary.replace(group.replace("_", " "), "{1}") if group in KINDS else one.summary
            yield from (each.about for each in (*one.parameters, *one.body, *one.answer) if each.about)


def _of_source(tree: ast.Module) -> Iterator[str]:
    positions = dict(CALLS)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in node.args.args]
            found = tuple(
                index - (names[:1] == ["self"]) for index, name in enumerate(names) if name in NAMES - {"what"}
            )
            if found:
                positions.setdefault(node.name, found)
    for node in ast.walk(tree):
        yield from _of_node(node, positions)


def _of_node(node: ast.AST, positions: dict[str, tuple[int, ...]]) -> Iterator[str]:
    match node:
        case ast.Call():
            yield from _of_call(node, positions)
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ) if name in NAMES:
            yield from texts_of(value)
        case ast.AnnAssign(target=ast.Name(id="LABELS" | "COUNTERS"), value=ast.Dict(values=values)):
            for value in values:
                yield from texts_of(value)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name in FUNCTIONS:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and inner.value is not None:
                    for value in inner.value.elts if isinstance(inner.value, ast.Tuple) else [inner.value]:
                        yield from texts_of(value)


def _of_call(node: ast.Call, positions: dict[str, tuple[int, ...]]) -> Iterator[str]:
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    wanted: tuple[int, ...] = (0,) if name in MARKS else positions.get(name, ())
    if name.endswith("Error") and name not in NOT_OURS | {"ValueError"}:
        wanted = (0, 1)
    for index in wanted:
        if index < len(node.args):
            yield from texts_of(node.args[index])
    for keyword in node.keywords if wanted else ():
        if keyword.arg in ("message", "hint"):
            yield from texts_of(keyword.value)


def texts_of(node: ast.expr) -> Iterator[str]:
    """The texts that an expression can be: constants and f-strings, alternatives each."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            template, number = "", 0
            for part in values:
                if isinstance(part, ast.Constant):
                    template += str(part.value)
                else:
                    number += 1
                    template += f"{{{number}}}"
            if any(isinstance(part, ast.Constant) for part in values):
                yield template
        case ast.Call(func=ast.Name(id="_"), args=[first]):
            yield from texts_of(first)
        case ast.IfExp(body=body, orelse=orelse):
            yield from texts_of(body)
            yield from texts_of(orelse)
        case ast.BoolOp(values=values):
            for value in values:
                yield from texts_of(value)


def catalogue_file(language: str) -> Path:
    """Where a language's translations stand."""
    return LOCALE / language / "LC_MESSAGES" / "centralino.po"


def read(language: str) -> Catalog:
    """A language's translations."""
    return read_po(io.BytesIO(catalogue_file(language).read_bytes()), locale=language)


def updated(language: str) -> Catalog:
    """A language's catalogue with exactly the messages that there are; translations that are known are kept."""
    known = read(language) if catalogue_file(language).exists() else Catalog(locale=language)
    made = Catalog(
        locale=language, project="Centralino", version="1", header_comment=COMMENT, fuzzy=False,
        copyright_holder="Centralino", creation_date=EPOCH, revision_date=EPOCH,
        last_translator="Centralino", language_team="Centralino", msgid_bugs_address="none",
    )  # fmt: skip
    for id in sorted(messages()):
        old = known.get(id)
        made.add(id, old.string if old else "")
    return made


def text_of(catalogue: Catalog) -> bytes:
    """The catalogue's file."""
    buffer = io.BytesIO()
    write_po(buffer, catalogue, width=120, no_location=True, sort_output=True, ignore_obsolete=True)
    return buffer.getvalue()


def update() -> None:
    """Bring the catalogues up to date with the code."""
    for language in TRANSLATED:
        file = catalogue_file(language)
        made = updated(language)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text_of(made))
        missing = [message.id for message in made if message.id and not message.string]
        print(f"{language}: {len(made)} messages, {len(missing)} without translation")  # noqa: T201


def compile_all() -> None:
    """Make what the program reads."""
    for language in TRANSLATED:
        buffer = io.BytesIO()
        write_mo(buffer, read(language))
        catalogue_file(language).with_suffix(".mo").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    if sys.argv[1:] != ["compile"]:
        update()
    compile_all()
