"""What runs now: processes, registrations, lines, calls, state of the configuration. Each part may be missing."""

from __future__ import annotations

import json
import re
from typing import Any

from appliance.applier.client import ApplierClient
from appliance.core.errors import CentralinoError
from appliance.engine.ami import AmiClient
from appliance.engine.place import ami_port, engine_namespace
from appliance.engine.plan import AMI_USER
from appliance.engine.processes import alive
from appliance.paths import Paths
from appliance.pbx.extensions.model import Device
from appliance.store import Store


def system_status(paths: Paths) -> dict[str, Any]:
    """The whole status as plain data. What can't be asked is empty; ``faults`` says why."""
    faults: list[str] = []
    status: dict[str, Any] = {
        "services": services(paths),
        "configuration": {"revision": 0, "state": "unknown"},
        "applied": None,
        "devices": 0,
        "registrations": [],
        "lines": [],
        "calls": [],
        "faults": faults,
    }
    for part in (_configuration, _applied, _engine):
        try:
            status |= part(paths)
        except (CentralinoError, OSError) as error:
            faults.append(str(error))
    for item in status["services"]:
        if item["pid"] is None:
            what = f"{item['name']} does not run"
            faults.append(what)
    last = (status["applied"] or {}).get("last_error")
    if last and last["error_id"] == "engine_differs":
        faults.append(last["message"])
    for name in (status["applied"] or {}).get("names", ()):
        if name["error"]:
            what = f"{name['name']} can't be looked up: {name['error']}"
            faults.append(what)
    return status


def services(paths: Paths) -> list[dict[str, Any]]:
    """Services of the supervisor with their process ids (None: not running), whatever its file says of dead ones."""
    from appliance.run.appliance import supervisor_pid

    try:
        told = json.loads((paths.state / "run" / "supervisor.json").read_text())["services"]
    except (OSError, ValueError, KeyError):
        return []
    return [
        {"name": "supervisor", "pid": supervisor_pid(paths)},
        *(
            {"name": item["name"], "pid": item["pid"] if item["pid"] and alive(item["pid"], item["started"]) else None}
            for item in told
        ),
    ]


def _configuration(paths: Paths) -> dict[str, Any]:
    with Store.default(paths) as store:
        head = store.head()
        state: dict[str, Any] = {"revision": head.number, "state": str(head.state), "message": head.message}
        return {"configuration": state, "devices": len(store.document().all(Device))}


def _applied(paths: Paths) -> dict[str, Any]:
    """What is in force and what waits, as the applier tells it."""
    told = ApplierClient(paths.applier_socket).state()
    keys = ("revision", "verified", "applying", "confirm", "scheduled", "last_error", "names")
    return {"applied": {key: told[key] for key in keys}}


def _engine(paths: Paths) -> dict[str, Any]:
    secret = paths.engine.ami_secret.read_text()
    where: dict[str, Any] = {"port": ami_port(), "network_namespace": engine_namespace()}
    with AmiClient.connect(secret, username=AMI_USER, **where) as ami:
        return {"registrations": _registrations(ami), "lines": _lines(ami), "calls": _calls(ami)}


def _registrations(ami: AmiClient) -> list[dict[str, str]]:
    """A contact's name is its AOR's with ``;@`` and a hash behind it; ours are device ids, a trunk's begin with ``trunk-``."""
    contacts = ((re.split("[;@]", item.get("ObjectName"))[0], item) for item in ami.list("PJSIPShowContacts"))
    return [
        {"device": device, "uri": item.get("Uri"), "state": item.get("Status"), "phone": item.get("UserAgent")}
        for device, item in contacts
        if not device.startswith("trunk-")
    ]


def _lines(ami: AmiClient) -> list[dict[str, str]]:
    found = ami.list("PJSIPShowRegistrationsOutbound")
    return [
        {"name": item.get("ObjectName").removeprefix("trunk-"), "state": item.get("Status").lower()}
        for item in found
        if item.event == "OutboundRegistrationDetail"
    ]


def _calls(ami: AmiClient) -> list[dict[str, str]]:
    """One entry per call: its channels share a linked id; the one with the same unique id began it."""
    return [
        {
            "caller": item.get("CallerIDNum") or item.get("Channel"),
            "called": item.get("Exten") or item.get("ConnectedLineNum"),
            "seconds": str(_seconds(item.get("Duration"))),
            "state": item.get("ChannelStateDesc"),
        }
        for item in ami.channels()
        if item.get("Uniqueid") == item.get("Linkedid")
    ]


def _seconds(clock: str) -> int:
    """Seconds of a duration that the engine writes as ``HH:MM:SS``."""
    total = 0
    for part in clock.split(":"):
        total = total * 60 + (int(part) if part.isdigit() else 0)
    return total
