# SPDX-License-Identifier: BSD-3-Clause
"""virtlaned in a directory of its own, and its two controls: JSON-RPC and the command line."""

import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess

from . import paths
from .wait import TimedOut, until

# Switches that are running, for the report of a failing test.
running = []


class RpcError(Exception):
    """The daemon refused a request."""

    def __init__(self, error):
        super().__init__(error.get("message"))
        self.code = error.get("code")
        self.message = error.get("message")
        self.data = error.get("data")


class Rpc:
    """A JSON-RPC 2.0 connection: one object per line."""

    def __init__(self, path, timeout=20):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rwb")
        self._id = 0

    def call(self, method, **params):
        self._id += 1
        request = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        reply = self.exchange(json.dumps(request).encode())
        if "error" in reply:
            raise RpcError(reply["error"])
        if reply["id"] != self._id:
            raise AssertionError(f"reply to another request: {reply}")
        return reply["result"]

    def exchange(self, line):
        """Sends one raw line and returns the decoded answer."""
        self._file.write(line + b"\n")
        self._file.flush()
        answer = self._file.readline()
        if not answer:
            raise ConnectionError("virtlaned closed the control connection")
        return json.loads(answer)

    def close(self):
        self._file.close()
        self._socket.close()


PR_SET_CHILD_SUBREAPER = 36


class Adopted:
    """A process that another one started and left to us: what Popen is for our own."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=60):
        try:
            until(lambda: self.poll() is not None, "end of the process", timeout, interval=0.01)
        except TimedOut:
            raise subprocess.TimeoutExpired("virtlaned", timeout) from None
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Switch:
    """A running virtlaned. Its files are in `directory`, which ends with it."""

    def __init__(self, config=None, args=(), start=True):
        self._scratch = paths.scratch()
        self.directory = pathlib.Path(self._scratch.name)
        self.control = self.directory / "control.sock"
        self.config = self.directory / "virtlane.conf"
        self.log_file = self.directory / "virtlaned.log"
        self.args = list(args)
        self.process = None
        self._rpc = None
        if config is not None:
            self.config.write_text(config)
            self.args += ["--config", str(self.config)]
        if start:
            try:
                self.start()
            except BaseException:
                self._scratch.cleanup()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        """Starts the daemon and waits until it says that it is ready (sd_notify)."""
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(self.directory / "notify.sock"))
        notify.settimeout(0.2)
        environment = dict(os.environ, NOTIFY_SOCKET=str(self.directory / "notify.sock"))
        self._spawn(environment)
        try:
            until(lambda: self._is_ready(notify), "virtlaned ready", timeout=20, interval=0)
        except BaseException:
            self.stop(check=False)
            raise
        finally:
            notify.close()
            (self.directory / "notify.sock").unlink()

    def _spawn(self, environment, prefix=(), **popen):
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [*prefix, paths.program("virtlaned"), "--socket", str(self.control), *self.args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
                **popen,
            )
        running.append(self)

    def upgrade(self, program=None, check=True):
        """Replaces the daemon by another process; returns what the command line said."""
        # Its child becomes ours when it ends.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        arguments = ["upgrade"] if program is None else ["upgrade", str(program)]
        done = self.cli("--json", *arguments, timeout=60)
        if done.returncode == 0:
            self._hang_up()
            self.process.wait(10)
            self.process = Adopted(json.loads(done.stdout)["pid"])
        elif check:
            raise AssertionError(f"{done.stderr}\n{self.log()}")
        return done

    def _is_ready(self, notify):
        if self.process.poll() is not None:
            raise AssertionError(
                f"virtlaned ended with {self.process.returncode} at start:\n{self.log()}"
            )
        try:
            return b"READY=1" in notify.recv(4096)
        except socket.timeout:
            return False

    @property
    def pid(self):
        return self.process.pid

    def path(self, name):
        """A path in the switch's directory, for sockets of ports."""
        return str(self.directory / name)

    def log(self, lines=80):
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    # JSON-RPC

    def call(self, method, **params):
        if self._rpc is None:
            self._rpc = Rpc(self.control)
        try:
            return self._rpc.call(method, **params)
        except OSError:
            self._hang_up()
            raise

    def _hang_up(self):
        if self._rpc is not None:
            self._rpc.close()
            self._rpc = None

    def add(self, name, kind, **settings):
        """Adds a port; an underscore in a setting's name stands for a hyphen."""
        settings = {key.replace("_", "-"): str(value) for key, value in settings.items()}
        return self.call("port.add", name=name, kind=kind, **settings)

    def add_vhost(self, name, **settings):
        """A listening vhost port (unless it is told to connect); returns the socket's path."""
        if "connect" in settings:
            path = settings["connect"]
        else:
            path = settings.setdefault("listen", self.path(f"{name}.sock"))
        self.add(name, "vhost", **settings)
        return path

    def add_tap(self, name, namespace, interface="eth0", **settings):
        self.add(name, "tap", netns=namespace.name, interface=interface, **settings)

    def set(self, name, **settings):
        settings = {key.replace("_", "-"): str(value) for key, value in settings.items()}
        return self.call("port.set", name=name, **settings)

    def delete(self, name):
        return self.call("port.del", name=name)

    def show(self, name):
        return self.call("port.show", name=name)

    def ports(self):
        return self.call("port.list")

    def stats(self):
        return self.call("stats")

    def counters(self, name):
        for port in self.stats()["ports"]:
            if port["name"] == name:
                return port
        raise AssertionError(f"no statistics of port {name}")

    def drops(self, name, reason=None):
        drops = self.counters(name)["drops"]
        return drops if reason is None else drops.get(reason, 0)

    def macs(self, **filters):
        return self.call("mac.list", **filters)

    def wait_state(self, name, state, timeout=10):
        """Waits until a port is in a state, and returns what port.show says then."""
        try:
            return until(
                lambda: (shown := self.show(name))["state"] == state and shown,
                f"port {name} {state}",
                timeout,
            )
        except TimedOut as failed:
            raise TimedOut(f"{failed}; it is {self.show(name)}") from None

    def at_rest(self, timeout=10):
        """Waits until no counter moves any more, and returns the statistics."""
        last = [None]

        def settled():
            before, last[0] = last[0], self.stats()
            return before and before["ports"] == last[0]["ports"] and last[0]

        return until(settled, "counters at rest", timeout, interval=0.15)

    def check_law(self):
        """Received + replicated = sent + dropped, once nothing moves; deleted ports count, too."""
        stats = self.at_rest()
        total = stats["total"]
        came = total["rx_frames"] + total["rx_replicated"] - total.get("tx_merged", 0)
        went = total["tx_frames"] + sum(total["drops"].values())
        if came != went:
            raise AssertionError(
                f"{came} received and replicated, {went} sent and dropped:\n"
                + json.dumps(stats, indent=1)
            )
        for counters in (total, *stats["ports"]):
            assert counters["drops_total"] == sum(counters["drops"].values()), counters
        return stats

    # Command line

    def cli(self, *args, stdin=None, timeout=20):
        """Runs the virtlane command against this switch."""
        return subprocess.run(
            [paths.program("virtlane"), "--socket", str(self.control), *map(str, args)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    # End

    def kill(self):
        """SIGKILL, as a crash."""
        self._hang_up()
        running.remove(self)
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self, check=True, timeout=10):
        """SIGTERM; with check, the daemon must end with status 0 in time."""
        self._hang_up()
        if self in running:
            running.remove(self)
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = f"SIGKILL, after SIGTERM did not end it in {timeout} s"
        self.process = None
        if check and status != 0:
            raise AssertionError(f"virtlaned ended with {status}:\n{self.log()}")

    def close(self):
        try:
            self.stop()
        finally:
            self._scratch.cleanup()

    def report(self):
        """Log, statistics and ports, for the output of a failing test."""
        parts = [f"virtlaned log:\n{self.log(200)}"]
        try:
            rpc = Rpc(self.control, timeout=3)
            parts.append("stats: " + json.dumps(rpc.call("stats"), indent=1))
            for port in rpc.call("port.list"):
                parts.append("port: " + json.dumps(rpc.call("port.show", name=port["name"])))
            rpc.close()
        except Exception as error:  # a report never hides the failure itself
            parts.append(f"(control socket: {error!r})")
        return "\n".join(parts)
