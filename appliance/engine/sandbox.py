"""How the engine is confined: the bubblewrap command line and the systemd unit, from one description (pure).

Both give the same view: the root read-only, its own /dev, /proc and /tmp, and the directories of :data:`MOUNTS`.
The network stays the caller's: the engine must reach the phones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

HOST_NAME: Final = "centralino"
ROOT_SERVERS: Final = tuple(f"{letter}.ROOT-SERVERS.NET" for letter in "ABCDEFGHIJKLM")
CONFIG_FILE: Final = "/etc/asterisk/current/asterisk.conf"
PROGRAM: Final = "/usr/sbin/asterisk"
ALLOCATOR: Final = {"LD_PRELOAD": "libjemalloc.so.2", "MALLOC_CONF": "narenas:4,dirty_decay_ms:1000"}
"""glibc's allocator keeps what a busy hour took; this one gives it back within a minute (docs/decisions/0017)."""


@dataclass(frozen=True, slots=True)
class Mount:
    """``source`` on the host appears at ``target`` in the sandbox."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Everything that confines one engine. Paths are the host's, as text.

    :param root: the engine root.
    :param mounts: in order; a later one may lie below an earlier one.
    :param drop_to: uid and gid that the engine takes on when it is started by root; ``None``: it is started by an
        ordinary user and stays that user.
    :param die_with_parent: the engine ends when the thread that started it does. False in production: calls go on
        when every other process is dead.
    """

    root: str
    mounts: tuple[Mount, ...]
    drop_to: tuple[int, int] | None
    die_with_parent: bool = True
    network_namespace: str | None = None
    extra_arguments: tuple[str, ...] = field(default_factory=tuple)


def hosts_text(host_names: Sequence[str] = ()) -> str:
    """The engine's /etc/hosts.

    It holds what Asterisk resolves while it sets up a call: the machine's own name, and the root servers (its
    resolver asks for ``A.ROOT-SERVERS.NET``). With DNS away these would stall every call.
    """
    mine = " ".join(dict.fromkeys(("localhost", HOST_NAME, *host_names)))
    roots = " ".join(ROOT_SERVERS)
    return f"127.0.0.1 {mine}\n::1 {mine}\n127.0.0.1 {roots}\n"


def command(sandbox: Sandbox) -> list[str]:
    """The command line of the confined engine, run in the foreground.

    Started by root, bubblewrap keeps just what ``setpriv`` needs to become the engine's user; after that no
    capability is left and none can be gained. Started by a user, a user namespace gives bubblewrap its rights.
    """
    argv = ["ip", "netns", "exec", sandbox.network_namespace] if sandbox.network_namespace else []
    argv += ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    argv += ["--hostname", HOST_NAME, "--new-session", "--clearenv"]
    argv += ["--setenv", "PATH", "/usr/sbin:/usr/bin", "--setenv", "LANG", "C.UTF-8", "--setenv", "HOME", "/tmp"]  # noqa: S108
    for name, value in ALLOCATOR.items():
        argv += ["--setenv", name, value]
    if sandbox.die_with_parent:
        argv.append("--die-with-parent")
    argv += ["--ro-bind", sandbox.root, "/", "--dev", "/dev", "--proc", "/proc"]
    argv += ["--perms", "1777", "--tmpfs", "/tmp", "--tmpfs", "/run"]  # noqa: S108
    for mount in sandbox.mounts:
        argv += ["--bind" if mount.writable else "--ro-bind", mount.source, mount.target]
    argv += ["--chdir", "/", "--cap-drop", "ALL"]
    if sandbox.drop_to:
        uid, gid = sandbox.drop_to
        argv += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP", "--"]
        argv += ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
        argv += ["--inh-caps=-all", "--bounding-set=-all"]
    argv += ["--", PROGRAM, "-f", "-C", CONFIG_FILE, *sandbox.extra_arguments]
    return argv


def systemd_unit(sandbox: Sandbox, *, user: str = "centralino-engine", image: str | None = None) -> str:
    """The unit of the image: the same confinement, by systemd.

    :param image: a file system image to use instead of the directory ``sandbox.root``.
    """
    root = f"RootImage={image}" if image else f"RootDirectory={sandbox.root}"
    binds = [
        f"{'BindPaths' if mount.writable else 'BindReadOnlyPaths'}={mount.source}:{mount.target}:norbind"
        for mount in sandbox.mounts
    ]
    environment = [f"Environment={name}={value}" for name, value in ALLOCATOR.items()]
    head = _UNIT_HEAD.format(program=PROGRAM, config=CONFIG_FILE, user=user)
    return "\n".join([head, *environment, root, *binds, _UNIT_TAIL])


_UNIT_HEAD: Final = """\
[Unit]
Description=Centralino PBX engine (Asterisk)
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={program} -f -C {config}
# No ExecStop: SIGTERM makes Asterisk end its calls and leave.
TimeoutStopSec=15
Restart=always
RestartSec=500ms
User={user}
Group={user}
UMask=0027
LimitNOFILE=65536
OOMScoreAdjust=-800
Nice=-10
MountAPIVFS=yes"""

_UNIT_TAIL: Final = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
PrivateMounts=yes
PrivateUsers=yes
DevicePolicy=closed
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @mount @debug @cpu-emulation @obsolete
SystemCallFilter=setpriority sched_setscheduler chown
SystemCallErrorNumber=EPERM
IPAccounting=yes

[Install]
WantedBy=multi-user.target
"""
