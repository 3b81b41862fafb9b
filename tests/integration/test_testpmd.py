# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's virtio-user in every ring mode, with each byte compared.

A namespace sends frames through a tap port to testpmd, which exchanges the addresses (macswap)
and sends them back: namespace -> tap port -> vhost port -> testpmd -> vhost port -> tap port.
"""

import collections
import itertools

import pytest

from peers import frames, netns, testpmd, virtlane
from peers.frames import BROADCAST, RawSocket
from peers.wait import until

TESTPMD_MAC = "52:54:00:00:00:d0"
SIZES = (60, 61, 62, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 1023, 1024, 1513, 1514,
         1515, 2035, 2036, 2037, 2047, 2048, 2049, 2164, 2176, 4095, 4096, 8191, 8192, 8999, 9000)
FLOWS = 8
WINDOW = 32  # frames on their way at once


class Echo:
    """A switch with a tap port; testpmd comes and goes behind another port."""

    def __init__(self, switch, namespace):
        self.switch = switch
        self.namespace = namespace
        switch.add_tap("host", namespace, queues=4)
        namespace.address("eth0", "10.0.0.1/24", mtu=9000)
        self.socket = RawSocket(namespace)

    def close(self):
        self.socket.close()

    def attach(self, stack, queues=1, queue_size=256, server=False, switch_queues=None, **options):
        """Starts testpmd behind a new port and returns it when its rings run."""
        path = self.switch.path("pmd.sock")
        if server:
            self.switch.add_vhost("pmd", connect=path, queues=switch_queues or queues)
            options["server"] = 1
        else:
            self.switch.add_vhost("pmd", queues=switch_queues or queues)
        stack.callback(self.switch.delete, "pmd")
        mergeable = options.get("mrg_rxbuf", 1)
        peer = stack.enter_context(testpmd.Testpmd(
            testpmd.virtio_user(path, TESTPMD_MAC, queues, queue_size, **options),
            queues=queues,
            # Without mergeable buffers a frame must fit into one.
            mbuf_size=2176 if mergeable else 9216 + 128,
            mbufs=6144 if queues > 1 or queue_size > 256 else 3072,
            memory_mb=160 if not mergeable else 96,
            forward="macswap",
            frame_size=9018,
        ))
        self.switch.wait_state("pmd", "up")
        peer.start()
        return peer

    def learn(self, random):
        """Has the switch learn the namespace's address, and waits until testpmd answers."""
        probe = frames.udp(random, 100, TESTPMD_MAC, self.socket.mac)

        def answered():
            self.socket.send(probe)
            return self.socket.collect(lambda f: f == frames.swapped(probe), 1, timeout=0.1)

        until(answered, "a frame through testpmd", timeout=10)
        self.switch.at_rest()
        self.socket.pending()

    def round_trip(self, random, sizes=SIZES, flows=FLOWS):
        """Sends frames of every size in every flow; all come back once, unchanged, in order."""
        wanted = [
            frames.udp(random, size, TESTPMD_MAC, self.socket.mac, flow, sequence)
            for sequence, size in enumerate(sizes)
            for flow in range(flows)
        ]
        returned = []
        for start in range(0, len(wanted), WINDOW):
            window = wanted[start : start + WINDOW]
            for frame in window:
                self.socket.send(frame)
            returned += self.socket.collect(
                lambda f: frames.flow_and_sequence(f) is not None, len(window), timeout=3
            )
        self.switch.at_rest()
        returned += [f for f in self.socket.pending() if frames.flow_and_sequence(f)]
        compare(wanted, returned)
        return len(wanted)


def compare(sent, returned):
    expected = [frames.swapped(frame) for frame in sent]
    missing = collections.Counter(expected) - collections.Counter(returned)
    surplus = collections.Counter(returned) - collections.Counter(expected)

    def describe(found):
        return [(len(f), frames.flow_and_sequence(f), n) for f, n in list(found.items())[:8]]

    assert not missing and not surplus, (
        f"{sum(missing.values())} of {len(sent)} frames missing, {sum(surplus.values())} damaged "
        f"or twice; (size, (flow, sequence), count): missing {describe(missing)}, "
        f"surplus {describe(surplus)}"
    )
    for flow in {frames.flow_and_sequence(f)[0] for f in sent}:
        numbers = [n for fl, n in map(frames.flow_and_sequence, returned) if fl == flow]
        assert numbers == sorted(numbers), f"flow {flow} out of order: {numbers}"


@pytest.fixture(scope="module")
def echo():
    with virtlane.Switch() as switch, netns.Namespace("echo") as namespace:
        rig = Echo(switch, namespace)
        yield rig
        rig.close()
        switch.check_law()


MATRIX = list(itertools.product((0, 1), (0, 1), (1, 0), (0, 1), (256, 1024), (1, 4)))


def mode_name(mode):
    packed, in_order, mergeable, vectorized, size, queues = mode
    words = ["packed" if packed else "split", "in_order" if in_order else "any_order",
             "mergeable" if mergeable else "single", "vector" if vectorized else "scalar",
             str(size), f"{queues}q"]
    return "-".join(words)


@pytest.mark.parametrize("mode", MATRIX, ids=mode_name)
def test_virtio_user_echoes_every_size_unchanged_and_in_order(echo, stack, seeded, say, mode):
    packed, in_order, mergeable, vectorized, size, queues = mode
    echo.attach(
        stack, queues, size, packed_vq=packed, in_order=in_order, mrg_rxbuf=mergeable,
        vectorized=vectorized,
    )
    echo.learn(seeded)
    shown = echo.switch.show("pmd")
    assert ("RING_PACKED" in shown["features"]) == bool(packed)
    assert ("IN_ORDER" in shown["features"]) == bool(in_order)
    assert ("MRG_RXBUF" in shown["features"]) == bool(mergeable)
    count = echo.round_trip(seeded)
    used = [q for q in echo.switch.show("pmd")["queues"] if q["started"] and q["used"]]
    say(f"{count} frames of 60 to 9000 bytes compared, {len(used)} rings used")
    if queues == 4:
        assert len(used) > 2, "flows were not spread over the queue pairs"


@pytest.mark.parametrize("packed", (0, 1), ids=("split", "packed"))
def test_switch_connects_to_a_listening_virtio_user(echo, stack, seeded, say, packed):
    echo.attach(stack, server=True, packed_vq=packed)
    echo.learn(seeded)
    say(f"{echo.round_trip(seeded)} frames compared")


@pytest.mark.parametrize("packed", (0, 1), ids=("split", "packed"))
def test_virtio_user_that_died_can_come_back(echo, stack, seeded, packed):
    peer = echo.attach(stack, packed_vq=packed)
    echo.learn(seeded)
    peer.console.close(first=9)  # no goodbye
    echo.switch.wait_state("pmd", "waiting")
    echo.switch.delete("pmd")
    stack.pop_all()  # the port is gone already
    with stack:
        echo.attach(stack, packed_vq=packed)
        echo.learn(seeded)
        echo.round_trip(seeded, sizes=(60, 1514, 9000))


def test_port_stop_and_start_restarts_the_rings(echo, stack, seeded):
    peer = echo.attach(stack)
    echo.learn(seeded)
    for _ in range(3):
        peer.stop()
        peer.command("port stop 0")
        peer.command("port start 0")
        peer.start()
        echo.learn(seeded)
        echo.round_trip(seeded, sizes=(60, 1514, 9000))


def test_fewer_queues_than_the_port_offers_are_enough(echo, stack, seeded):
    echo.attach(stack, queues=1, switch_queues=4)
    echo.learn(seeded)
    echo.round_trip(seeded, sizes=(60, 1514, 9000))


def test_two_applications_exchange_frames_through_the_switch(stack, say):
    """vhost port to vhost port, with real load: nothing is lost from the accounts."""
    switch = stack.enter_context(virtlane.Switch())
    for name in ("left", "right"):
        switch.add_vhost(name)
    peers = [
        stack.enter_context(testpmd.Testpmd(
            testpmd.virtio_user(switch.path(f"{name}.sock"), f"52:54:00:00:00:0{n}"),
            forward="io",
        ))
        for n, name in enumerate(("left", "right"), 1)
    ]
    for name in ("left", "right"):
        switch.wait_state(name, "up")
    peers[1].start()
    peers[0].start(first_bursts=4)
    until(lambda: switch.counters("left")["tx_frames"] > 20000, "20000 frames back", timeout=20)
    for peer in peers:
        peer.stop()
    total = switch.check_law()["total"]
    say(f"{total['rx_frames']} frames received, {total['tx_frames']} sent, {total['drops']}")


def test_application_is_told_the_mac_and_mtu_of_its_port(echo, stack, seeded):
    echo.attach(stack)
    shown = echo.switch.show("pmd")
    assert "VERSION_1" in shown["features"]
    assert shown["memory"]["regions"] >= 1
    echo.learn(seeded)
    learnt = {entry["mac"]: entry["port"] for entry in echo.switch.macs()}
    assert learnt.get(TESTPMD_MAC) == "pmd", "testpmd's address is learnt at its port"


def test_flood_reaches_an_application_once(echo, stack, seeded):
    echo.attach(stack)
    echo.learn(seeded)
    before = echo.switch.at_rest()
    echo.socket.send(frames.plain(seeded, 100, BROADCAST, echo.socket.mac))
    until(
        lambda: echo.switch.counters("pmd")["tx_frames"] > _tx(before, "pmd"), "the flooded frame"
    )
    after = echo.switch.at_rest()
    assert _tx(after, "pmd") - _tx(before, "pmd") == 1


def _tx(stats, name):
    return next(p["tx_frames"] for p in stats["ports"] if p["name"] == name)
