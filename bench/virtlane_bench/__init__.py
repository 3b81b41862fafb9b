# SPDX-License-Identifier: BSD-3-Clause
"""The benchmarks: what is measured, how runs are compared, and how that is reported.

bench/run is the command; bench/README.md says what the figures mean. Standard library only.
"""
