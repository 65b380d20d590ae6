"""From what mmdebstrap unpacked to the root that is kept: only named files, the libraries they link, a skeleton."""

from __future__ import annotations

import fnmatch
import hashlib
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from appliance.core.errors import CorruptError
from appliance.engine.definition import Definition
from appliance.engine.elf import closure

ENGINE_UID = ENGINE_GID = 45060
"""The engine's user and group when it is started by root: outside every range that Debian hands out by itself."""

MOUNT_POINTS = (
    "dev", "proc", "sys", "run", "tmp", "etc/asterisk", "etc/asterisk-tls",
    "var/lib/asterisk", "var/spool/asterisk", "var/spool/asterisk-cel", "var/log/asterisk",
)  # fmt: skip
"""Empty directories that the launcher mounts over."""

_ACCOUNTS = {
    "etc/passwd": f"root:x:0:0:root:/nonexistent:/nonexistent\nasterisk:x:{ENGINE_UID}:{ENGINE_GID}::/var/lib/asterisk:/nonexistent\n",
    "etc/group": f"root:x:0:\nasterisk:x:{ENGINE_GID}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/resolv.conf": "",
    "etc/hostname": "centralino\n",
    "etc/machine-id": "",
    "etc/localtime": "",
}
_CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
_SOUNDS = Path("usr/share/asterisk/sounds")


def trim(root: Path, definition: Definition) -> None:
    """Delete from ``root`` all that the definition doesn't keep; add the skeleton.

    :raises CorruptError: a pattern of ``[keep]`` matches nothing: the packages changed, the definition must follow.
    """
    wanted = kept_files(root, definition)
    for file in sorted(_walk(root), reverse=True):
        if file.is_dir() and not file.is_symlink():
            if not any(file.iterdir()):
                file.rmdir()
        elif file not in wanted:
            file.unlink()
    _skeleton(root)


def kept_files(root: Path, definition: Definition) -> set[Path]:
    """Files and links that stay: what ``[keep]`` names less what ``[drop]`` names, and the libraries these link."""
    everything = {str(file.relative_to(root)): file for file in _walk(root) if file.is_symlink() or not file.is_dir()}
    kept: set[Path] = set()
    for pattern in definition.keep:
        matches = _matching(pattern, everything)
        if not matches:
            raise CorruptError(
                f"no file of the engine's packages matches {pattern!r}",
                "the packages changed: mend [keep] in the engine root's definition",
                error_id="engine_definition",
            )
        kept |= {everything[name] for name in matches}
    for pattern in definition.drop:
        kept -= {everything[name] for name in _matching(pattern, everything)}
    libraries = {
        file.name: file
        for name, file in sorted(everything.items(), reverse=True)
        if ".so" in file.name and re.fullmatch(r"usr/lib/[^/]+-linux-gnu[^/]*/[^/]+", name)
    }
    found, missing = closure(kept, libraries)
    if missing:
        raise CorruptError(
            f"libraries are missing from the engine's packages: {', '.join(sorted(missing))}",
            "the packages changed: mend the engine root's definition",
            error_id="engine_definition",
        )
    loader = {file for name, file in everything.items() if fnmatch.fnmatch(name, "usr/lib64/ld-linux*")}
    top_links = {file for file in root.iterdir() if file.is_symlink()}
    return kept | found | loader | top_links


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """``*`` stays within one directory, ``**`` doesn't."""
    expression = re.escape(pattern).replace(r"\*\*", ".+").replace(r"\*", "[^/]*")
    return [name for name in names if re.fullmatch(expression, name)]


def _walk(root: Path) -> Iterator[Path]:
    for child in root.iterdir():
        yield child
        if child.is_dir() and not child.is_symlink():
            yield from _walk(child)


def _skeleton(root: Path) -> None:
    for name in MOUNT_POINTS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in _ACCOUNTS.items():
        (root / name).write_text(text)
    (root / "etc/localtime").unlink()
    (root / "etc/localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    authorities = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    (root / _CERTIFICATES).parent.mkdir(parents=True, exist_ok=True)
    (root / _CERTIFICATES).write_text("".join(file.read_text().rstrip() + "\n" for file in authorities))
    for voice in sorted((root / _SOUNDS).glob("??_*")):
        link = voice.with_name(voice.name[:2])
        if not link.exists():
            link.symlink_to(voice.name)
    for file in [root, *_walk(root)]:
        if not file.is_symlink():
            executable = file.is_dir() or file.stat().st_mode & stat.S_IXUSR
            file.chmod(0o755 if executable else 0o644)


def size_mb(root: Path) -> float:
    """Size of all files below ``root`` in MB (10⁶ bytes), hard links counted once."""
    seen: dict[int, int] = {}
    for file in _walk(root):
        if not file.is_dir():
            status = file.lstat()
            seen[status.st_ino] = status.st_size
    return round(sum(seen.values()) / 1e6, 1)


def tree_hash(root: Path) -> str:
    """SHA-256 over names, modes, link targets and contents: equal for equal roots, whoever built them and when."""
    total = hashlib.sha256()
    for file in sorted(_walk(root), key=lambda each: each.relative_to(root).as_posix()):
        status = file.lstat()
        if file.is_symlink():
            content = str(file.readlink())
        elif file.is_dir():
            content = ""
        else:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{file.relative_to(root).as_posix()}\0{stat.S_IFMT(status.st_mode):o}\0{content}\n".encode())
    return total.hexdigest()
