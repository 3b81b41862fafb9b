# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's machine protocol, as far as it is needed to migrate a guest."""

import json
import socket

from .wait import TimedOut, until


class Qmp:
    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(20)
        self._socket.connect(path)
        self._lines = self._socket.makefile("r")
        self._lines.readline()  # the greeting
        self.run("qmp_capabilities")

    def close(self):
        self._lines.close()
        self._socket.close()

    def run(self, command, **arguments):
        """The command's answer. Events in between are left out."""
        request = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            line = self._lines.readline()
            if not line:
                raise AssertionError(f"QEMU hung up at {command}")
            answer = json.loads(line)
            if "error" in answer:
                raise AssertionError(f"QEMU, {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def allow_postcopy(self):
        """Of the migration that comes, at both of its ends."""
        self.run("migrate-set-capabilities", capabilities=[{"capability": "postcopy-ram", "state": True}])

    def migrate(self, path, timeout=60, postcopy=False):
        """To a QEMU that waits at a socket; returns what QEMU says of it in the end.

        postcopy: the guest moves at once, and nearly all of its memory behind it.
        """
        self.run("migrate-set-parameters", **{
            "max-bandwidth": 1 << 25, "downtime-limit": 300, "max-postcopy-bandwidth": 1 << 25})
        self.run("migrate", uri=f"unix:{path}")
        result = {}

        def ended():
            result.update(self.run("query-migrate"))
            return result.get("status") in ("completed", "failed", "cancelled")

        if postcopy:
            until(lambda: self.run("query-migrate").get("status") == "active", "the migration's start")
            self.run("migrate-start-postcopy")

        try:
            until(ended, "the migration's end", timeout)
        except TimedOut as error:
            raise TimedOut(f"{error}: {result}") from None
        if result["status"] != "completed":
            raise AssertionError(f"the migration {result['status']}: {result.get('error-desc')}")
        return result
