# SPDX-License-Identifier: BSD-3-Clause
"""A front end whose guest comes by postcopy, and whose pages come late, never, or go again.

(Real guests that come so are in test_migration.py.)
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import struct
import subprocess

import pytest

import vhostuser as vu
from peers import frames, netns, traffic, virtlane
from peers.frames import BROADCAST, RawSocket
from peers.wait import until
from vhostuser import Driver, FrontEnd, Msg, Region, Ring, mem_table, u64

OWN_MAC = "52:54:00:00:66:01"
ADVISE, LISTEN, END = 28, 29, 30
P_PAGEFAULT = 1 << 8
PAGE = 4096
PUNCH_HOLE, KEEP_SIZE = 2, 1
UFFDIO_WAKE = 0x8010AA02


def take_away(region, offset):
    """A page of the region becomes one that is not there."""
    libc = ctypes.CDLL(None, use_errno=True)
    offset = ctypes.c_int64(offset)
    if libc.fallocate(region.fd, PUNCH_HOLE | KEEP_SIZE, offset, ctypes.c_int64(PAGE)):
        raise OSError(ctypes.get_errno(), "fallocate")


class Arriving(Driver):
    """All of its memory is there but what a test takes away."""

    def __init__(self, path):
        with contextlib.ExitStack() as undo:
            self.front_end = undo.enter_context(FrontEnd(path))
            self.region = Region()
            undo.callback(self.region.close)
            self.region.bytes.write(bytes(self.region.size))
            self.rx = Ring(self.region, vu.RX, 64, 0)
            undo.callback(self.rx.close)
            self.tx = Ring(self.region, vu.TX, 64, 0x10000)
            undo.callback(self.tx.close)
            self.front_end.hello(protocol=vu.P_MQ | vu.P_REPLY_ACK | P_PAGEFAULT)
            self.front_end.send(ADVISE)
            _, fds, _, _ = socket.recv_fds(self.front_end.socket, 12, 1)
            (self.faults,) = fds
            undo.callback(os.close, self.faults)
            assert self.front_end.status_of(LISTEN) == 0
            self.front_end.send(Msg.SET_MEM_TABLE, mem_table([self.region.description()]), [self.region.fd])
            _, _, answer = self.front_end.receive()
            self.fault_base = struct.unpack_from("=IIQQQQ", answer)[4]
            self.front_end.send(Msg.SET_MEM_TABLE, u64(0))
            self.rx.set_up(self.front_end)
            self.tx.set_up(self.front_end)
            self._undo = undo.pop_all()

    def send_missing(self, frame):
        """Sends a frame whose page is not there; returns what is to be brought."""
        self.write(self.buffer(), bytes(vu.HEADER) + frame)
        content = self.read(self.buffer(), PAGE)
        take_away(self.region, self.BUFFERS)
        self.tx.describe(0, self.buffer(), vu.HEADER + len(frame))
        self.tx.offer(0)
        return content

    def asked(self):
        """The offset of the page that is asked for next."""
        assert select.select([self.faults], [], [], 5)[0], "no page was asked for"
        event = os.read(self.faults, 32)
        return struct.unpack_from("=Q", event, 16)[0] // PAGE * PAGE - self.fault_base

    def bring(self, content):
        self.write(self.buffer(), content)
        wake = struct.pack("=QQ", self.fault_base + self.BUFFERS, PAGE)
        buffer = ctypes.create_string_buffer(wake)
        if ctypes.CDLL(None).ioctl(self.faults, ctypes.c_ulong(UFFDIO_WAKE), buffer):
            raise OSError("UFFDIO_WAKE")


class Rig:
    def __init__(self, stack):
        self.switch = stack.enter_context(virtlane.Switch())
        self.hosts = []
        for number in (1, 2):
            namespace = stack.enter_context(netns.Namespace(f"by{number}"))
            self.switch.add_tap(f"by{number}", namespace)
            namespace.address("eth0", f"10.0.0.{number}/24")
            self.hosts.append(namespace)
        self.witness = stack.enter_context(RawSocket(self.hosts[0]))
        self.path = self.switch.add_vhost("vm")
        traffic.answers(self.hosts[0], "10.0.0.2")

    def others_go_on(self):
        """A hundred questions of others, on the same worker, are answered at once."""
        self.hosts[0].run("ping -q -c 100 -i 0.005 -W 0.2 10.0.0.2")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.switch.pid}/fd"))


@pytest.fixture
def rig(stack):
    made = Rig(stack)
    before = made.descriptors()
    yield made
    until(lambda: made.descriptors() == before, f"{before} descriptors as before")
    made.switch.check_law()


@pytest.fixture
def guest(rig):
    with Arriving(rig.path) as running:
        rig.switch.wait_state("vm", "up")
        yield running
        running.front_end.finish()


def test_a_page_that_comes_late_delays_its_own_guest_alone(rig, guest, seeded):
    frame = frames.plain(seeded, 100, BROADCAST, OWN_MAC)
    content = guest.send_missing(frame)
    assert guest.asked() == guest.BUFFERS
    rig.others_go_on()
    assert guest.tx.used_index() == 0
    guest.bring(content)
    rig.witness.expect(frame)
    assert guest.front_end.ask_u64(END) == 0
    frame = frames.plain(seeded, 100, BROADCAST, OWN_MAC)
    guest.send_frame(frame, slot=2)
    rig.witness.expect(frame)


def test_a_page_that_never_comes_keeps_nobody_from_anything(rig, guest, seeded):
    guest.send_missing(frames.plain(seeded, 100, BROADCAST, OWN_MAC))
    assert guest.asked() == guest.BUFFERS
    rig.others_go_on()
    refused = rig.switch.upgrade(check=False)
    assert refused.returncode and "is being migrated" in refused.stderr
    rig.switch.delete("vm")
    rig.others_go_on()
    rig.switch.add_vhost("vm")


def fetchers(parent=None):
    """Processes that wait for pages, of one switch or of all."""
    of = [] if parent is None else ["-P", str(parent)]
    return subprocess.run(["pgrep", *of, "-f", "virtlane-fetcher"], capture_output=True, text=True).stdout.split()


def test_without_its_fetcher_a_guest_gets_its_pages_when_they_come(rig, guest, seeded):
    frame = frames.plain(seeded, 100, BROADCAST, OWN_MAC)
    content = guest.send_missing(frame)
    assert guest.asked() == guest.BUFFERS
    (fetcher,) = fetchers(rig.switch.pid)
    os.kill(int(fetcher), signal.SIGKILL)
    until(lambda: "has ended" in rig.switch.show("vm")["reason"], "word of it")
    rig.others_go_on()
    guest.write(guest.buffer(), content)
    rig.witness.expect(frame)
    assert guest.front_end.ask_u64(END) == 0
    until(lambda: fetchers(rig.switch.pid) == [], "no process left")


def test_a_fetcher_ends_with_its_switch(stack, seeded):
    before = fetchers()
    switch = stack.enter_context(virtlane.Switch())
    with Arriving(switch.add_vhost("vm")) as guest:
        switch.wait_state("vm", "up")
        guest.send_missing(frames.plain(seeded, 100, BROADCAST, OWN_MAC))
        assert guest.asked() == guest.BUFFERS
        assert len(fetchers(switch.pid)) == 1
        switch.kill()
        until(lambda: fetchers() == before, "no process more than before")


def test_a_page_that_goes_again_ends_its_own_session_alone(rig, seeded):
    with Arriving(rig.path) as guest:
        rig.switch.wait_state("vm", "up")
        frame = frames.plain(seeded, 100, BROADCAST, OWN_MAC)
        guest.send_frame(frame)
        rig.witness.expect(frame)
        take_away(guest.region, guest.BUFFERS)
        guest.tx.offer(0)
        until(lambda: "memory short" in rig.switch.show("vm")["reason"], "the session's end")
        rig.others_go_on()


def test_a_receive_buffer_that_is_missing_is_as_none(rig, guest, seeded):
    """Frames for it are dropped, as with a full ring, until it has come."""
    take_away(guest.region, guest.BUFFERS)
    guest.rx.describe(0, guest.buffer(), 2048, vu.D_WRITE)
    guest.rx.offer(0)
    frame = frames.plain(seeded, 100, BROADCAST, rig.witness.mac)
    rig.witness.send(frame)
    assert guest.asked() == guest.BUFFERS
    until(lambda: rig.switch.drops("vm", "no_buffer") >= 1, "a counted drop")
    assert guest.rx.used_index() == 0
    guest.bring(bytes(PAGE))

    def received():
        rig.witness.send(frame)
        return guest.rx.used_index() == 1

    until(received, "the buffer in use")
