"""A disk that is really full: nothing is half written, what was known goes on, and all is well again when there is room."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from appliance.paths import CHECKOUT
from tests.hil.agents.network import require_root


def test_judge_names_turn_invitations_and_edge_on_a_full_disk(tmp_path: Path) -> None:
    """The certificates are in ``test_vpn_pki.py``, an edge's states in ``tests/unit/edge/test_identity.py``."""
    require_root()
    argv = ["unshare", "--mount", sys.executable, "-m", "tests.hil.full_disk_child", str(tmp_path)]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert not done.returncode, done.stderr
    one, two, three = (f"198.51.100.{n}" for n in (1, 2, 3))
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "ban before": 1, "name before": [one, "|", one], "secret before": 1, "invite before": ["site-1"],
        "report before": "1", "edge before": True,
        # What was learned is used, not written; what can't be is refused, and said; nobody stops.
        "ban full": "disk_full", "name full": [one, two, "|", one], "secret full": "turn_secrets", "invite full": "disk_full",
        "report full": "OSError", "edge full": True, "kept": [1, ["site-1"]],
        # And then the whole is there, what was decided meanwhile too.
        "ban after": 3, "name after": [one, two, three, "|", one, two, three], "secret after": 3,
        "invite after": ["site-1", "site-3"], "report after": "3", "edge after": True,
    }  # fmt: skip
