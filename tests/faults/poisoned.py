"""The app of `apps.poison` as a module has it, for `headrace worker`."""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults.apps import poison

app = poison(Path(os.environ["HEADRACE_FAULTS_FOLDER"]))
