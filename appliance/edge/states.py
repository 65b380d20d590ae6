"""What an edge is and does: identity and slice in one directory, written whole, switched by one link.

::

    states/
      000007/
        identity.pem   private key, certificate, intermediate: in one file, so that they always belong together; 0600
        root.crt       whom it believes
        tunnel.key     tls-crypt-v2; 0600
        slice.json     the signed slice
        trial.json     only while it has to prove itself: which state it goes back to
      current -> 000007

What happens when…

* it is killed at any moment: the former state stands or the new one, never parts of both; drafts are removed by the next writer;
* the disk is full: nothing has changed, and the draft makes room again;
* a file of the state in force is garbage: ``state_damaged``; if it is on trial, the agent goes back to the former one.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from appliance.applier.checkpoint import checkpoint
from appliance.applier.files import fsync_directory, write_new
from appliance.core.errors import CorruptError, Fault, InvalidError, RefusedError
from appliance.edge.paths import EdgePaths
from appliance.i18n import later
from appliance.vpn import files
from appliance.vpn.pki import certificates, chains
from appliance.vpn.pki.certificates import Role
from appliance.vpn.pki.requests import load_private
from appliance.vpn.pki.tls_crypt import is_client_key
from appliance.vpn.slices import Slice, opened

IDENTITY: Final = "identity.pem"
ROOT: Final = "root.crt"
TUNNEL_KEY: Final = "tunnel.key"
SLICE: Final = "slice.json"
TRIAL: Final = "trial.json"
_NAME: Final = re.compile(r"\d{6,}")


@dataclass(frozen=True, slots=True)
class Material:
    """The files of a state."""

    identity: bytes
    root: bytes
    tunnel_key: bytes
    slice: bytes

    def __repr__(self) -> str:
        return "<Material>"

    def files(self) -> dict[str, bytes]:
        """By name."""
        return {IDENTITY: self.identity, ROOT: self.root, TUNNEL_KEY: self.tunnel_key, SLICE: self.slice}


@dataclass(frozen=True, slots=True)
class Trial:
    """A state that has to prove itself.

    :param previous: name of the state that it goes back to.
    :param boot: start of the machine that ``until`` counts in.
    :param until: ms since that start; what hasn't proven itself by then is over.
    :param tries: starts of the machine within the trial.
    """

    previous: str
    boot: str
    until: int
    tries: int = 1


@dataclass(frozen=True, slots=True)
class State:
    """One state, read and found whole."""

    path: Path
    material: Material
    certificate: x509.Certificate
    root: x509.Certificate
    slice: Slice
    trial: Trial | None

    @property
    def name(self) -> str:
        """Its directory's: states are counted."""
        return self.path.name

    @property
    def site(self) -> str:
        return self.slice.site

    @property
    def identity_file(self) -> Path:
        """Key and certificates, for TLS."""
        return self.path / IDENTITY

    @property
    def root_file(self) -> Path:
        return self.path / ROOT


class States:
    """The states of one edge."""

    def __init__(self, paths: EdgePaths) -> None:
        self.paths = paths

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Nobody else, in this process or another, changes anything meanwhile."""
        with files.locked(self.paths.lock, later("the edge's lock"), 0o700):
            yield

    @property
    def name(self) -> str | None:
        """Of the state in force; None: there is none."""
        try:
            return self.paths.current.readlink().name
        except OSError:
            return None

    def current(self) -> State | None:
        """The state in force; None: this edge was never enrolled. :raises CorruptError: ``state_damaged``; ``key_exposed``."""
        name = self.name
        if name is None:
            if self._all():
                raise _damaged(later("the link to the state in force"))
            return None
        return self.read(name)

    def read(self, name: str) -> State:
        """:raises CorruptError: ``state_damaged``; ``key_exposed``."""
        path = self.paths.states / name
        found = {}
        for file in (IDENTITY, ROOT, TUNNEL_KEY, SLICE):
            what = f"the file {file} of the edge's state {name}"
            content = files.secret(path / file, what)
            if content is None:
                raise _damaged(what)
            found[file] = content
        material = Material(found[IDENTITY], found[ROOT], found[TUNNEL_KEY], found[SLICE])
        try:
            root, leaf, slice = examined(material)
        except InvalidError as error:
            what = f"the edge's state {name} ({error.message})"
            raise _damaged(what) from error
        return State(path, material, leaf, root, slice, _trial(path / TRIAL))

    def put(self, material: Material, trial: Trial | None = None) -> str:
        """Another state, in force and on the disk when this returns: its name. With the lock held.

        :raises UnavailableError: ``disk_full``, ``storage``: the former one is in force.
        """
        with files.explained(later("the edge's state")):
            self._tidy()
            name = f"{max((int(each) for each in self._all()), default=0) + 1:06d}"
            draft, path = self.paths.states / f"{name}.new", self.paths.states / name
            try:
                self._draft(draft, material, trial)
            except OSError:
                shutil.rmtree(draft, ignore_errors=True)  # room for who asks
                raise
            draft.rename(path)
            fsync_directory(self.paths.states)
            checkpoint("edge:written")
            self._switch(name)
        return name

    def confirm(self, name: str) -> None:
        """The state in force has proven itself; all others go. Idempotent. With the lock held."""
        with files.explained(later("the edge's state")):
            (self.paths.states / name / TRIAL).unlink(missing_ok=True)
            fsync_directory(self.paths.states / name)
            checkpoint("edge:confirmed")
            self._tidy()

    def roll_back(self, trial: Trial) -> None:
        """Back to the state before. With the lock held. :raises CorruptError: ``state_damaged``: it isn't whole any more; nothing changes."""
        self.read(trial.previous)
        with files.explained(later("the edge's state")):
            self._switch(trial.previous)
            checkpoint("edge:rolled-back")
            self._tidy()

    def note_trial(self, name: str, trial: Trial) -> None:
        """How far a trial is. :raises UnavailableError: ``disk_full``, ``storage``."""
        with files.explained(later("the edge's state")):
            files.put(self.paths.states / name / TRIAL, _plain(trial))

    def trial(self, name: str) -> Trial | None:
        """The trial of a state, even if that is damaged."""
        return _trial(self.paths.states / name / TRIAL)

    def _draft(self, draft: Path, material: Material, trial: Trial | None) -> None:
        draft.mkdir(mode=0o700, parents=True)
        for name, content in material.files().items():
            write_new(draft / name, content, 0o600)
        if trial is not None:
            write_new(draft / TRIAL, _plain(trial), 0o600)
        fsync_directory(draft)

    def _switch(self, name: str) -> None:
        fresh = self.paths.states / "current.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(name)
        fresh.rename(self.paths.current)
        fsync_directory(self.paths.states)
        checkpoint("edge:switched")

    def _all(self) -> list[str]:
        if not self.paths.states.is_dir():
            return []
        return sorted(path.name for path in self.paths.states.iterdir() if _NAME.fullmatch(path.name))

    def _tidy(self) -> None:
        """Only what is in force stays, and what it would go back to."""
        self.paths.states.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = self.name
        trial = self.trial(name) if name is not None else None
        kept = {"current", name, trial.previous if trial is not None else None}
        if name is None and self._all():
            return  # the link is lost: nothing is thrown away
        for path in self.paths.states.iterdir():
            if path.name not in kept:
                with contextlib.suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def examined(material: Material) -> tuple[x509.Certificate, x509.Certificate, Slice]:
    """Root, certificate and slice, if all of it belongs together; validity by the clock isn't looked at.

    :raises InvalidError: ``bad_authority``, ``bad_certificate``, ``bad_tunnel_key``, ``bad_slice`` (or what :func:`opened` raises).
    """
    try:
        root = chains.root_of(material.root)
    except ValueError as error:
        raise _refused("authority", str(error), "bad_authority") from error
    try:
        leaf = chains.leaf_of(material.identity, root, Role.BRANCH)
    except ValueError as error:
        raise _refused("certificate", str(error), "bad_certificate") from error
    key = load_private(material.identity)
    if key is None or certificates.fingerprint(key.public_key()) != certificates.fingerprint(
        certificates.public_key(leaf)
    ):
        raise _refused("certificate", "it is for another key than this edge's", "bad_certificate")
    if not is_client_key(material.tunnel_key):
        raise _refused("tunnel_key", "it is no tls-crypt-v2 key of a branch", "bad_tunnel_key")
    slice = opened(material.slice, root)
    site = certificates.site_of(certificates.name_of(leaf))
    if slice.site != site:
        raise _refused("slice", f"it is of site {slice.site!r}, and the certificate of {site!r}", "bad_slice")
    return root, leaf, slice


def nothing_pending() -> RefusedError:
    """Something came that nobody asked for."""
    return RefusedError(
        "this edge has no key that waits for a certificate", "begin the enrolment anew", error_id="no_pending_key"
    )


def _plain(trial: Trial) -> bytes:
    plain = {"previous": trial.previous, "boot": trial.boot, "until": trial.until, "tries": trial.tries}
    return json.dumps(plain).encode()


def _trial(path: Path) -> Trial | None:
    """None: it isn't on trial, or nobody knows any more what it would go back to."""
    try:
        plain: dict[str, Any] = json.loads(path.read_bytes())
        found = Trial(str(plain["previous"]), str(plain["boot"]), int(plain["until"]), int(plain["tries"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return found if _NAME.fullmatch(found.previous) else None


def _damaged(what: str) -> CorruptError:
    return CorruptError(f"{what} is missing or damaged", "enrol this edge again", error_id="state_damaged")


def _refused(field: str, message: str, error_id: str) -> InvalidError:
    hint = "it isn't taken, and what was in force stays; enrol the site again"
    return InvalidError([Fault(field, message, hint, error_id)])
