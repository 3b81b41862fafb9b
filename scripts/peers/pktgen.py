# SPDX-License-Identifier: BSD-3-Clause
"""virtlane-pktgen: started, ended, and its report read."""

import json
import signal
import subprocess

from . import paths


class Pktgen:
    """A running virtlane-pktgen with --json. arguments: options and ports, as on its command line."""

    def __init__(self, *arguments):
        self.arguments = [str(argument) for argument in arguments]
        self.process = subprocess.Popen(
            [paths.program("virtlane-pktgen"), "--json", "--quiet", *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def report(self, timeout=30, check=True):
        """Waits for the end; the object that it printed. check: nothing may have failed."""
        output, errors = self.process.communicate(timeout=timeout)
        if check and self.process.returncode:
            raise AssertionError(
                f"virtlane-pktgen {' '.join(self.arguments)} ended with "
                f"{self.process.returncode}: {errors.strip() or output[-400:]}"
            )
        return json.loads(output)

    def interrupt(self):
        """Ends it as ^C does: it still reports."""
        self.process.send_signal(signal.SIGINT)

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def reflected(report):
    """Of a --mode reflect run: frames a second that came back, cycles a frame, frames lost, bytes
    of a page of the driver's memory, and bytes of a frame."""
    (port,) = report["ports"]
    return (
        report["rx_frames_per_second"],
        report["cycles_per_frame"],
        port["dropped"],
        port["driver"]["page_size"],
        report["rx_bytes"] / max(report["rx_frames"], 1),
    )
