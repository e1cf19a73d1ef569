"""The clock by which the worker measures time: the system's, even where a test has stopped Python's clocks.

Libraries such as freezegun replace `time.monotonic` for all modules. Jobs see that clock, the worker does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

monotonic: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
"""Return seconds that never go back, as `time.monotonic` does."""
