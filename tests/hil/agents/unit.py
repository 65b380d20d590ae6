"""A service's unit without systemd: a process with just what the unit leaves it, on a host of the test network.

    argv = confined(text, work, writable=(work / "state",))
    child = host.start([*argv, "centralino", "edge", "run"], work / "edge.log")

User, capabilities, ``NoNewPrivileges``, the system call filter, ``MemoryDenyWriteExecute``, a read-only file system, ``/tmp`` of its own, ``/proc`` that
hides others' processes, and the devices of ``DeviceAllow`` are as in systemd.exec(5). The user needn't be there: the process sees a password file that knows it.
Not enforced: address families, namespaces, control groups.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from appliance.console.technician.unit import USER as CONSOLE
from appliance.edge.owner import USER as EDGE
from appliance.paths import CHECKOUT
from tests.hil.agents.network import command

UID = 45_070
"""Of the edge's user, and its group."""
CONSOLE_UID = 45_072
"""Of the technician's console's."""
IDS = {EDGE: UID, CONSOLE: CONSOLE_UID}
DEVICES = {"/dev/net/tun": (10, 200)}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
SCMP_ACT_ALLOW, SCMP_ACT_EPERM = 0x7FFF0000, 0x00050001


def settings(unit: str) -> dict[str, list[str]]:
    """Each setting's values, line by line."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"(?m)^(\w+)=(.*)$", unit):
        found.setdefault(name, []).append(value)
    return found


@contextlib.contextmanager
def confined(unit: str, work: Path, *, writable: Sequence[Path]) -> Iterator[list[str]]:
    """What goes before a command line; ``work``: a directory that anybody may enter."""
    found = settings(unit)
    user = found.get("User", ["root"])[0]
    proc = work / f"proc-{user}"
    proc.mkdir()
    command(["mount", "-t", "proc", "-o", "hidepid=invisible", "proc", str(proc)])
    try:
        argv = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", *known_user(user, work)]
        if "PrivateTmp" in found:
            argv += ["--perms", "1777", "--tmpfs", "/tmp", "--ro-bind", str(work), str(work)]
        argv += installed()
        argv += ["--bind" if "ProtectKernelTunables" not in found else "--ro-bind", str(proc), "/proc"]
        for device in (each.split()[0] for each in found.get("DeviceAllow", [])):
            argv += [
                "--perms",
                "0755",
                "--dir",
                str(Path(device).parent),
                "--dev-bind",
                str(_node(work, device)),
                device,
            ]
        for place in writable:
            argv += ["--bind", str(place), str(place)]
        argv += ["--cap-add", "ALL", "--", "setpriv", "--no-new-privs"]
        if user != "root":
            groups = [str(IDS[name]) for name in _values(found, "SupplementaryGroups")]
            argv += [f"--reuid={IDS[user]}", f"--regid={IDS[user]}"]
            argv += [f"--groups={','.join(groups)}" if groups else "--clear-groups"]
        ambient, bounding = (_words(found, name) for name in ("AmbientCapabilities", "CapabilityBoundingSet"))
        argv += [f"--inh-caps=-all{ambient}", f"--ambient-caps=-all{ambient}", f"--bounding-set=-all{bounding}", "--"]
        yield [*argv, sys.executable, "-m", __name__, _filter(found, work), str("MemoryDenyWriteExecute" in found)]
    finally:
        command(["umount", "--lazy", str(proc)])


def installed() -> list[str]:
    """For bubblewrap: the program where it is, as if it were installed for everybody, though it lie in somebody's home or in ``/tmp``."""
    closed = [parent for parent in reversed(CHECKOUT.parents) if not parent.stat().st_mode & stat.S_IXOTH]
    opened = ["--perms", "0755", "--tmpfs", str(closed[0])] if closed else []
    return [*opened, "--ro-bind", str(CHECKOUT), str(CHECKOUT)]


def known_user(user: str, work: Path) -> list[str]:
    """For bubblewrap: files that say who that user is."""
    made = []
    lines = {
        "passwd": [f"{each}:x:{id}:{id}::/:/usr/sbin/nologin\n" for each, id in IDS.items()],
        "group": [f"{each}:x:{id}:\n" for each, id in IDS.items()],
    }
    for name, more in lines.items():
        if user != "root":
            (work / name).write_text(Path("/etc", name).read_text() + "".join(more))
            (work / name).chmod(0o644)
            made += ["--ro-bind", str(work / name), f"/etc/{name}"]
    return made


def _values(found: dict[str, list[str]], name: str) -> list[str]:
    return " ".join(found.get(name, [])).split()


def _words(found: dict[str, list[str]], name: str) -> str:
    words = _values(found, name)
    return "".join(f",+{each.removeprefix('CAP_').lower()}" for each in words)


def _node(work: Path, device: str) -> Path:
    path = work / device.replace("/", "-").strip("-")
    if not path.exists():
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(*DEVICES[device]))
        path.chmod(0o666)
    return path


def _filter(found: dict[str, list[str]], work: Path) -> str:
    """A file with the unit's system call filter, as the kernel takes it (libseccomp)."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(SCMP_ACT_EPERM)))
    for name in allowed(found.get("SystemCallFilter", [])):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # others are of other machines
            assert not library.seccomp_rule_add(context, ctypes.c_uint32(SCMP_ACT_ALLOW), ctypes.c_int(number), 0)
    path = work / f"filter-{found.get('User', ['root'])[0]}.bpf"
    with path.open("wb") as file:
        assert not library.seccomp_export_bpf(context, file.fileno())
    library.seccomp_release(context)
    path.chmod(0o644)
    return str(path)


def allowed(lines: Sequence[str]) -> set[str]:
    """Names of system calls: a line adds, one that begins with ``~`` takes away."""
    names: set[str] = set()
    for line in lines:
        found = {name for word in line.removeprefix("~").split() for name in _members(word)}
        names = names - found if line.startswith("~") else names | found
    return names


@cache
def _members(word: str) -> frozenset[str]:
    if not word.startswith("@"):
        return frozenset((word,))
    done = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True)
    listed = (line.strip() for line in done.stdout.splitlines()[1:])
    return frozenset(name for each in listed if each and not each.startswith("#") for name in _members(each))


def main(filter: str, no_writable_code: str, argv: list[str]) -> None:
    """The last step: what no wrapper can do, then the service."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = Path(filter).read_bytes()
    if no_writable_code == "True" and libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_MDWE")

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

    program = Program(len(code) // 8, code)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP")
    os.execvp(argv[0], argv)  # noqa: S606 (no shell is what we want)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
