# SPDX-License-Identifier: BSD-3-Clause
"""Front ends that go and come back, in order or not: their ports wait, and nobody else is disturbed."""

import os
import pathlib
import signal
import time

import pytest

from peers.pktgen import Pktgen
from peers.relay import Relay
from peers.soak import times
from peers.wait import until
from vhostuser import Driver, FrontEnd, Msg, Region, Ring, mem_table

CYCLES = 10000


class Held:
    """What a process holds: descriptors, mappings, KiB of memory."""

    def __init__(self, pid):
        process = pathlib.Path(f"/proc/{pid}")
        self.descriptors = len(os.listdir(process / "fd"))
        self.mappings = len((process / "maps").read_text().splitlines())
        (resident,) = [line for line in (process / "smaps_rollup").read_text().splitlines()
                       if line.startswith("Pss_Anon:")]
        self.anonymous = int(resident.split()[1])

    def __str__(self):
        return f"{self.descriptors} descriptors, {self.mappings} mappings, {self.anonymous} KiB"


def wait_for_nobody(switch, name):
    until(lambda: switch.show(name)["peer"] == "", f"{name} without a session")


def test_ten_thousand_sessions_leave_nothing_behind(switch, say):
    """Each goes as far as another message, and some to the end."""
    path = switch.add_vhost("vm")
    region = Region()
    rings = [Ring(region, index, 64, index * 0x8000) for index in (0, 1)]

    def steps(front):
        yield from (
            lambda: front.hello(),
            lambda: front.share(region),
            lambda: rings[0].set_up(front),
            lambda: rings[1].set_up(front),
            lambda: front.status_of(Msg.SET_VRING_ENABLE, bytes([1, 0, 0, 0, 1, 0, 0, 0])),
        )

    def run(first, last):
        for cycle in range(first, last):
            front = FrontEnd(path)
            for number, step in enumerate(steps(front)):
                if number == cycle % 6:
                    break
                step()
            front.close()
        wait_for_nobody(switch, "vm")

    run(0, 500)
    before = Held(switch.pid)
    run(500, CYCLES)
    after = Held(switch.pid)
    say(f"{before}; after {CYCLES} sessions: {after}")
    assert after.descriptors == before.descriptors
    assert after.mappings <= before.mappings + 4
    assert after.anonymous <= before.anonymous + 1024
    for ring in rings:
        ring.close()
    region.close()


def test_a_session_may_end_at_every_byte_of_a_message(switch):
    """SET_MEM_TABLE has descriptors, and takes all kinds of paths."""
    path = switch.add_vhost("vm")
    region = Region()
    payload = mem_table([region.description()])
    whole = bytes([Msg.SET_MEM_TABLE, 0, 0, 0, 1, 0, 0, 0, len(payload), 0, 0, 0]) + payload
    held = None
    for size in range(1, len(whole)):
        front = FrontEnd(path)
        front.hello()
        front.send_bytes(whole[:size], [region.fd])
        front.close()
        wait_for_nobody(switch, "vm")
        held = held or Held(switch.pid).descriptors
    assert Held(switch.pid).descriptors == held
    region.close()
    with Driver(path):
        until(lambda: switch.show("vm")["memory"]["regions"] == 1, "a session after all of them")


def add_wires(switch):
    for name, other in ("ab", "ba", "cd", "dc"):
        switch.add_vhost(name, cross_connect=other, queues=4)


@pytest.mark.parametrize("ring", ["split", "packed"])
def test_a_front_end_that_is_killed_disturbs_nobody(switch, seeded, say, ring):
    """100 of them, while others' frames are counted."""
    add_wires(switch)
    with Pktgen("--verify", "--latency", "--time", 0, "--rate", "100k", "--threads", 1, "--drain", 3,
                switch.path("c.sock"), switch.path("d.sock")) as others:
        switch.wait_state("d", "up")
        for number in range(times(100)):
            victim = Pktgen("--time", 0, "--threads", 1, "--ring", ring, "--queues", 1 + number % 4,
                            switch.path("a.sock"), switch.path("b.sock"))
            if number % 4:
                switch.wait_state("b", "up")
            time.sleep(seeded.uniform(0, 0.03))
            victim.process.send_signal(signal.SIGKILL)
            victim.close()
            wait_for_nobody(switch, "a")
            wait_for_nobody(switch, "b")
        others.interrupt()
        report = others.report()
    (direction,) = report["directions"]
    say(f"{direction['sent']} frames of others, longest way {direction['latency_ns']['max'] / 1e6:.1f} ms")
    assert direction["sent"] > 20000
    assert report["reconnects"] == direction["lost"] == direction["corrupt"] == direction["reordered"] == 0
    # Its place is free for the next one.
    with Pktgen("--verify", "--time", 0.2, "--threads", 1, switch.path("a.sock"), switch.path("b.sock")) as again:
        assert again.report()["directions"][0]["lost"] == 0


@pytest.mark.parametrize("ring", ["split", "packed"])
def test_a_connection_may_break_at_every_byte_of_the_handshake(switch, say, ring):
    """For the driver the back end dies, for the switch the front end, at the same moment: first after one byte,
    then after two, up to a session that stands. No frame is lost over all of them."""
    add_wires(switch)
    with Relay(switch.path("relay.sock"), switch.path("a.sock")) as relay, \
            Pktgen("--verify", "--reconnect", 120, "--time", 0, "--rate", "50k", "--threads", 1, "--ring", ring,
                   "--drain", 5, switch.path("relay.sock"), switch.path("b.sock")) as client:
        switch.wait_state("a", "up")
        switch.wait_state("b", "up")
        until(lambda: switch.counters("a")["rx_frames"] > 1000, "frames")
        whole = relay.passed
        held = Held(switch.pid).descriptors
        client_held = Held(client.process.pid).descriptors
        relay.begin_cutting()
        until(lambda: client.process.poll() is not None or not relay.is_cutting, "the last byte", 120)
        switch.wait_state("a", "up")
        until(lambda: Held(switch.pid).descriptors == held, "all else closed")
        assert Held(client.process.pid).descriptors == client_held
        time.sleep(0.2)
        client.interrupt()
        report = client.report(check=False)
    (direction,) = report["directions"]
    say(f"{relay.connections} connections for {whole} bytes; {direction['sent']} frames sent, {direction['lost']} lost")
    assert relay.connections > whole / 2
    assert direction["lost"] == direction["corrupt"] == direction["reordered"] == 0
