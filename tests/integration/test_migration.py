# SPDX-License-Identifier: BSD-3-Clause
"""Live migration of a stock guest between two QEMU processes, each on a switch of its own.

The guest receives all the while, and reads it late: at the moment when it moves there are megabytes in its
memory that the device has just written, and nobody looked at. Their checksums were offloaded, so only the
hash tells whether a page of them was left behind. (The kernel is told not to clear the pages that it gives to
the device, which would have QEMU see them as written, too.)
"""

import contextlib
import hashlib
import socket
import threading
import time

import pytest

from peers import netns, traffic, virtlane
from peers.guests import Nic, Qemu
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
            self._socket.sendall(piece)
            self._hash.update(piece)
            self.sent += len(piece)
            number += 1
            time.sleep(1 / 32)

    def end(self):
        """Returns the hash."""
        self._stop.set()
        self._thread.join()
        self._socket.close()
        return self._hash.hexdigest()


class Site:
    """Two switches that are joined as by a cable, and a host behind the first."""

    def __init__(self, stack):
        self.stack = stack
        self.switches = [stack.enter_context(virtlane.Switch()) for _ in range(2)]
        self.host = stack.enter_context(netns.Namespace("host"))
        self.switches[0].add_tap("host", self.host)
        self.host.address("eth0", f"{HOST}/24")
        trunk = self.switches[0].add_vhost("trunk")
        self.switches[1].add("trunk", "virtio", connect=trunk)

    def qemu(self, number, properties, port, **options):
        path = self.switches[number].add_vhost("vm", **port)
        nic = Nic(path, MAC, queues=port.get("queues", 1), properties=properties)
        return self.stack.enter_context(
            Qemu(nic, name=f"vm{number}", migrates=True, cmdline="init_on_alloc=0", **options))


VARIANTS = {
    "split": ("", {}),
    "packed": ("packed=on", {}),
    "no-mergeable": ("mrg_rxbuf=off", {}),
    "two-pairs": ("", {"queues": 2}),
}


WAYS = [(way, variant) for way in ("precopy", "postcopy") for variant in VARIANTS
        if (way, variant) != ("postcopy", "two-pairs")]


@pytest.mark.parametrize("way, variant", WAYS)
@pytest.mark.parametrize("_", range(times(1)))
def test_guest_moves_while_it_receives(stack, seeded, say, way, variant, _):
    properties, port = VARIANTS[variant]
    if way == "postcopy":
        port = {**port, "postcopy": "yes"}
    site = Site(stack)
    guest = site.qemu(0, properties, port)
    guest.address("eth0", f"{GUEST}/24")
    site.switches[0].wait_state("vm", "up")
    traffic.answers(guest, HOST)
    target = site.qemu(1, properties, port, incoming=True)
    guest.run("echo 4096 16000000 32000000 > /proc/sys/net/ipv4/tcp_rmem")
    guest.run(f"nc -l -p {PORT} | ({SLOWLY}) | sha256sum > /tmp/hash &"
              f" until grep -qs ':{PORT:04X} 0*:0000 0A' /proc/net/tcp*; do sleep 0.05; done")
    stream = Stream(site.host, seeded)
    result = guest.migrate_to(target, postcopy=way == "postcopy")
    during = stream.sent
    assert (way == "postcopy") == (result["ram"]["postcopy-requests"] > 0), result
    guest.close()
    traffic.answers(target, HOST)
    assert target.run("[ -s /tmp/hash ] || echo reading").strip() == "reading"
    target.run("touch /tmp/fast")
    expected = stream.end()
    found = target.run("n=0; until [ -s /tmp/hash ] || [ $n -gt 150 ]; do n=$((n + 1)); sleep 0.1;"
                       " done; cat /tmp/hash", timeout=30).split()[0]
    say(f"{result['downtime']} ms of downtime, {result['ram']['dirty-sync-count']} rounds;"
        f" {during >> 20} MiB sent before, {(stream.sent - during) >> 10} KiB after")
    assert found == expected
    assert site.switches[1].show("vm")["rx_frames"] > 0
    for switch in site.switches:
        switch.check_law()


@pytest.mark.parametrize("port", ({"queues": 2, "postcopy": "yes"}, {}), ids=("two-pairs", "not-wished"))
def test_postcopy_is_refused_before_it_begins(stack, port):
    """With two pairs QEMU 10 starts a device for each, sends the memory once, and waits for two answers."""
    site = Site(stack)
    target = site.qemu(1, "", port, incoming=True)
    with contextlib.closing(target.monitor()) as qmp, pytest.raises(AssertionError, match="not capable of postcopy"):
        qmp.allow_postcopy()
