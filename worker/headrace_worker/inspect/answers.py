"""Reads the answers of calls that may find something that is no part of Headrace under a key. Pure."""

from __future__ import annotations

from typing import Any

from headrace import HeadraceError
from headrace.plans.read import is_wrong_type


def answer_or(default: Any, answer: Any) -> Any:
    """Return an answer, or the default where a foreign type is under the key.

    Raises:
        HeadraceError: any other answer that is an error.
    """
    if is_wrong_type(answer):
        return default
    if isinstance(answer, HeadraceError):
        raise answer
    return answer
