# SPDX-License-Identifier: BSD-3-Clause
"""Tables for people, results.json for programs."""

import json

from peers import paths

DIRECTORY = paths.BUILD / "bench"
RESULTS = DIRECTORY / "results.json"


def size_name(size):
    return {"imix": "IMIX", "tso": "64K TSO"}.get(size, str(size))


def _number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def table(header, rows):
    """Prints rows of text; the first column is words, the others are figures."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip(), flush=True)


def matrix(title, sizes, lines):
    """A figure a size; lines: (name, {size: text})."""
    print(f"\n{title}")
    table(["", *map(size_name, sizes)],
          [[name, *(cells.get(size, "-") for size in sizes)] for name, cells in lines])


def comparisons(title, entries):
    """Entries of results.json, one a line."""
    if not entries:
        return
    print(f"\n{title}")
    header = ["", "bytes", "ours", "theirs", "ratio", "spread", "cycles ours", "theirs", ""]
    rows = []
    for entry in entries:
        cycles = [
            f"{_number(entry[f'cycles_{side}_application'], 0)}"
            f"+{_number(entry[f'cycles_{side}_back_end'], 0)}"
            for side in ("ours", "theirs")
        ]
        rows.append([
            f"{entry['subject']} / {entry['peer']}", size_name(entry["size"]),
            _number(entry["ours"]), _number(entry["theirs"]), _number(entry["ratio"]),
            f"{entry['spread']:.0%}", *cycles, "  " + entry["verdict"],
        ])
    table(header, rows)


def load_results():
    try:
        return json.loads(RESULTS.read_text())
    except (OSError, ValueError):
        return []


def save(suite, entries, **details):
    """Puts a suite's entries in place of its old ones, and all that is known of it beside them."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    kept = [entry for entry in load_results() if entry.get("suite") != suite]
    RESULTS.write_text(json.dumps(kept + entries, indent=1) + "\n")
    own = DIRECTORY / f"{suite}.json"
    own.write_text(json.dumps({"results": entries, **details}, indent=1) + "\n")
