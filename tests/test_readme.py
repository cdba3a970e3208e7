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
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("1 files scored, fat.n4a written, fat of the first sample: 2"), last
    assert (tmp_path / "workspace" / "exports" / "fat.n4a").is_file()
    assert spectra.targets["fat"][0] == 22.5


def test_the_two_commands_are_make_targets() -> None:
    makefile = (README.parent / "Makefile").read_text()
    for command in re.findall(r"^make (\w+)", README.read_text(), re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)
