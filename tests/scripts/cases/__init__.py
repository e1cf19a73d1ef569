"""The cases of each script, one module or folder a script."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

from tests.scripts.cases.case import CASES, Case, Step, seed_bystanders
from tests.scripts.source import SCRIPTS

for _name in SCRIPTS:
    import_module(f"{__name__}.{_name}")  # each script has its cases
for _module in walk_packages(__path__, f"{__name__}."):
    import_module(_module.name)

__all__ = ["CASES", "Case", "Step", "seed_bystanders"]
