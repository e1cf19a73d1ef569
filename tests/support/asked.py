"""A client in a process of its own, of whatever release it imports: `python -m tests.support.asked < CALLS`.

The calls are JSON, `[[method, [argument, …], {option: value, …}], …]`, and so are the answers. A send's event is an
object with the event's fields.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from headrace import Client


def main() -> None:
    """Answer every call, in order."""
    with Client() as client:
        answers: list[Any] = []
        for method, arguments, options in json.load(sys.stdin):
            answers.append(getattr(client, method)(*arguments, **options))
        sys.stdout.write(msgspec.json.encode(answers).decode())


if __name__ == "__main__":
    main()
