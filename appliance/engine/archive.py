"""Archive of an engine root: its packages and manifest in one tar, enough to build it again without a mirror."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

from appliance.core.errors import CorruptError, NotFoundError, RefusedError
from appliance.engine.definition import Definition, Manifest, Package, check_asterisk
from appliance.engine.runner import run

_MANIFEST = "manifest.json"
_FORMAT = "centralino-engine-1"


def list_packages(directory: Path) -> tuple[Package, ...]:
    """The packages in apt's archive directory, sorted by name; all else in it is deleted.

    apt names its files ``name_version_architecture.deb``, with colons as ``%3a``.
    """
    found = []
    for file in sorted(directory.iterdir()):
        if file.suffix == ".deb":
            name, version, architecture = file.stem.split("_")
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            found.append(Package(name, unquote(version), architecture, len(content), digest, file.name))
        elif file.is_file():
            file.unlink()
    return tuple(sorted(found))


def pack(packages: Path, manifest: Manifest, target: Path) -> None:
    """Write the archive ``target``; the same root always gives the same bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".part")
    with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, _MANIFEST, manifest.dumps().encode())
        for package in manifest.packages:
            _add(tar, f"packages/{package.file}", (packages / package.file).read_bytes())
    unfinished.rename(target)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(f"{_FORMAT}/{name}")
    member.size, member.mode = len(content), 0o644
    tar.addfile(member, BytesIO(content))


def read_manifest(source: Path) -> Manifest:
    """:raises NotFoundError: no such file. :raises CorruptError: not an archive of ours."""
    try:
        with tarfile.open(source) as tar:
            member = tar.extractfile(f"{_FORMAT}/{_MANIFEST}")
            return Manifest.loads(member.read().decode() if member else "")
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no archive {source}") from error
    except (tarfile.TarError, KeyError, UnicodeDecodeError, OSError) as error:
        raise CorruptError(f"{source} is no archive of an engine root", "make one: make engine-archive") from error


def unpack(source: Path, repository: Path, definition: Definition) -> list[str]:
    """Lay the archive out as a repository that apt can read, each package checked against the manifest.

    :return: names of the packages, all to be unpacked.
    :raises CorruptError: damaged, or altered after packing.
    :raises RefusedError: it lacks what the current definition asks for, or its Asterisk isn't one we take.
    """
    manifest = read_manifest(source)
    check_asterisk(manifest.asterisk, definition.accept_asterisk)
    names = [package.name for package in manifest.packages]
    if lacking := sorted(definition.packages.keys() - set(names)):
        raise RefusedError(
            f"the archive lacks packages of today's definition: {', '.join(lacking)}",
            "make a new archive from a mirror (make engine, then make engine-archive)",
            error_id="engine_archive_outdated",
        )
    repository.mkdir()
    index = []
    with tarfile.open(source) as tar:
        for package in manifest.packages:
            content = _member(tar, source, package)
            file = repository / package.file
            file.write_bytes(content)
            control = run(["dpkg-deb", "--field", str(file)]).output.rstrip()
            index.append(f"{control}\nFilename: ./{package.file}\nSize: {package.size}\nSHA256: {package.sha256}\n")
    (repository / "Packages.gz").write_bytes(gzip.compress("\n".join(index).encode(), mtime=0))
    return names


def _member(tar: tarfile.TarFile, source: Path, package: Package) -> bytes:
    try:
        member = tar.extractfile(f"{_FORMAT}/packages/{package.file}")
        content = member.read() if member else b""
    except (KeyError, tarfile.TarError) as error:
        raise CorruptError(f"{source} lacks {package.file}") from error
    if "/" in package.file or hashlib.sha256(content).hexdigest() != package.sha256:
        raise CorruptError(f"{package.file} in {source} is damaged", "take another copy of the archive")
    return content
