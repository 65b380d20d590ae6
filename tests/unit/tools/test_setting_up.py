"""What sets a machine up: packages of the host and of Python, told as they come; half an environment is made again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


def host_packages(work: Path, apt: str, user: int = 0) -> subprocess.CompletedProcess[str]:
    """tools/host-packages on a machine that has nothing, whose apt does this."""
    script(work / "dpkg-query", "exit 1")
    script(work / "apt-get", f'echo "$@" >>"{work}/called"\n{apt}')
    script(work / "sudo", f'echo sudo >>"{work}/called"; exec "$@"')
    script(work / "id", f"echo {user}")
    environment = {**os.environ, "PATH": f"{work}:/usr/bin:/bin"}
    return subprocess.run(
        [TOP / "tools/host-packages", "run"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


STATUS = """\
echo "Reading package lists..."
echo "dlstatus:1:50.0000:Retrieving file" >&3
echo "pmstatus:bubblewrap:100.0000:Installed bubblewrap" >&3"""


def test_packages_of_the_host_are_installed_with_their_progress(tmp_path: Path) -> None:
    done = host_packages(tmp_path, f'[ "$3" = update ] || {{ {STATUS}; }}')
    assert done.returncode == 0, done.stderr
    assert "== Installing: ca-certificates" in done.stdout
    assert " 25 %  " in done.stderr
    assert "100 %  " in done.stderr
    assert "Reading package lists" not in done.stdout + done.stderr
    called = (tmp_path / "called").read_text()
    assert "sudo" not in called
    assert "install -y -q --no-install-recommends ca-certificates" in called


def test_sudo_is_asked_for_and_said_by_an_ordinary_user(tmp_path: Path) -> None:
    done = host_packages(tmp_path, "exit 0", user=1000)
    assert done.returncode == 0, done.stderr
    assert "== Root is needed (sudo) to install: ca-certificates" in done.stdout
    assert (tmp_path / "called").read_text().startswith("sudo\n")


def test_what_apt_says_is_shown_when_it_fails(tmp_path: Path) -> None:
    done = host_packages(tmp_path, 'echo "E: Unable to locate package"; exit 100')
    assert done.returncode == 1
    assert "E: Unable to locate package" in done.stderr


@pytest.mark.parametrize(("code", "told"), [(0, "   2 packages, "), (1, "ERROR: THESE PACKAGES DO NOT MATCH")])
def test_packages_of_python_are_counted(tmp_path: Path, code: int, told: str) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text(
        "one==1 \\\n    --hash=sha256:0\ntwo==2 ; sys_platform == 'win32' \\\n    --hash=sha256:0\nthree==3\n"
    )
    python = script(
        tmp_path / "python",
        f'echo "$@" >"{tmp_path}/called"; echo "Collecting one==1"; echo "Requirement already satisfied: three==3 in x"\n'
        f'echo "ERROR: THESE PACKAGES DO NOT MATCH"; exit {code}',
    )
    done = subprocess.run(
        [TOP / "tools/pip-install", python, lock], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code
    assert done.stdout == ""
    assert told in done.stderr
    assert ("DO NOT MATCH" in done.stderr) == bool(code)
    assert "--require-hashes" in (tmp_path / "called").read_text()


@pytest.mark.parametrize("whole", [True, False])
def test_an_environment_without_pip_is_made_again(tmp_path: Path, whole: bool) -> None:
    """An interrupted ``python -m venv`` leaves a python and no pip."""
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / "Makefile").write_text((TOP / "Makefile").read_text())
    script(tmp_path / "tools/pip-install", "exit 0")
    script(tmp_path / "tools/translations", "exit 0")
    script(tmp_path / "tools/portal-assets", "mkdir -p appliance/console/portal/static/vendor")
    for name in ("package-lock.json", "npm.lock"):
        file = tmp_path / "appliance/console/portal/assets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    script(tmp_path / ".venv/bin/python", "exit 0" if whole else "exit 1")
    script(tmp_path / ".venv/bin/pip", "exit 0")
    maker = script(tmp_path / "maker", f'echo "$@" >"{tmp_path}/made"')
    done = subprocess.run(
        ["make", "-C", tmp_path, f"PYTHON={maker}", "venv"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made").exists() is not whole
    assert whole or (tmp_path / "made").read_text() == "-m venv --clear .venv\n"


def test_the_counting_line_moves_on_a_terminal(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text("one==1\ntwo==2\n")
    python = script(tmp_path / "python", 'echo "Collecting one==1"; echo "Collecting two==2"')
    inner = f"{sys.executable} {TOP}/tools/pip-install {python} {lock}"
    done = subprocess.run(
        ["script", "-qec", inner, "/dev/null"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert "1 of at most 2 packages" in done.stdout
    assert "2 packages, " in done.stdout


def as_root(work: Path, user: int, *, sudo: bool = True) -> subprocess.CompletedProcess[str]:
    script(work / "id", f"echo {user}")
    if sudo:
        script(work / "sudo", f'echo "$@" >>"{work}/called"; exec "$@"')
    for name in ("bash", "env", "grep", "chown", "echo"):
        (work / name).symlink_to(f"/usr/bin/{name}")
    environment = {"PATH": str(work), "CENTRALINO_CACHE": "/somewhere", "SECRET": "geheim"}
    argv = [
        "/usr/bin/bash",
        TOP / "tools/as-root",
        "it is a test",
        "bash",
        "-c",
        'echo "$CENTRALINO_CACHE $SECRET"; exit 7',
    ]
    return subprocess.run(argv, env=environment, cwd=work, capture_output=True, text=True, timeout=60, check=False)


def test_what_needs_root_gets_it_or_says_so(tmp_path: Path) -> None:
    for name in ("root", "user", "neither"):
        (tmp_path / name).mkdir()
    done = as_root(tmp_path / "root", 0)
    assert (done.returncode, done.stdout, done.stderr) == (7, "/somewhere geheim\n", "")
    assert not (tmp_path / "root" / "called").exists()
    done = as_root(tmp_path / "user", 1000)
    assert (done.returncode, done.stdout) == (
        7,
        "/somewhere geheim\n",
    )  # this sudo keeps the environment; a real one doesn't
    assert done.stderr == "== Root is needed (sudo): it is a test\n"
    called = (tmp_path / "user" / "called").read_text()
    assert "CENTRALINO_CACHE=/somewhere" in called
    assert "SECRET=geheim" not in called
    done = as_root(tmp_path / "neither", 1000, sudo=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no sudo here" in done.stderr
