"""The document as one YAML file: export, import."""

from __future__ import annotations

import os
import secrets as random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.commands.common import Json, author, err, out, print_json, store
from appliance.commands.configuration import revisions
from appliance.core.document import Document
from appliance.core.errors import Fault, InvalidError, RefusedError
from appliance.i18n import _
from appliance.paths import Paths

if TYPE_CHECKING:
    from appliance.store import Secrets, Store

PASSPHRASE_MAX = 4096
"""Characters of a passphrase."""


def add_to(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    panel = _("The configuration document")
    app.command("export", help=_("Write the document as one YAML file"), rich_help_panel=panel)(export)
    app.command("import", help=_("Stage the content of an exported file"), rich_help_panel=panel)(import_)


def export(
    file: Annotated[Path | None, typer.Argument(help=_("Where to; none: standard output"))] = None,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help=_("Also secrets, sealed with this machine's key"))
    ] = False,
    with_passphrase: Annotated[
        bool,
        typer.Option(
            "--with-passphrase",
            help=_("Also secrets, sealed under a passphrase, for another machine: asked for, or read from standard input"),
        ),
    ] = False,
    revision: Annotated[
        int | None, typer.Option(help=_("A committed revision; none: the newest"), autocompletion=revisions)
    ] = None,
    json: Json = False,
) -> None:  # fmt: skip
    """The document in its canonical form."""
    from appliance.store import export_document

    if with_secrets and with_passphrase:
        raise RefusedError("secrets are sealed in one way only", "choose --with-secrets or --with-passphrase")
    with store() as opened:
        document = committed(opened, revision)
        text = export_document(document, secrets_of(opened, sealed=with_secrets, passphrase=with_passphrase))
    if file is None:
        if json:
            print_json({"document": text})
            return
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        return
    write(file, text.encode())
    print_json({"file": str(file)}) if json else out.print(_("Written: {file}").format(file=file))


def committed(opened: Store, revision: int | None) -> Document:
    """The document of a committed revision. Raises RefusedError for one that was never in force."""
    if revision is not None and opened.revision(revision).state != "committed":
        raise RefusedError(f"revision {revision} was never in force", "choose a committed one: centralino history")
    return opened.document(revision)


def secrets_of(opened: Store, *, sealed: bool, passphrase: bool) -> Secrets:
    """What the file says of secrets."""
    from appliance.store import Secrets

    if passphrase:
        return Secrets.passphrase(opened.keyring(Paths.default().secret_key), read_passphrase(again=True))
    return Secrets.sealed(opened.keyring(Paths.default().secret_key)) if sealed else Secrets.omitted()


def read_passphrase(*, again: bool) -> str:
    """A passphrase as somebody types it unseen, or as standard input has it; never from the command line."""
    if sys.stdin.isatty():
        confirmation = _("The same again") if again else False
        return str(typer.prompt(_("Passphrase"), hide_input=True, confirmation_prompt=confirmation, err=True))
    return sys.stdin.read(PASSPHRASE_MAX).removesuffix("\n").removesuffix("\r")


def write(file: Path, content: bytes) -> None:
    """Whole or not at all, and readable to nobody else, whatever was there before. Raises InvalidError."""
    draft = file.with_name(f".{file.name}.{random.token_hex(4)}")
    try:
        if file.is_dir():
            raise IsADirectoryError(0, "it is a directory")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(handle)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidError(
            [Fault(str(file), f"can't be written: {reason}", "name a place to write to", "file")]
        ) from None


def import_(file: Annotated[Path, typer.Argument(help=_("A file that export wrote"))], json: Json = False) -> None:
    """Stage an exported document: objects that aren't in it are removed, and what was staged before is forgotten."""
    from appliance.core.document import changes
    from appliance.store import import_document, needs_passphrase

    content = read(file)
    passphrase = read_passphrase(again=False) if needs_passphrase(content) else None
    with store() as opened:
        head = opened.document()
        keyring = opened.keyring(Paths.default().secret_key)
        imported = import_document(content, current=head, keyring=keyring, passphrase=passphrase)
        found = changes(head, imported.document)
        put = [change.after for change in found if change.after is not None]
        remove = [(change.kind, change.id) for change in found if change.after is None]
        before = opened.candidate(author())
        dropped = [*(item.path() for item in before.put), *(f"{kind}/{id}" for kind, id in before.remove)]
        opened.stage(author(), put=put, remove=remove, anew=True)
    if json:
        print_json(
            {
                "staged": [item.path() for item in put],
                "removed": [f"{kind}/{id}" for kind, id in remove],
                "dropped": dropped,
                "missing_secrets": list(imported.missing_secrets),
            }
        )
        return
    report_import(len(put), len(remove), dropped, imported.missing_secrets)


def report_import(put: int, removed: int, dropped: Sequence[str], missing: Sequence[str]) -> None:
    """What an import has done, for people."""
    out.print(_("Staged: {put} put, {removed} removed.").format(put=put, removed=removed))
    for path in dropped:
        err.print(_("What you had staged before is forgotten: {path}").format(path=path))
    for id in missing:
        err.print(_("secret/{id} has no value: centralino secret set {id}").format(id=id))


def read(file: Path) -> bytes:
    """Raises InvalidError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidError(
            [Fault(str(file), error.strerror or str(error), _("name a readable file"), "file")]
        ) from None
