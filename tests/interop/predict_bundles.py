"""Runs where nirs4all is: predicts `X.npy` of a folder with each bundle in it, and writes the predictions or what was raised."""

import sys
from pathlib import Path

import numpy as np
from nirs4all.pipeline.bundle.loader import BundleLoader


def main(folder: Path, results: Path) -> None:
    X = np.load(folder / "X.npy")
    for bundle in sorted(folder.glob("*.n4a")):
        try:
            np.save(results / f"{bundle.stem}.npy", BundleLoader(bundle).predict(X))
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            (results / f"{bundle.stem}.txt").write_text(f"{type(error).__name__}: {error}")


main(Path(sys.argv[1]), Path(sys.argv[2]))
