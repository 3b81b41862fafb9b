# SPDX-License-Identifier: BSD-3-Clause
"""Bar charts with gnuplot: medians, with the middle half of the runs as a bar of error."""

import shutil
import subprocess

from .report import DIRECTORY

_COLOURS = ["#1b6ca8", "#c8553d", "#e0a458", "#6a994e", "#7d5ba6", "#5f6c7b"]


def _quoted(text):
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def bars(suite, title, unit, categories, series, logarithmic=False):
    """Writes build/bench/SUITE.svg. series: (name, [(median, low, high) or None a category])."""
    gnuplot = shutil.which("gnuplot")
    if gnuplot is None:
        print("bench: no gnuplot, so no plot (scripts/install-deps bench brings it)")
        return
    target = DIRECTORY / f"{suite}.svg"
    rows = [
        "\t".join([_quoted(category)] + [
            "\t".join(["NaN"] * 3 if values[i] is None else [f"{v:.6g}" for v in values[i]])
            for _, values in series
        ])
        for i, category in enumerate(categories)
    ]
    plots = ", ".join(
        f"$data using {2 + 3 * i}:{3 + 3 * i}:{4 + 3 * i}:xtic(1) title {_quoted(name)}"
        f" linecolor rgb {_quoted(_COLOURS[i % len(_COLOURS)])}"
        for i, (name, _) in enumerate(series)
    )
    script = "\n".join([
        "set terminal svg size 1000,480 dynamic background rgb 'white' noenhanced",
        f"set output {_quoted(target)}",
        f"set title {_quoted(title)}",
        f"set ylabel {_quoted(unit)}",
        "set style data histograms",
        "set style histogram errorbars gap 1.5 linewidth 1",
        "set style fill solid 0.9 border -1",
        "set boxwidth 0.9",
        "set key outside bottom center horizontal",
        "set grid ytics",
        "set datafile missing 'NaN'",
        "set logscale y\nset yrange [0.01:*]" if logarithmic else "set yrange [0:*]",
        "$data << EOD", *rows, "EOD",
        f"plot {plots}",
    ])
    done = subprocess.run([gnuplot], input=script, text=True, capture_output=True)
    if done.returncode:
        print(f"bench: gnuplot could not draw {target}: {done.stderr.strip()}")
    else:
        print(f"Plot: {target}")
