"""Reads damaged files one after the other and says what came of each; run as a program, so that a crash is only its own.

    python fuzz.py FOLDER COUNT SEED [SHARED]

The last line is JSON: how many were read, how many refused, the slowest in seconds, the peak of memory in MiB.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from damage import damaged
from spectra_files import MADE

from n4a_flows.spectra import read_spectra
from n4a_flows.storage.errors import SpectraError

SECONDS = 10
"""A file that takes longer ends the program, with a traceback of where it hangs."""


def outcome(file: Path) -> str:
    """`read` or `refused`; AssertionError when it is neither, as it should be."""
    try:
        spectra = read_spectra(file)
    except SpectraError as error:
        said = str(error)
        assert str(file) in said, said
        assert "\n" not in said, said
        assert len(said) > len(str(file)) + 10, said
        return "refused"
    assert spectra.n_samples >= 1
    assert spectra.n_points >= 2
    assert np.isfinite(spectra.X).all()
    assert len(set(spectra.sample_ids)) == spectra.n_samples
    assert all(row.reason and row.row >= 1 for row in spectra.rejected)
    return "read"


def main(folder: str, count: str, seed: str, shared: str = "") -> None:
    sound = {name: make() for name, make in MADE.items()}
    for path in sorted(Path(shared).rglob("*")) if shared else ():
        if path.is_file() and path.suffix not in (".md", ".json"):
            sound[f"{path.parent.name}-{path.name}"] = path.read_bytes()
    came = {"read": 0, "refused": 0}
    slowest, name = 0.0, ""
    for what, file_name, data in damaged(sound, int(count), int(seed)):
        file = Path(folder) / file_name
        file.write_bytes(data)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        start = time.perf_counter()
        try:
            came[outcome(file)] += 1
        except BaseException as error:
            print(f"{what}: {file}: {type(error).__name__}: {error}", flush=True)
            raise
        taken = time.perf_counter() - start
        faulthandler.cancel_dump_traceback_later()
        if taken > slowest:
            slowest, name = taken, what
        file.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps({**came, "slowest": round(slowest, 3), "which": name, "peak_mib": round(peak)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
