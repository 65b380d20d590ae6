"""Verbs about the running system: run, stop, status, calls, doctor."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from appliance.commands.common import Json, err, local_time, out, print_json, print_table, store
from appliance.commands.completion import ids_of
from appliance.commands.configuration import state_text
from appliance.core.errors import CentralinoError, RefusedError, UnavailableError
from appliance.i18n import _, translated
from appliance.paths import Paths

STOP_S: Final = 60.0
"""Seconds that the supervisor may take to end everything."""


def add_to(app: typer.Typer) -> None:
    """Add these verbs to the command."""
    panel = _("The running system")
    app.command(
        "run", help=_("Start the appliance on this machine, with a demo company at first"), rich_help_panel=panel
    )(run)
    app.command("stop", help=_("Stop the appliance started by run"), rich_help_panel=panel)(stop)
    app.command("status", help=_("What runs, registrations, calls, state of the configuration"), rich_help_panel=panel)(
        status
    )
    app.command(
        "account",
        help=_("Show the SIP account of a device with its password, as text and as QR code"),
        rich_help_panel=panel,
    )(account)
    app.command("doctor", help=_("Look for trouble and say how to mend it"), rich_help_panel=panel)(doctor)


def run(
    address: Annotated[
        str | None,
        typer.Option(help=_("Where phones connect from now on: an address of this machine. At first: 127.0.0.1")),
    ] = None,
) -> None:
    """Start everything under one supervisor and stay until Ctrl-C."""
    from appliance.run.appliance import start_and_watch

    start_and_watch(Paths.default(), address)


def stop() -> None:
    """End the supervisor, which ends everything; or what a killed supervisor left."""
    from appliance.run.appliance import end_leftovers, supervisor_pid

    paths = Paths.default()
    pid = supervisor_pid(paths)
    try:
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            _await_end(paths, pid)
        if not end_leftovers(paths) and pid is None:
            raise UnavailableError(
                _("the appliance is not running here"), _("start it: make run"), error_id="not_running"
            )
    except PermissionError:
        raise RefusedError(
            _("the appliance belongs to another user"),
            _("stop it as that one: sudo centralino stop"),
            error_id="forbidden",
        ) from None
    out.print(_("Stopped."))


def _await_end(paths: Paths, pid: int) -> None:
    from appliance.run.appliance import supervisor_pid

    deadline = time.monotonic() + STOP_S
    with err.status(_("Stopping …")) if err.is_terminal else nullcontext():
        while supervisor_pid(paths) == pid:
            if time.monotonic() > deadline:
                raise UnavailableError(_("it did not stop within 60 s"), _("look at var/log"), error_id="timeout")
            time.sleep(0.1)


def account(
    device: Annotated[str, typer.Argument(metavar="ID", autocompletion=ids_of("device"))], json: Json = False
) -> None:
    """For whoever sets up the phone; needs the key file."""
    from appliance.pbx.extensions.model import Device
    from appliance.run.account import account_uri, listener_of, qr_code

    paths = Paths.default()
    with store() as opened:
        document = opened.document()
        found = document.get(Device, device)
        password = opened.keyring(paths.secret_key).reveal(document).get(found.secret)
    if password is None:
        raise UnavailableError(
            _("device {id} has no password").format(id=device),
            f"centralino secret set {found.secret}", error_id="no_password",
        )  # fmt: skip
    listener = listener_of(document, found)
    uri = account_uri(found, password, listener) if listener else ""
    if json:
        print_json({"user": device, "password": password, "uri": uri})
        return
    out.print(_("User {user}, password {password}").format(user=device, password=escape(password)))
    if uri:
        out.print(escape(uri))
        out.print(qr_code(uri))
    else:
        out.print(_("No QR code: only browsers use this account."))


def status(json: Json = False) -> None:
    """What runs, who is registered, which calls are up, what is applied."""
    from appliance.run.status import system_status

    found = system_status(Paths.default())
    if json:
        print_json(found)
        return
    rows = [
        [item["name"], str(item["pid"] or "–"), _("runs") if item["pid"] else _("does not run")]
        for item in found["services"]
    ]
    print_table(_("Processes"), (_("name"), "pid", ""), rows, empty=_("Nothing runs. Start it: make run"))
    out.print()
    applied = found["configuration"]
    out.print(
        _("Configuration: revision {revision}, {state}").format(
            revision=applied["revision"], state=state_text(applied["state"])
        )
    )
    for line in applied_text(found["applied"]):
        out.print("  " + escape(line))
    out.print(
        _("Registrations: {registered} of {devices} devices. Lines: {lines}. Calls: {calls}.").format(
            registered=len(found["registrations"]),
            devices=found["devices"],
            lines=", ".join(f"{item['name']} {line_text(item['state'])}" for item in found["lines"]) or "–",
            calls=len(found["calls"]),
        )
    )
    for fault in found["faults"]:
        err.print(f"[yellow]{_('warning')}[/] {escape(translated(fault))}")
    for call in found["calls"]:
        out.print("  " + _("{caller} → {called}, {seconds} s").format(**call))


def applied_text(applied: dict[str, Any] | None) -> Iterator[str]:
    """What the applier says of the configuration, a line each; its last error is among the faults."""
    if applied is None:
        return
    revision = applied["revision"]
    if applied["applying"] is not None:
        yield _("Revision {revision} is being applied.").format(revision=applied["applying"])
    elif applied["verified"]:
        yield _("The engine was asked and has revision {revision}.").format(revision=revision)
    else:
        yield _("The engine hasn't been asked yet whether it has revision {revision}.").format(revision=revision)
    if waits := applied["confirm"]:
        yield _("Revision {revision} waits to be confirmed; {seconds:.0f} s are left, then revision {previous} comes back.").format(
            revision=waits["revision"], seconds=waits["left_s"], previous=waits["previous"])  # fmt: skip
    last = applied["last_error"]
    if last and last["error_id"] != "engine_differs":
        yield _("The last attempt failed, revision {revision}: {message}").format(
            revision=last["revision"], message=translated(last["message"])
        )
    for each in applied["scheduled"]:
        yield _("Revision {revision} will be applied at {time}.").format(
            revision=each["revision"], time=local_time(each["at"])
        )


def line_text(state: str) -> str:
    """State of a registration at a provider, in words."""
    return {
        "registered": _("registered"),
        "unregistered": _("not registered"),
        "rejected": _("rejected"),
        "stopped": _("stopped"),
    }.get(state, state)


def check_text(check: str) -> str:
    """What the doctor looked at, in words."""
    return {
        "store": _("store"),
        "host": _("host"),
        "engine root": _("engine root"),
        "engine": _("engine"),
        "applier": _("applier"),
        "supervisor": _("supervisor"),
        "clock": _("clock"),
        "disk": _("disk"),
        "keys": _("keys"),
        "ports": _("ports"),
        "history": _("history"),
        "notifications": _("notifications"),
        "sign-in": _("sign-in"),
        "hub": _("live hub"),
        "kernel": _("kernel"),
        "names": _("names"),
        "edge": _("edge"),
    }.get(check, check)


def doctor(json: Json = False) -> None:
    """Exit code 1 when something is at fault."""
    from appliance.commands.doctor import examine
    from appliance.commands.doctor_edge import examine_edge, only_edge
    from appliance.commands.findings import Finding, Grade

    paths = Paths.default()
    document = None
    findings: list[Finding] = []
    if only_edge(paths):
        findings.extend(examine_edge())
    else:
        try:
            with store() as opened:
                opened.check()
                document = opened.document()
            findings.append(Finding("store", Grade.OK, _("the document can be read")))
        except CentralinoError as error:
            findings.append(Finding("store", Grade.FAULT, error.message, error.hint))
        findings.extend(examine(paths, document))
    if json:
        print_json([{"check": f.check, "grade": f.grade, "message": f.message, "mend": f.mend} for f in findings])
    else:
        colours = {Grade.OK: "green", Grade.WARNING: "yellow", Grade.FAULT: "red"}
        words = {Grade.OK: _("ok"), Grade.WARNING: _("warning"), Grade.FAULT: _("fault")}
        width = max(map(len, words.values()))
        for found in findings:
            mend = f" [dim]→ {escape(translated(found.mend))}[/]" if found.mend else ""
            text = escape(f"{check_text(found.check)}: {translated(found.message)}")
            out.print(f"[{colours[found.grade]}]{words[found.grade]:{width}}[/] {text}{mend}")
    if any(found.grade is Grade.FAULT for found in findings):
        err.print(_("Something needs mending."))
        raise typer.Exit(1)
