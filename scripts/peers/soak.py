# SPDX-License-Identifier: BSD-3-Clause
"""How often things are repeated that go wrong once in a while: `make soak` sets VIRTLANE_SOAK."""

import os


def times(count):
    """`count` in a usual run, many times as often in a soak."""
    return count * int(os.environ.get("VIRTLANE_SOAK", "1"))
