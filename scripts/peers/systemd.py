# SPDX-License-Identifier: BSD-3-Clause
"""As much of systemd as a service sees of it that leaves descriptors (FDSTORE, sd_notify(3))."""

import contextlib
import ctypes
import os
import select
import socket
import sys
import threading

from . import virtlane
from .wait import until

MESSAGE_FDS = 253
SYS_KCMP, KCMP_FILE = 312, 0
# Descriptors in their places, and the process's own number: then it becomes the service.
START = """
import fcntl, os, sys

fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 1 << 12) for fd in sys.argv[1].split(",") if fd]
os.closerange(3, 1 << 12)
for place, fd in enumerate(fds):
    os.dup2(fd, 3 + place, inheritable=True)
os.closerange(1 << 12, (1 << 12) + len(fds))
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """The socket that a service notifies, and what it has left there, in order."""

    def __init__(self, path):
        self.path = path
        self.fds = {}
        self.ready = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.setblocking(False)
        self._ended = False
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self):
        self._ended = True
        self._thread.join()
        self._socket.close()
        for fd in self.fds.values():
            os.close(fd)

    def _run(self):
        while not self._ended:
            if select.select([self._socket], [], [], 0.1)[0]:
                with self._reading:
                    self._read()

    def _read(self):
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, 65536, MESSAGE_FDS)
        except BlockingIOError:
            return False
        self._handle(dict(line.split("=", 1) for line in data.decode().splitlines()), fds)
        return True

    @contextlib.contextmanager
    def all_read(self):
        """What a process has sent before it died counts; in this context nothing more does."""
        with self._reading:
            while self._read():
                pass
            yield

    def paused(self):
        """In this context it reads nothing."""
        return self._reading

    def _handle(self, fields, fds):
        name = fields.get("FDNAME", "stored")
        if "FDSTORE" in fields:
            for fd in fds:
                # As systemd: the same open file is kept once, under the name it came with first.
                if any(same_file(fd, kept) for kept in self.fds.values()):
                    os.close(fd)
                else:
                    self.fds[name] = fd
        elif "FDSTOREREMOVE" in fields and name in self.fds:
            os.close(self.fds.pop(name))
        else:
            for fd in fds:  # BARRIER=1
                os.close(fd)
        self.ready += fields.get("READY") == "1"


def same_file(one, other):
    return ctypes.CDLL(None).syscall(SYS_KCMP, os.getpid(), os.getpid(), KCMP_FILE, one, other) == 0


class Service(virtlane.Switch):
    """virtlaned as a service that is started again when it dies."""

    def __init__(self, config=None, room=4096):
        super().__init__(config=config, start=False)
        self._room = room
        self.manager = Manager(self.path("manager.sock"))
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        """With what another process has left."""
        environment = dict(os.environ, NOTIFY_SOCKET=self.manager.path, FDSTORE=str(self._room))
        with self.manager.all_read():
            names, fds = list(self.manager.fds), list(self.manager.fds.values())
            if names:
                environment |= {"LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)}
            ready = self.manager.ready
            start = (sys.executable, "-c", START, ",".join(map(str, fds)))
            self._spawn(environment, start, pass_fds=fds)
        until(lambda: self.process.poll() is not None or self.manager.ready > ready, "virtlaned ready", 20, interval=0)
        if self.process.poll() is not None:
            raise AssertionError(f"virtlaned ended with {self.process.returncode}:\n{self.log()}")

    def left(self):
        """Waits until it has left a state that nothing changes any more; returns the names."""
        last = [None]

        def settled():
            before, last[0] = last[0], set(self.manager.fds)
            return before == last[0] and any(f"vl-{self.pid}-document" in name for name in before)

        until(settled, "a state that is left", 20, interval=0.3)
        return last[0]

    def close(self):
        try:
            super().close()
        finally:
            self.manager.close()
