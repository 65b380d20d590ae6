"""A real LDAP server (OpenLDAP's slapd) with some people and groups, on loopback, with TLS."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hil.agents.authority import Authority
from tests.hil.agents.process import Child, eventually

SLAPD = Path("/usr/sbin/slapd")
INSTALL = "apt-get install slapd"
BASE = "dc=example,dc=com"
PEOPLE = f"ou=people,{BASE}"
READER, READER_PASSWORD = f"cn=reader,{BASE}", "reads people, nothing else"
STAFF, BOSSES, EMPTY = (f"cn={name},ou=groups,{BASE}" for name in ("staff", "bosses", "empty"))

ENTRIES = [
    (BASE, {"objectClass": ["dcObject", "organization"], "dc": "example", "o": "Example"}),
    (PEOPLE, {"objectClass": "organizationalUnit", "ou": "people"}),
    (f"ou=groups,{BASE}", {"objectClass": "organizationalUnit", "ou": "groups"}),
    (READER, {"objectClass": ["organizationalRole", "simpleSecurityObject"], "userPassword": READER_PASSWORD}),
]


def person(uid: str, name: str, mail: str | list[str], password: str) -> tuple[str, dict[str, str | list[str]]]:
    """Somebody's entry."""
    fields: dict[str, str | list[str]] = {"objectClass": "inetOrgPerson", "uid": uid, "cn": name, "sn": name}
    return f"uid={escaped(uid)},{PEOPLE}", {**fields, "mail": mail, "userPassword": password}


def group(dn: str, *members: str) -> tuple[str, dict[str, str | list[str]]]:
    return dn, {"objectClass": "groupOfNames", "member": list(members)}


def escaped(value: str) -> str:
    """A value as it stands in a DN (RFC 4514)."""
    return "".join(f"\\{char}" if char in ',+"\\<>;=#' else char for char in value)


@dataclass(frozen=True)
class Slapd:
    """A running server. ``port`` speaks STARTTLS, ``tls_port`` LDAPS. ``log`` has each operation."""

    port: int
    tls_port: int
    authority: Authority
    child: Child

    def searches(self) -> str:
        """What it was asked, as it logs it."""
        return self.child.text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def slapd(top: Path, people: list[tuple[str, dict[str, str | list[str]]]], *hosts: str) -> Iterator[Slapd]:
    """Start one, stop it at the end.

    :param hosts: names in its certificate; ``localhost`` and 127.0.0.1 without any.
    """
    if not SLAPD.exists():
        pytest.fail(f"no slapd: {INSTALL}")
    top.mkdir(parents=True, exist_ok=True)
    # Where AppArmor is in force, Debian's profile keeps the program under its own name away from a test's directory.
    program = Path(shutil.copy(SLAPD, top / "slapd-of-the-test"))
    authority = Authority("Directory authority")
    certificate, key = authority.issue(top / "tls", *(hosts or ("localhost", "127.0.0.1")))
    (top / "ca.pem").write_text(authority.pem)
    (top / "data").mkdir(exist_ok=True)
    (top / "slapd.conf").write_text(
        f"""include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {top}/slapd.pid
argsfile {top}/slapd.args
TLSCACertificateFile {top}/ca.pem
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
allow bind_anon_cred bind_anon_dn
loglevel stats
database mdb
suffix "{BASE}"
directory {top}/data
maxsize 33554432
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{READER}" read by * none
"""
    )
    (top / "data.ldif").write_text("\n".join(map(_ldif, [*ENTRIES, *people])))
    subprocess.run(
        [program, "-T", "add", "-q", "-f", top / "slapd.conf", "-l", top / "data.ldif"], check=True, capture_output=True
    )
    port, tls_port = free_port(), free_port()
    urls = f"ldap://127.0.0.1:{port}/ ldaps://127.0.0.1:{tls_port}/"
    log = top / "slapd.log"
    with Child([str(program), "-d", "stats", "-h", urls, "-f", str(top / "slapd.conf")], log) as child:

        def up() -> bool:
            assert child.running, child.text()
            with socket.socket() as probe:
                probe.settimeout(1)
                return probe.connect_ex(("127.0.0.1", tls_port)) == 0

        eventually(up, "slapd answers")
        yield Slapd(port, tls_port, authority, child)


def _ldif(entry: tuple[str, dict[str, str | list[str]]]) -> str:
    import base64

    def line(name: str, value: str) -> str:
        return f"{name}:: {base64.b64encode(value.encode()).decode()}"

    dn, fields = entry
    lines = [line("dn", dn)]
    for name, values in fields.items():
        lines += [line(name, value) for value in ([values] if isinstance(values, str) else values)]
    return "\n".join(lines) + "\n"
