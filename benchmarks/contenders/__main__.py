"""The process of one contender: a request is a line of JSON on stdin, its answer a line on stdout.

python -m benchmarks.contenders MODULE
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback

from benchmarks.contenders.base import NotOfferedError


def main(module: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    contender = importlib.import_module(f"benchmarks.contenders.{module}").Contender()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": getattr(contender, request["verb"])(**request["arguments"])}
        except NotOfferedError as error:
            answer = {"not offered": str(error)}
        except Exception as error:  # noqa: BLE001 - the driver reports it
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
