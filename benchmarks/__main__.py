"""Run the benchmark: python -m benchmarks --help."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import machine, report
from benchmarks.contenders import ROOT
from benchmarks.harness import EVERYBODY, Bench, Worker, installed
from benchmarks.operations import OPERATIONS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", help=f"operations, separated by commas: {', '.join(OPERATIONS)}")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, after one that warms up (default 5)")
    parser.add_argument("--quick", action="store_true", help="smaller stores and fewer files, to see that all works")
    parser.add_argument("--contenders", help=f"who takes part, separated by commas: {', '.join(EVERYBODY)}")
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench" / "stores", help="where the stores are made")
    parser.add_argument("--json", type=Path, default=ROOT / ".bench" / "results.json", help="where the figures go")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(OPERATIONS)
    if unknown := set(names) - set(OPERATIONS):
        parser.error(f"no such operation: {', '.join(unknown)}")
    asked = options.contenders.split(",") if options.contenders else EVERYBODY
    contenders = installed(asked)
    if absent := set(asked) - set(contenders):
        print(f"Without {', '.join(sorted(absent))}: make bench makes their environments.", file=sys.stderr)
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=options.folder.resolve()))
    bench = Bench(folder, contenders, options.repeats, options.quick)
    about = {
        "machine": machine.describe(bench.folder),
        "repeats": options.repeats,
        "quick": options.quick,
        "contenders": {name: _about(bench.start(name)) for name in contenders},
    }
    try:
        for name in names:
            OPERATIONS[name].run(bench)
            options.json.write_text(json.dumps({**about, **bench.results.to_dict()}, indent=1))
    finally:
        print(report.table(bench.results, about))
        shutil.rmtree(bench.folder, ignore_errors=True)


def _about(worker: Worker) -> object:
    try:
        return worker("about")
    finally:
        worker.end()


if __name__ == "__main__":
    main()
