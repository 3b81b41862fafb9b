# SPDX-License-Identifier: BSD-3-Clause
"""The switch and the peers it is tried against: namespaces, testpmd, Linux guests.

Used by scripts/demo and by tests/integration. Standard library only. Every class that starts
something is a context manager; leaving it (or close()) removes all that it made.
"""
