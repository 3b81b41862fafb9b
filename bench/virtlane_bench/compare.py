# SPDX-License-Identifier: BSD-3-Clause
"""Samples, and what may be concluded from them.

A subject is measured once a round, with processes of its own each time; a comparison pairs the
samples of two subjects round by round. Distributions here have two humps rather than one (where
the kernel puts pages decides), so medians and quartiles are used, never means.
"""

import dataclasses
import statistics

# A figure whose middle half is wider than this part of its median settles nothing.
WIDEST_SPREAD = 0.25
# If the middle half of the ratios holds 1, and is wider than this, nobody can be called faster.
WIDEST_TIE = 0.05
ENOUGH_ROUNDS = 7


@dataclasses.dataclass
class Sample:
    """One run: frames a second, and cycles a frame on both sides (None: not known)."""

    rate: float
    application: float | None = None
    back_end: float | None = None
    lost: int = 0  # frames that dropped out of the loop
    page_size: int | None = None  # bytes, of the memory that frames are in
    disturbance: str = ""  # why it does not count, if there are others


def calm(rounds):
    """Samples by round: those that nothing disturbed, or all if there are none of these."""
    undisturbed = {n: sample for n, sample in rounds.items() if not sample.disturbance}
    return undisturbed or rounds


def middle_half(values):
    """First and third quartile."""
    values = sorted(values)
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def spread(values):
    """Width of the middle half, as part of the median."""
    low, high = middle_half(values)
    return (high - low) / (statistics.median(values) or 1)


def median(values):
    """Median of what is known; None if nothing is."""
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def verdict(ratios, widest):
    """Why nothing may be concluded, or ""."""
    low, high = middle_half(ratios)
    if widest > WIDEST_SPREAD or (low < 1 < high and high - low > WIDEST_TIE):
        return "too noisy to call"
    if len(ratios) < ENOUGH_ROUNDS:
        return f"preliminary: {len(ratios)} of {ENOUGH_ROUNDS} rounds"
    return ""


def _rounded(value, digits):
    return None if value is None else round(value, digits)


def _cycles(samples, side):
    """Cycles a frame of one side, or of "both" together."""
    application = median([sample.application for sample in samples])
    back_end = median([sample.back_end for sample in samples])
    if side == "application":
        return application
    if side == "back end":
        return back_end
    return None if None in (application, back_end) else application + back_end


def comparison(ours, theirs, side="both", **labels):
    """One entry of results.json. ours, theirs: Samples by round; None if no round has both.

    side: whose cycles are compared: those of the "application", of the "back end", or of "both".
    labels: suite, case, ring, size, subject, peer.
    """
    rounds = sorted(ours.keys() & theirs.keys())
    if not rounds:
        return None
    ours, theirs = [ours[n] for n in rounds], [theirs[n] for n in rounds]
    our_rates, their_rates = [one.rate for one in ours], [one.rate for one in theirs]
    ratios = [a / b for a, b in zip(our_rates, their_rates) if b > 0]
    if not ratios:
        return None
    widest = max(spread(our_rates), spread(their_rates))
    disturbed = any(one.disturbance for one in (*ours, *theirs))
    return {
        **labels,
        "unit": "Mframes/s",
        "ours": round(statistics.median(our_rates) / 1e6, 3),
        "theirs": round(statistics.median(their_rates) / 1e6, 3),
        "ratio": round(statistics.median(ratios), 3),
        "spread": round(widest, 3),
        "cycles_ours": _rounded(_cycles(ours, side), 1),
        "cycles_theirs": _rounded(_cycles(theirs, side), 1),
        "cycles_of": side,
        "cycles_ours_application": _rounded(_cycles(ours, "application"), 1),
        "cycles_ours_back_end": _rounded(_cycles(ours, "back end"), 1),
        "cycles_theirs_application": _rounded(_cycles(theirs, "application"), 1),
        "cycles_theirs_back_end": _rounded(_cycles(theirs, "back end"), 1),
        "rounds": len(rounds),
        "ratio_quartiles": [round(value, 3) for value in middle_half(ratios)],
        "verdict": "disturbed" if disturbed else verdict(ratios, widest),
    }


def best(names, samples_of):
    """The name with the highest median rate among those that have samples; None if none has.

    samples_of(name) gives Samples by round.
    """
    rates = {name: median([one.rate for one in samples_of(name).values()]) for name in names}
    rates = {name: rate for name, rate in rates.items() if rate is not None}
    return max(rates, key=rates.get) if rates else None
