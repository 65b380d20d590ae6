"""``centralino edge console`` and ``code``: the technician's console of this edge, and what opens it."""

from __future__ import annotations

import hashlib
import os
import pwd
import ssl
import sys
from pathlib import Path
from typing import Annotated

import typer

from appliance.commands.common import out
from appliance.core.errors import Fault, InvalidError
from appliance.i18n import _


def console(
    listen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help=_("Where to listen; else at this machine's addresses in the branch's network, and at 169.254.1.1"),
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help=_("TCP port"))] = 8443,
) -> None:
    """Until SIGTERM or Ctrl-C. With HTTPS; who signs in has the technician's code."""
    import ipaddress

    from appliance.console.technician.paths import ConsolePaths
    from appliance.console.technician.serving import looked, wanted
    from appliance.edge.asking import Edge
    from appliance.edge.paths import EdgePaths
    from appliance.run.certificate import ensure_certificate
    from appliance.vpn.files import explained

    for each in listen or ():
        try:
            ipaddress.ip_address(each)
        except ValueError as error:
            raise InvalidError(
                [Fault("--listen", f"{each!r} is no address", "--listen 192.0.2.1", "address")]
            ) from error
    places = tuple(listen or looked(Edge(EdgePaths.default().orders)) or wanted({}, ()))
    paths = ConsolePaths.default()
    with explained("the console's certificate"):
        _make(paths.top)
        ensure_certificate(paths.top, "console", places)
    words = [*places, "--port", str(port), *(() if listen else ("--watch",))]
    # From here on another program: what a command needs besides would be a third of its memory.
    os.execv(sys.executable, [sys.executable, "-m", "appliance.console.technician", *words])  # noqa: S606


def code() -> None:
    """It is shown this once, and the former opens nothing any more."""
    from appliance.console.technician.door import new_code
    from appliance.console.technician.paths import ConsolePaths
    from appliance.vpn.files import explained

    paths = ConsolePaths.default()
    with explained("the technician's code"):
        _make(paths.top)
    made = new_code(paths.code)
    out.print(_("Technician's code of this edge: {code}").format(code=made))
    out.print(_("Write it down: it isn't shown again. It opens https://169.254.1.1:8443/ on the branch's own network."))
    if paths.certificate.exists():
        der = ssl.PEM_cert_to_DER_cert(paths.certificate.read_text())
        digest = hashlib.sha256(der).hexdigest().upper()
        pairs = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
        out.print(_("Fingerprint of its certificate (SHA-256): {fingerprint}").format(fingerprint=pairs))


def _make(top: Path) -> None:
    """The console's directory; the service's user's, where there is one."""
    from appliance.console.technician.unit import USER

    if top.is_dir():
        return
    top.mkdir(mode=0o700, parents=True)
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam(USER)
        except KeyError:
            return
        os.chown(top, user.pw_uid, user.pw_gid)
