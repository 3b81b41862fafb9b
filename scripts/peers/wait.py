# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for things to become true, each with a deadline."""

import time


class TimedOut(AssertionError):
    """What was waited for did not happen in time."""


def until(predicate, what, timeout=10, interval=0.02):
    """Returns the first true value of predicate(); after timeout seconds raises TimedOut."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimedOut(f"{what}: not within {timeout} s (last: {value!r})")
        time.sleep(interval)
