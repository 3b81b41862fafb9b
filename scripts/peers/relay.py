# SPDX-License-Identifier: BSD-3-Clause
"""A Unix socket that passes everything on to another one, descriptors too, and can break off at any byte."""

import os
import select
import socket
import threading


class Relay:
    """Listens on `path` and connects each caller to `target`, one at a time. `passed`: bytes of the
    present connection, both ways together; `connections`: how many there were."""

    IDLE = 0.5  # seconds without a byte: what was to be said has been said

    def __init__(self, path, target, exchange=None):
        """exchange(message, fds): the descriptors to be passed on instead of a vhost-user message's own; then
        nothing may be cut."""
        self.target = target
        self._exchange = exchange
        self.passed = 0
        self.connections = 0
        self._budget = None  # bytes after which the next connection breaks off; None: it does not
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(16)
        self._ended, self._end = os.pipe()
        self._break = os.eventfd(0)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        os.close(self._end)
        self._thread.join()
        self._listener.close()
        os.close(self._ended)
        os.close(self._break)

    @property
    def is_cutting(self):
        return self._budget is not None

    def begin_cutting(self):
        """Breaks the present connection off, the next one after one byte, the one behind it after two, and so on
        until one has said all that it had to say."""
        self._budget = 1
        os.eventfd_write(self._break, 1)

    def _serve(self):
        while True:
            ready, _, _ = select.select([self._listener, self._ended], [], [])
            if self._ended in ready:
                return
            near, _ = self._listener.accept()
            far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with near, far:
                try:
                    far.connect(self.target)
                    self._pass_on(near, far)
                except OSError:
                    pass  # one of the two is gone: so is the other

    def _pass_on(self, near, far):
        other = {near: far, far: near}
        self.connections += 1
        self.passed = 0
        cutting = self.is_cutting
        while not cutting or self.passed < self._budget:
            ready, _, _ = select.select([near, far, self._ended, self._break], [], [], self.IDLE if cutting else None)
            if not ready:
                self._budget, cutting = None, False
            if self._break in ready:
                os.eventfd_read(self._break)
                return
            if self._ended in ready:
                return
            for end in ready:
                room = self._budget - self.passed if cutting else 65536
                size = self._pass_piece(end, other[end], room) if room else 0
                if size == 0 and room:
                    return
                self.passed += size
        self._budget += 1

    def _pass_piece(self, source, target, room):
        data, fds, _, _ = socket.recv_fds(source, room, 16)
        try:
            if fds and self._exchange:
                # Messages before it, without descriptors, may have come with it.
                begin = self._last_message(data)
                if begin:
                    target.sendall(data[:begin])
                socket.send_fds(target, [data[begin:]], self._exchange(data[begin:], fds))
            elif data:
                socket.send_fds(target, [data], fds)
        finally:
            for fd in fds:
                os.close(fd)
        return len(data)

    @staticmethod
    def _last_message(data):
        """Where the last vhost-user message begins."""
        begin = 0
        while True:
            end = begin + 12 + int.from_bytes(data[begin + 8 : begin + 12], "little")
            if end >= len(data):
                return begin
            begin = end
