"""Pipeline definitions in files: JSON or YAML."""

from __future__ import annotations

import functools
import re
from typing import Any

from n4a_flows.storage.json_values import from_json

SUFFIXES = (".json", ".yaml", ".yml")
"""What the name of a file with a definition ends in."""

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")


def parsed(data: bytes) -> Any:
    """The value in the bytes of a file that holds JSON or YAML.

    Raises
    ------
    ValueError
        When it is neither.
    """
    text = data.decode("utf-8-sig")
    try:
        # JSON first: YAML refuses tabs.
        return from_json(text)
    except RecursionError as error:
        # YAML would take minutes to say the same.
        raise ValueError("it is nested too deeply") from error
    except ValueError:
        return _from_yaml(text)


def _from_yaml(text: str) -> Any:
    """The value in a YAML text, in which `1e-6` is a number; `ValueError` when it is no YAML."""
    import yaml  # takes a while, and little needs it

    try:
        return yaml.load(text, Loader=_loader())
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


@functools.cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.1 takes a number in powers of ten for text, unless it has a point and a sign."""

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))
    return Loader
