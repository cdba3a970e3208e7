"""What the README shows works as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from n4a_flows.spectra import load_tecator

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.prefect
def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert example is not None
    monkeypatch.chdir(tmp_path)
    spectra = load_tecator()
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    header = ",".join(["sample_id", *(f"{value:g}" for value in spectra.axis.values)])
    row = ",".join(["new", *map(str, spectra.X[0])])
    (incoming / "new.csv").write_text(f"{header}\n{row}\n")
    exec(example.group(1), {})
    shown = capsys.readouterr().out
    assert "1 files scored, fat.n4a written" in shown
    assert (tmp_path / "workspace" / "exports" / "fat.n4a").is_file()
    predicted = re.search(r"\[ *([\d.]+)", shown.splitlines()[-1])
    assert predicted is not None
    assert abs(float(predicted[1]) - spectra.targets["fat"][0]) < 5


def test_the_two_commands_are_make_targets() -> None:
    makefile = (README.parent / "Makefile").read_text()
    for command in re.findall(r"^make (\w+)", README.read_text(), re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)
