"""``centralino key``: the key under which secrets are sealed."""

from __future__ import annotations

import typer

from appliance.commands.common import Json, author, err, out, print_json, store
from appliance.commands.configuration import allowed, report
from appliance.core.errors import CorruptError
from appliance.i18n import _
from appliance.organisation.model import Secret
from appliance.paths import Paths


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("The key under which secrets are sealed"), no_args_is_help=True)
    sub.command("rotate", help=_("Seal every secret anew, under a new key; the old one still opens old revisions"))(
        rotate
    )
    sub.command("new", help=_("Make a key in the place of one that is lost; then set every secret again"))(new)
    app.add_typer(sub, name="key", rich_help_panel=_("The configuration document"))


def rotate(json: Json = False) -> None:
    """A new key, and a revision with every secret sealed under it. What phones use doesn't change."""
    from appliance.applier.client import ApplierClient

    client = ApplierClient(Paths.default().applier_socket)
    client.state()  # without an applier, the key stays as it is
    with store() as opened:
        keyring, head = opened.keyring(Paths.default().secret_key), opened.head()
        document = opened.document(head.number)
        keyring.reveal(document)  # all can be opened, or nothing is changed
        keyring.rotate()
        renewed = keyring.reseal(document)
        if not renewed:
            answer = {"revision": head.number, "state": "in_force"}
        else:
            message = "Secrets sealed under a new key"
            revision = opened.propose(renewed, base=head.number, author=author(), message=message)
            answer = client.apply(revision.number, allow=allowed(False, False), offline=True)
    if json:
        print_json({**answer, "secrets": len(renewed), "fingerprint": keyring.fingerprint})
        return
    out.print(_("{count} secrets are sealed under a new key. Back the key file up: {file}").format(
        count=len(renewed), file=keyring.path))  # fmt: skip
    report(answer, json=False)


def new(json: Json = False) -> None:
    """Only when there is no key, or a damaged one. Secrets that were sealed under the lost one can't be opened."""
    from appliance.store import Keyring

    keyring = Keyring.renew(Paths.default().secret_key)
    with store() as opened:
        document = opened.document()
    lost = []
    for id, secret in sorted(document.all(Secret).items()):
        try:
            if secret.value is not None:
                keyring.open(id, secret.value)
        except CorruptError:
            lost.append(id)
    if json:
        print_json({"fingerprint": keyring.fingerprint, "lost": lost})
        return
    out.print(_("There is a new key. Back it up: {file}").format(file=keyring.path))
    for id in lost:
        err.print(_("secret/{id} can't be opened any more: centralino secret set {id}").format(id=id))
