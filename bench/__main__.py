"""``python -m bench [NAME] [--smoke]``: see the package's docstring for the contract."""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from bench import BENCHMARKS, Result


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="one benchmark; all when left out")
    parser.add_argument("--smoke", action="store_true", help="ten seconds of it: does it work at all?")
    options = parser.parse_args()
    for name in [options.name] if options.name else BENCHMARKS:
        module = importlib.import_module(f"bench.{name}")
        result: Result = module.run(options.smoke, lambda text: print(text, file=sys.stderr, flush=True))
        print(json.dumps(result.as_json()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
