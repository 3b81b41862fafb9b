# SPDX-License-Identifier: BSD-3-Clause
"""Where things are: the build directory, the unpacked guests, scratch directories."""

import os
import pathlib
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VIRTLANE_BUILD", ROOT / "build")).resolve()
GUESTS = pathlib.Path(os.environ.get("VIRTLANE_GUEST_DIR", ROOT / "build" / "guest")).resolve()

# A program that the library starts, as it is not installed.
os.environ.setdefault("VIRTLANE_FETCHER", str(BUILD / "virtlane-fetcher"))


def program(name):
    """The path of a program of this project."""
    path = BUILD / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; build first, or set VIRTLANE_BUILD")
    return str(path)


def scratch(prefix="virtlane-"):
    """A temporary directory with a short path (Unix socket paths hold 107 bytes)."""
    return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
