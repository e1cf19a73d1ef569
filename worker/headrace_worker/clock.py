"""The clock by which the worker measures time: that of the system, also where a test has stopped Python's clocks.

Libraries such as freezegun replace `time.monotonic` for all modules; jobs are to see that, and the worker is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

monotonic: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
"""Returns seconds that never go back, as `time.monotonic` does."""
