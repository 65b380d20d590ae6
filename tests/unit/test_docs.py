"""The documentation says what there is: verbs, kinds, errors, files, commands, dependencies."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

from appliance.access.roles import AREAS, BUILT_IN
from appliance.console.api import openapi
from appliance.kinds import KINDS
from tools.catalogue import ROOT
from tools.reference import FILE, error_ids

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as the usual hosts make them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


def test_the_reference_is_up_to_date() -> None:
    made = subprocess.run([sys.executable, "-m", "tools.reference", "--print"], capture_output=True, text=True, cwd=ROOT, timeout=120, check=True)  # fmt: skip
    assert FILE.read_text() == made.stdout, "run tools/reference"


def test_the_reference_names_every_kind_field_and_error() -> None:
    text = FILE.read_text()
    for kind, model in KINDS.items():
        section = text.split(f"\n### {kind}\n")[1].split("\n### ")[0]
        for name in model.model_fields:
            assert name == "id" or f"| `{name}` |" in section, f"{kind}.{name}"
    for id in error_ids():
        assert f"| `{id}` |" in text
    for name in (*AREAS, *BUILT_IN):
        assert f"| `{name}` |" in text, name
    for path, item in openapi.description()["paths"].items():
        for method, each in item.items():
            if method != "parameters" and not path.startswith("/objects/"):
                assert f"| {method.upper()} | `{path}` |" in text, each["operationId"]
    for verb in ("plan", "commit", "confirm", "rollback", "discard", "history", "diff", "verify", "export", "import",
                 "run", "stop", "status", "doctor", "calls"):  # fmt: skip
        assert f"\n### centralino {verb}\n" in text


def test_commands_in_the_documentation_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+)(?: [a-z-]+)*:", makefile, re.MULTILINE))
    targets |= set(re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[0].split())
    verbs = {*re.findall(r"^### centralino ([a-z]+)$", FILE.read_text(), re.MULTILINE), *KINDS, "KIND"}
    for page in PAGES:
        code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL))
        for target in re.findall(r"(?:^|[`\s;])make (?:-s )?([a-z][a-z-]*)", code):
            assert target in targets, f"{page.name}: make {target}"
        for verb in re.findall(r"(?:^|[`\s;])centralino ([a-z_]+|KIND)\b", code):
            assert verb in verbs, f"{page.name}: centralino {verb}"


def test_the_readme_gives_a_reason_for_each_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = [re.split(r"[\[<>=~! ]", item)[0].lower() for item in wanted]
    told = (ROOT / "README.md").read_text().split("## Dependencies")[1].lower()
    missing = [name for name in names if not re.search(rf"\b{re.escape(name)}\b", told)]
    assert [name for name in missing if not name.startswith("types-")] == []


def test_every_event_and_field_of_notifications_is_documented() -> None:
    from appliance.notifications.events import EVENTS, FIELDS

    text = (ROOT / "docs" / "notifications.md").read_text()
    for type, kind in EVENTS.items():
        data = ", ".join(f"`{name}`" for name in (*kind.always, *(field.value for field in kind.fields)))
        assert f"\n| `{type.value}` | {kind.description} | {data} |\n" in text, type
    for field, description in FIELDS.items():
        assert f"\n| `{field.value}` | {description} |\n" in text, field
    assert text.count("| `call.") + text.count("| `alarm.") == len(EVENTS), "none is left over"
