"""The cases of each script, one module a script."""

from __future__ import annotations

from importlib import import_module

from tests.scripts.cases.case import CASES, Case, Step, seed_bystanders
from tests.scripts.source import SCRIPTS

for _name in SCRIPTS:
    import_module(f"{__name__}.{_name}")

__all__ = ["CASES", "Case", "Step", "seed_bystanders"]
