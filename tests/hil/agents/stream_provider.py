"""A provider on TCP or TLS, to which the engine connects, and certificates for it."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import re
import secrets
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pylibsrtp import Policy, Session
from sipmessage import Request, Response

from tests.hil.agents.network import Host
from tests.hil.agents.peer import Provider, split_stream


class StreamProvider(Provider):
    """As `Provider`, over connections. ``refused`` holds why TLS handshakes failed; ``handshakes`` counts all."""

    def __init__(
        self, host: Host, accounts: dict[str, str], *, context: ssl.SSLContext | None = None, port: int = 5061
    ) -> None:
        super().__init__(host, accounts, port=port)
        self.transport = "tls" if context else "tcp"
        self._context = context
        self._srtp: tuple[Session, Session] | None = None
        self.handshakes = 0
        self.refused: list[str] = []

    def __enter__(self) -> Self:
        self._server = self.host.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server.bind((self.host.address, self._local_port))
        self._server.listen()
        self._server.settimeout(0.2)
        self.address, self.port = self.host.address, self._local_port
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        for thread in self._threads:
            thread.join(5)
        for echo in self._echo:
            echo.join(3)
        self._server.close()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            if self._context:
                self.handshakes += 1
                try:
                    connection = self._context.wrap_socket(connection, server_side=True)
                except OSError as error:
                    self.refused.append(str(error))
                    return
            with connection:
                connection.settimeout(0.2)
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        buffer = b""
        while not self._stopping:
            try:
                data = connection.recv(65535)
            except TimeoutError:
                continue
            except OSError as error:
                self.refused.append(str(error))
                return
            if not data:
                return
            buffer += data
            self._socket = connection
            while True:
                message, buffer = split_stream(buffer)
                if message is None:
                    break
                self._take(message, None)

    def send_raw(self, data: bytes, to: tuple[str, int] | None = None) -> None:  # noqa: ARG002 (connections know)
        self._socket.sendall(data)

    def _invite(self, request: Request) -> Response | None:
        """Where the offer has SDES keys, the answer has too."""
        found = re.search(rb"^a=crypto:(\d+) AES_CM_128_HMAC_SHA1_80 inline:([\w+/=]+)", request.body, re.M)
        own = secrets.token_bytes(30)
        self._srtp = None
        if found:
            theirs = Policy(key=base64.b64decode(found[2]), ssrc_type=Policy.SSRC_ANY_INBOUND)
            self._srtp = Session(theirs), Session(Policy(key=own, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        response = super()._invite(request)
        if found and response is not None and response.body:
            line = b"a=crypto:%b AES_CM_128_HMAC_SHA1_80 inline:%b\r\n" % (found[1], base64.b64encode(own))
            response.body = response.body.replace(b"RTP/AVP", b"RTP/SAVP") + line
        return response

    def _sent_back(self, data: bytes) -> bytes:
        if self._srtp is None:
            return data
        theirs, own = self._srtp
        plain = theirs.unprotect(data)
        return own.protect(plain[:8] + b"back" + plain[12:])  # a source (SSRC) of its own: keys are used once


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        self.certificate = self._builder(self._name, self._key).add_extension(basic, critical=True).sign(
            self._key, hashes.SHA256()
        )  # fmt: skip

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, folder: Path, host: str) -> ssl.SSLContext:
        """The context of a server that has a certificate for an address."""
        folder.mkdir(parents=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        signed = self._builder(subject, key).add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        file = folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context
