# SPDX-License-Identifier: BSD-3-Clause
"""Network namespaces: made, entered, and taken away with everything that runs in them."""

import ctypes
import itertools
import os
import signal
import subprocess
import threading

_counter = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


class CommandFailed(AssertionError):
    """A command ended with a status other than 0; `output` is what it printed."""

    def __init__(self, where, command, status, output):
        super().__init__(f"{where}: {command!r} ended with {status}:\n{output}")
        self.status = status
        self.output = output


def unique_name(label):
    """A namespace name that no other run uses."""
    return f"vl{os.getpid()}-{next(_counter)}-{label}"


class Namespace:
    """A network namespace without IPv6 (whose own chatter would make frame counts vary)."""

    def __init__(self, label="ns", ipv6=False, name=None):
        self.name = name or unique_name(label)
        subprocess.run(["ip", "netns", "add", self.name], check=True, timeout=10)
        self.run("ip link set lo up")
        if not ipv6:
            self.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __str__(self):
        return self.name

    def run(self, command, timeout=20, check=True):
        """Runs a shell command inside; returns what it printed on both outputs."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            text=True,
        )
        if check and done.returncode:
            raise CommandFailed(self.name, command, done.returncode, done.stdout)
        return done.stdout

    def start(self, command):
        """A shell command that goes on inside; returns its Popen. close() ends it, too."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )

    def call(self, function, *args):
        """Calls a function in a thread that is inside; a socket made there stays there."""
        result = []

        def inside():
            try:
                with open(f"/run/netns/{self.name}", "rb") as namespace:
                    if _libc.setns(namespace.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                result.append((function(*args), None))
            except Exception as error:  # handed to the caller below
                result.append((None, error))

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        value, error = result[0]
        if error:
            raise error
        return value

    def address(self, interface, address, mtu=None):
        """Gives an interface an address and brings it up."""
        if mtu:
            self.run(f"ip link set {interface} mtu {mtu}")
        self.run(f"ip addr add {address} dev {interface} && ip link set {interface} up")

    def mac(self, interface):
        return self.run(f"cat /sys/class/net/{interface}/address").strip()

    def close(self):
        listed = subprocess.run(
            ["ip", "netns", "pids", self.name], capture_output=True, text=True, timeout=10
        )
        for pid in listed.stdout.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        subprocess.run(
            ["ip", "netns", "del", self.name], stderr=subprocess.DEVNULL, timeout=10, check=False
        )
