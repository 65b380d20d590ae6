"""Law 4: the core, every model, plan and verify import no socket, process, file system or clock."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE_NAMES = {
    "model.py", "plan.py", "verify.py", "context.py", "feature.py", "forms.py", "submission.py", "labels.py",
    "seen_calls.py", "calls_form.py", "ladder.py", "charts.py", "entries.py", "writing.py", "changed.py", "cells.py",
    "permission_words.py", "promise.py", "rules.py", "openvpn_messages.py", "openvpn_status.py", "branches.py",
    "formats.py", "chains.py", "answers.py", "wanted.py", "tuning.py", "redaction.py", "traces.py",
}  # fmt: skip
PURE_RELAY = {"wire", "keys", "window", "meter", "pieces", "sizes", "policy", "channel", "edge", "centre"}
PURE_BANS = {"judge", "keys", "packets", "policy", "rules", "sets", "sources", "standing", "timeline"}
IMPURE = {
    "asyncio", "glob", "http", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil",
    "signal", "socket", "socketserver", "ssl", "sqlite3", "sqlalchemy", "subprocess", "sys", "tempfile", "threading",
    "time", "urllib", "structlog", "logging",
}  # fmt: skip
CLOCKS = {("datetime", "now"), ("datetime", "today"), ("datetime", "utcnow"), ("date", "today")}


def pure_files() -> list[Path]:
    files = [*(ROOT / "appliance/core").rglob("*.py")]
    files += [*(ROOT / "appliance/pbx/flow").rglob("*.py"), *(ROOT / "appliance/labels").rglob("*.py")]
    files += [ROOT / "appliance/firewall/bans" / f"{name}.py" for name in PURE_BANS]
    files += [ROOT / "appliance/failover/relay" / f"{name}.py" for name in PURE_RELAY]
    files += [path for path in (ROOT / "appliance").rglob("*.py") if path.name in PURE_NAMES]
    return sorted(set(files))


def impurities(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in IMPURE]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in IMPURE:
            found.append(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "__import__"}:
            found.append(node.func.id)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) in CLOCKS
        ):
            found.append(f"{node.value.id}.{node.attr}")
    return found


@pytest.mark.parametrize("path", pure_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_code_does_no_io(path: Path) -> None:
    assert impurities(path.read_text()) == []


def test_the_check_itself_sees_impure_code() -> None:
    source = "import socket\nfrom pathlib import Path\nopen('x')\nimport os.path\nfrom datetime import datetime\ndatetime.now()"
    assert sorted(impurities(source)) == ["datetime.now", "open", "os.path", "pathlib", "socket"]


def test_there_is_pure_code_to_check() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in pure_files()}
    assert {"appliance/core/document.py", "appliance/pbx/trunks/plan.py", "appliance/organisation/model.py"} <= names
