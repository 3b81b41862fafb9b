# SPDX-License-Identifier: BSD-3-Clause
"""Live migration of a stock guest between two QEMU processes, each on a switch of its own.

The guest receives all the while, and reads it late: at the moment when it moves there are megabytes in its
memory that the device has just written, and nobody looked at. Their checksums were offloaded, so only the
hash tells whether a page of them was left behind. (The kernel is told not to clear the pages that it gives to
the device, which would have QEMU see them as written, too.)
"""

import contextlib
import hashlib
import json
import os
import socket
import struct
import threading
import time

import pytest

from peers import netns, traffic, virtlane
from peers.guests import Nic, Qemu
from peers.relay import Relay
from peers.soak import times

HOST = "10.0.0.1"
GUEST = "10.0.0.10"
MAC = "52:54:00:00:01:01"
PORT = 9
# 640 KiB a second, until it is told to hurry.
SLOWLY = ("until [ -e /tmp/fast ]; do dd bs=64k count=1 iflag=fullblock 2>/dev/null; sleep 0.1; done;"
          " cat")


class Stream:
    """2 MiB a second from a namespace to the guest, and the hash of them."""

    def __init__(self, host, seeded):
        self._hash = hashlib.sha256()
        self._stop = threading.Event()
        self._data = seeded.randbytes(1 << 16)
        self.sent = 0
        self._socket = host.call(lambda: socket.create_connection((GUEST, PORT), timeout=20))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        number = 0
        while not self._stop.is_set():
            piece = number.to_bytes(8, "big") + self._data[number % 1000 :]
            try:
                self._socket.sendall(piece)
            except OSError:  # nobody takes it: then the hash will not agree
                return
            self._hash.update(piece)
            self.sent += len(piece)
            number += 1
            time.sleep(1 / 32)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Returns the hash."""
        self._stop.set()
        self._thread.join()
        self._socket.close()
        return self._hash.hexdigest()


class Site:
    """Two switches that are joined as by a cable, and a host behind the first."""

    def __init__(self, stack, port):
        """port: settings of the guest's port, on both switches."""
        self.stack = stack
        self._queues = port.get("queues", 1)
        self.switches = [stack.enter_context(virtlane.Switch()) for _ in range(2)]
        self.host = stack.enter_context(netns.Namespace("host"))
        self.switches[0].add_tap("host", self.host)
        self.host.address("eth0", f"{HOST}/24")
        trunk = self.switches[0].add_vhost("trunk")
        self.switches[1].add("trunk", "virtio", connect=trunk)
        self.paths = [switch.add_vhost("vm", **port) for switch in self.switches]

    def qemu(self, number, properties, **options):
        nic = Nic(self.paths[number], MAC, queues=self._queues, properties=properties)
        return self.stack.enter_context(
            Qemu(nic, name=f"vm{number}", migrates=True, cmdline="init_on_alloc=0", **options))


VARIANTS = {
    "split": ("", {}),
    "packed": ("packed=on", {"device_state": "yes"}),
    "no-mergeable": ("mrg_rxbuf=off", {}),
    "two-pairs": ("", {"queues": 2}),
}


MOVES = {"precopy": 3, "postcopy": 4}
IPERF_RATE = "50M"
WAYS = [(way, variant) for way in ("precopy", "postcopy") for variant in VARIANTS
        if (way, variant) != ("postcopy", "two-pairs")]


class Iperf:
    """iperf3 in both directions at once, from the start to the end of what is tested."""

    def __init__(self, host, guest, directory):
        self._guest = guest
        self._report = directory / "iperf"
        self._server = host.start(f"iperf3 -s -1 -J > {self._report}")
        host.run("until ss -ltn | grep -q :5201; do sleep 0.05; done")
        guest.run(f"iperf3 -c {HOST} --bidir -b {IPERF_RATE} -t 3600 > /tmp/iperf 2>&1 & echo $! > /tmp/client")

    def end(self, guest):
        """Bytes received by the host and by the guest in each second."""
        guest.run("kill -INT $(cat /tmp/client)")
        self._server.wait(20)
        report = json.loads(self._report.read_text())
        assert "client has terminated" in report["error"]
        return [(interval["sum"]["bytes"], interval["sum_bidir_reverse"]["bytes"])
                for interval in report["intervals"]]


def receive_while_it_moves(site, guest, target, postcopy, seeded):
    """The guest's memory is compared after the move; returns what QEMU says of that."""
    guest.run("echo 4096 16000000 32000000 > /proc/sys/net/ipv4/tcp_rmem")
    guest.run(f"rm -f /tmp/fast /tmp/hash; nc -l -p {PORT} | ({SLOWLY}) | sha256sum > /tmp/hash &"
              f" until grep -qs ':{PORT:04X} 0*:0000 0A' /proc/net/tcp*; do sleep 0.05; done")
    with Stream(site.host, seeded) as stream:
        result = guest.migrate_to(target, postcopy=postcopy)
        assert postcopy == (result["ram"]["postcopy-requests"] > 0), result
        guest.close()
        traffic.answers(target, HOST)
        assert target.run("[ -s /tmp/hash ] || echo reading").strip() == "reading"
        target.run("touch /tmp/fast")
        expected = stream.end()
    found = target.run("n=0; until [ -s /tmp/hash ] || [ $n -gt 150 ]; do n=$((n + 1)); sleep 0.1;"
                       " done; cat /tmp/hash", timeout=30)
    assert found.split()[:1] == [expected]
    return result


@pytest.mark.parametrize("way, variant", WAYS)
def test_guest_moves_while_it_receives(stack, seeded, say, tmp_path, way, variant):
    """There and back, so that each way is gone at least ten times by all the variants."""
    properties, port = VARIANTS[variant]
    site = Site(stack, port)
    guest = site.qemu(0, properties)
    guest.address("eth0", f"{GUEST}/24")
    site.switches[0].wait_state("vm", "up")
    traffic.answers(guest, HOST)
    iperf = Iperf(site.host, guest, tmp_path)
    results = []
    for move in range(1, times(MOVES[way]) + 1):
        target = site.qemu(move % 2, properties, incoming=True)
        results.append(receive_while_it_moves(site, guest, target, way == "postcopy", seeded))
        assert site.switches[move % 2].show("vm")["rx_frames"] > 0
        guest = target
    seconds = iperf.end(guest)
    totals = [sum(second[end] for second in seconds) >> 20 for end in (0, 1)]
    say(f"{len(results)} moves, {[result['downtime'] for result in results]} ms of downtime; iperf3: {totals} MiB"
        f" received by host and guest, nothing in {sum(0 in second for second in seconds)} of {len(seconds)} s")
    assert min(totals) > 0
    for switch in site.switches:
        switch.check_law()


SET_LOG_BASE = 6


def another_log(message, fds):
    """Of the same size, which QEMU does not look into."""
    if struct.unpack_from("=I", message)[0] != SET_LOG_BASE:
        return fds
    log = os.memfd_create("log")
    os.ftruncate(log, struct.unpack_from("=Q", message, 12)[0])
    fds.append(log)  # to be closed, too
    return [log]


@pytest.mark.parametrize("log", ("right", "wrong"))
def test_a_wrong_dirty_log_is_noticed(stack, seeded, tmp_path, log):
    """Or else the test above would show nothing."""
    site = Site(stack, {})
    path = str(tmp_path / "vm")
    stack.enter_context(Relay(path, site.paths[0], another_log if log == "wrong" else lambda _, fds: fds))
    site.paths[0] = path
    guest = site.qemu(0, "")
    guest.address("eth0", f"{GUEST}/24")
    site.switches[0].wait_state("vm", "up")
    target = site.qemu(1, "", incoming=True)
    try:
        receive_while_it_moves(site, guest, target, False, seeded)
        noticed = False
    except AssertionError:
        noticed = True
    assert noticed == (log == "wrong")


@pytest.mark.parametrize("port", ({"queues": 2}, {"postcopy": "no"}), ids=("two-pairs", "not-wished"))
def test_postcopy_is_refused_before_it_begins(stack, port):
    """With two pairs QEMU 10 starts a device for each, sends the memory once, and waits for two answers."""
    target = Site(stack, port).qemu(1, "", incoming=True)
    with contextlib.closing(target.monitor()) as qmp, pytest.raises(AssertionError, match="not capable of postcopy"):
        qmp.allow_postcopy()
