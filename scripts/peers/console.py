# SPDX-License-Identifier: BSD-3-Clause
"""A program that is talked to through its standard input and output."""

import fcntl
import os
import re
import selectors
import signal
import subprocess
import time

from .wait import TimedOut


class Console:
    """Runs a program in a process group of its own; expect() waits for what it prints."""

    def __init__(self, args, name, **popen):
        self.name = name
        self.transcript = ""
        self._unread = 0
        self.process = subprocess.Popen(
            args,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            **popen,
        )
        # Room for what is printed while nobody reads.
        fcntl.fcntl(self.process.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)
        os.set_blocking(self.process.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, line):
        self.process.stdin.write(line.encode() + b"\n")

    def expect(self, pattern, timeout=10):
        """Waits for a regular expression in what was printed since the last match."""
        deadline = time.monotonic() + timeout
        while True:
            found = re.compile(pattern, re.M).search(self.transcript, self._unread)
            if found:
                self._unread = found.end()
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut(f"{self.name}: no {pattern!r} in {timeout} s{self.tail()}")
            if self._selector.select(left) and not self._read():
                raise AssertionError(f"{self.name} ended while {pattern!r} was awaited{self.tail()}")

    def running(self):
        return self.process.poll() is None

    def tail(self, lines=25):
        self._read()
        text = "\n".join("    " + line for line in self.transcript.splitlines()[-lines:])
        return f"; its last lines:\n{text}"

    def wait(self, timeout=10):
        """Waits for the program to end by itself."""
        self.process.wait(timeout)

    def close(self, first=signal.SIGTERM, grace=5):
        """Ends the program and everything in its process group."""
        if self.process.stdout.closed:
            return
        if self.running():
            self._kill(first)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        self._kill(signal.SIGKILL)
        self.process.wait()
        self._read()
        self._selector.close()
        self.process.stdin.close()
        self.process.stdout.close()

    def _kill(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def _read(self):
        """Takes in what is there; False at the end of the output."""
        while True:
            try:
                chunk = os.read(self.process.stdout.fileno(), 65536)
            except BlockingIOError:
                return True
            except ValueError:
                return False
            if not chunk:
                return False
            self.transcript += chunk.decode(errors="replace").replace("\r", "")
