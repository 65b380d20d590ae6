"""Who an edge is: a key of its own, made here and never sent anywhere, and what the centre granted for it.

    identity = Identity(paths)
    request = identity.prepare()                     # the CSR, PEM; the same key until something is installed
    …the centre answers…
    identity.install(certificate, authority, tunnel_key, slice)

What happens when it is killed between two steps: the key that waits stays, and gives the same request; what was installed is
installed whole (see :mod:`appliance.edge.states`), and the key that waited is dropped by the next call.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from appliance.applier.checkpoint import checkpoint
from appliance.core.errors import CentralinoError
from appliance.edge.paths import EdgePaths
from appliance.edge.states import Material, State, States, Trial, examined, nothing_pending
from appliance.i18n import later
from appliance.vpn import files
from appliance.vpn.pki import certificates, chains
from appliance.vpn.pki.certificates import PrivateKey
from appliance.vpn.pki.requests import load_private

ENROLMENT: Final = "enrolment"
RENEWAL: Final = "renewal"


class Identity:
    """The identity of one edge. Every method takes its turn with all other processes."""

    def __init__(self, paths: EdgePaths) -> None:
        self.states = States(paths)
        self._paths = paths

    @property
    def current(self) -> State | None:
        """What is in force; None: this edge was never enrolled. :raises CorruptError: ``state_damaged``."""
        return self.states.current()

    def prepare(self, purpose: str = ENROLMENT) -> bytes:
        """A certificate signing request (PKCS #10, PEM) for a key of its own: P-384, kept at mode 0600 until it is installed.

        :raises UnavailableError: ``disk_full``, ``storage``; :raises CorruptError: ``key_exposed``: others could read the key.
        """
        with self.states.lock():
            key = self._pending(purpose)
            if key is None:
                key = certificates.new_key()
                with files.explained(later("the edge's key")):
                    self._paths.pending.mkdir(mode=0o700, parents=True, exist_ok=True)
                    files.put(self._file(purpose), certificates.key_pem(key))
                checkpoint("edge:prepared")
        made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA384())
        return made.public_bytes(serialization.Encoding.PEM)

    def abandon(self, purpose: str = ENROLMENT) -> None:
        """Forget the key that waits: the centre refused it (``key_reused``), so the next request is for another."""
        with self.states.lock(), files.explained(later("the edge's key")):
            self._file(purpose).unlink(missing_ok=True)

    def install(self, certificate: bytes, authority: bytes, tunnel_key: bytes, slice: bytes) -> State:
        """Put in force what the centre granted for the key that waits, in the place of all that was.

        :param certificate: the certificate and the intermediate's, PEM.
        :param authority: the root's, PEM. Whether it is the right one, whoever calls has found out.
        :param tunnel_key: tls-crypt-v2, PEM.
        :param slice: the signed slice.
        :raises RefusedError: ``no_pending_key``.
        :raises InvalidError: ``bad_authority``, ``bad_certificate``, ``bad_tunnel_key``, ``bad_slice``, ``bad_signature``, ``slice_format``.
        :raises UnavailableError: ``disk_full``, ``storage``. In every case the former identity stands.
        """
        with self.states.lock():
            return self._install(ENROLMENT, certificate, authority, tunnel_key, slice, None)

    def renewed(self, certificate: bytes, tunnel_key: bytes, trial: Trial) -> State:
        """Put a renewed certificate on trial, for the key that waits for it; root and slice stay. Raises as :meth:`install`."""
        with self.states.lock():
            now = self.states.current()
            if now is None:
                raise nothing_pending()
            return self._install(RENEWAL, certificate, now.material.root, tunnel_key, now.material.slice, trial)

    def _install(
        self, purpose: str, certificate: bytes, authority: bytes, tunnel_key: bytes, slice: bytes, trial: Trial | None
    ) -> State:  # fmt: skip
        key = self._pending(purpose)
        if key is None:
            raise nothing_pending()
        identity = certificates.key_pem(key) + b"".join(certificates.pem(each) for each in _certificates(certificate))
        material = Material(identity, authority, tunnel_key, slice)
        examined(material)
        name = self.states.put(material, trial)
        checkpoint("edge:installed")
        with files.explained(later("the edge's key")):
            self._file(purpose).unlink(missing_ok=True)
        if trial is None:
            self.states.confirm(name)
        return self.states.read(name)

    def _pending(self, purpose: str) -> PrivateKey | None:
        """The key that waits; one that is damaged, or was installed before somebody could drop it, is dropped now."""
        content = files.secret(self._file(purpose), later("the edge's key that waits"))
        if content is None:
            return None
        key = load_private(content)
        if key is None or certificates.fingerprint(key.public_key()) in self._installed():
            self._file(purpose).unlink(missing_ok=True)
            return None
        return key

    def _installed(self) -> set[str]:
        """Fingerprint of the key in force, if there is one that can be read."""
        try:
            now = self.states.current()
        except CentralinoError:
            return set()
        return set() if now is None else {certificates.fingerprint(certificates.public_key(now.certificate))}

    def _file(self, purpose: str) -> Path:
        return self._paths.pending / f"{purpose}.key"


def _certificates(chain: bytes) -> list[x509.Certificate]:
    """Of the chain, without anything else that stands in it; what can't be read is told by who examines it."""
    try:
        return chains.read(chain)
    except ValueError:
        return []
