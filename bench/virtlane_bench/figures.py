# SPDX-License-Identifier: BSD-3-Clause
"""Figures that are no comparison of rates: entries of results.json with a unit of their own."""

from . import compare


def entry(suite, case, subject, unit, values, **more):
    """values: of all rounds; more: ring, size, peer, theirs (a list)."""
    theirs = compare.median(more.pop("theirs", []))
    ours = compare.median(values)
    return {
        "suite": suite, "case": case, "ring": more.get("ring", "split"), "size": more.get("size", 64),
        "subject": subject, "peer": more.get("peer", "none"), "unit": unit,
        "ours": ours, "theirs": theirs, "ratio": round(ours / theirs, 3) if theirs else None,
        "spread": round(compare.spread(values), 3), "rounds": len(values),
        "cycles_ours": None, "cycles_theirs": None,
    }
