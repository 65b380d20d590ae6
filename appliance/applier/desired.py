"""Document → every file of the engine's configuration, with the facts of this installation."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.applier.files import write_new
from appliance.applier.keyfile import KeyFile
from appliance.applier.link import Settings
from appliance.applier.plan import FIREWALL, TUNING, Files
from appliance.core.asterisk import ConfFile
from appliance.core.document import Document
from appliance.core.errors import CorruptError, Fault, UnavailableError
from appliance.engine.plan import TLS_DIR, EngineParams, WebSocketServer, static_files
from appliance.failover import plan as failover
from appliance.firewall.machine import this_machine
from appliance.firewall.promise import promise
from appliance.firewall.rules import script
from appliance.firewall.tuning import settings, text
from appliance.names.keeper import Names, asker
from appliance.organisation.model import Secret
from appliance.paths import Paths
from appliance.pbx.context import TOKEN_LENGTH, Installation
from appliance.pbx.media.doors import by_the_gate
from appliance.pbx.media.plan import browsers_voice, listeners, web_server
from appliance.pbx.plan import desired
from appliance.pbx.trunks.plan import unwritable
from appliance.pbx.trunks.verify import ambiguous_by_name
from appliance.turn import plan as turn
from appliance.vpn import configured, layout
from appliance.vpn.plan import daemons
from appliance.vpn.slices import plan as slices

_TOKEN_MIN: Final = 8
_ONE_AT_A_TIME: Final = threading.Lock()
"""Features keep what they made in their modules: a plan and an apply at once would take it from under each other."""


class Desired:
    """Makes the files. Secrets that didn't change are opened once; features keep what they made of unchanged objects."""

    def __init__(self, paths: Paths, settings: Settings, key: KeyFile) -> None:
        self._paths = paths
        self._settings = settings
        self.key = key
        self.names = Names(paths.names, asker(paths.engine.top / "resolv.conf", settings.network_namespace))
        self._token = transport_token(paths.state / "keys" / "transport.token")
        self._opened: dict[str, tuple[Secret, str | None]] = {}
        self._static: tuple[EngineParams, dict[str, str]] | None = None

    def files(self, document: Document) -> Files:
        """Every file by name. A secret that the key doesn't open counts as one without a value: see :meth:`faults`.

        :raises UnavailableError: the engine's own secret isn't there yet.
        """
        with _ONE_AT_A_TIME:
            names = self.names.resolved()
            installation = Installation(
                self._token, self._secrets(document), self._certificates(), self._authorities(), names=names
            )
            files: dict[str, ConfFile | str] = {
                **self._own_files(
                    web_server(document, installation),
                    gate=any(map(by_the_gate, listeners(document))),
                    voice=browsers_voice(document),
                ),
                **desired(document, installation),
            }
            if self._settings.firewall:
                known = {key: each.sources for key, each in names.items()}
                machine = this_machine(known)
                promised = promise(document, machine)
                files |= {FIREWALL: script(promised), TUNING: text(settings(document, promised, machine))}
            if self._settings.vpn:
                here = layout.installation(self._paths.vpn)
                files |= {
                    **configured.files(daemons(document, here)),
                    **slices.files(document, here.cores),
                    **failover.files(document, here.cores),
                }
            if self._settings.turn:
                files |= turn.files(document)
            return files

    def secrets(self, document: Document) -> dict[str, str]:
        """Secret id → clear text, of those that have a value that can be opened."""
        with _ONE_AT_A_TIME:
            return self._secrets(document)

    def unreadable(self, document: Document) -> list[str]:
        """Ids of secrets whose value can't be opened."""
        clear = self.secrets(document)
        return [id for id, secret in document.all(Secret).items() if secret.value is not None and id not in clear]

    def faults(self, document: Document) -> Iterator[Fault]:
        """What is wrong with the document on this machine: certificates that aren't here, secrets that can't be opened.

        Secrets are a warning when the key is in order (it is another one: they must be set again); as long as there
        is no key at all, nothing is applied, or every phone would lose its password over a file left out of a backup.
        """
        there, authorities = self._certificates(), self._authorities()
        for listener in listeners(document):
            name = listener.certificate
            if name is not None and name not in there:
                hint = f"there are {', '.join(sorted(there))}" if there else f"put {name}.crt and {name}.key there"
                yield Fault(listener.path("certificate"), f"is not in {self._paths.engine.tls}", hint, "certificate")
            if listener.authority is not None and listener.authority not in authorities:
                missing = f"there is no file {listener.authority}.ca in {self._paths.engine.tls}"
                hint = "put the CA certificates there (PEM), readable by everybody"
                yield Fault(listener.path("authority"), missing, hint, "authority_missing")
        yield from unwritable(document, self.secrets(document))
        yield from ambiguous_by_name(document, self.names.resolved())
        lost = self.unreadable(document)
        problem = self.key.problem
        if lost and problem is not None:
            yield Fault(f"secret/{lost[0]}/value", f"can't be opened: {problem.message}", problem.hint, "bad_key")
        elif lost:
            for id in lost:
                hint = f"restore the key file it was sealed under, or centralino secret set {id}"
                yield Fault(f"secret/{id}/value", "can't be opened with the key there is", hint, "bad_key", "warning")

    def _own_files(self, web: WebSocketServer | None, *, gate: bool, voice: tuple[str, ...]) -> dict[str, str]:
        try:
            secret = self._paths.engine.ami_secret.read_text()
        except OSError as error:
            raise UnavailableError(
                "the engine was never started here", "start it: make run", error_id="engine_absent"
            ) from error
        params = EngineParams(secret, ami_port=self._settings.port, web=web, gate=gate, voice=voice)
        if self._static is None or self._static[0] != params:
            self._static = params, static_files(params)
        return self._static[1]

    def _secrets(self, document: Document) -> dict[str, str]:
        if self.key.look():
            self._opened = {}
        opened: dict[str, tuple[Secret, str | None]] = {}
        for id, secret in document.all(Secret).items():
            if secret.value is not None:
                known = self._opened.get(id)
                same = known is not None and (known[0] is secret or known[0] == secret)
                opened[id] = known if same and known else (secret, self._open(id, secret.value))
        self._opened = opened
        return {id: clear for id, (_, clear) in opened.items() if clear is not None}

    def _open(self, id: str, sealed: str) -> str | None:
        try:
            return self.key.open(id, sealed)
        except CorruptError:
            return None

    def _certificates(self) -> dict[str, tuple[str, str]]:
        """Certificates that lie ready for the engine: ``NAME.crt`` with ``NAME.key``."""
        found = {}
        for path in sorted(self._paths.engine.tls.glob("*.crt")):
            if path.with_suffix(".key").exists():
                found[path.stem] = (f"{TLS_DIR}/{path.name}", f"{TLS_DIR}/{path.stem}.key")
        return found

    def _authorities(self) -> dict[str, str]:
        """CA certificates that lie ready for the engine: ``NAME.ca``."""
        return {path.stem: f"{TLS_DIR}/{path.name}" for path in sorted(self._paths.engine.tls.glob("*.ca"))}


def transport_token(path: Path) -> str:
    """This installation's token, made on first use: lower-case letters and digits. Mode 0600.

    :raises CorruptError: the file is there and holds no token.
    """
    try:
        token = path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = path.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        write_new(unfinished, secrets.token_hex(TOKEN_LENGTH // 2).encode(), 0o600)
        unfinished.rename(path)
        token = path.read_text()
    if len(token) < _TOKEN_MIN or not token.isalnum():
        raise CorruptError(
            f"{path.name} holds no token",
            "restore it from a backup, or remove it: phones keep working",
            error_id="token",
        )
    return token
