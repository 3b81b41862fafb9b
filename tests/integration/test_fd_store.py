# SPDX-License-Identifier: BSD-3-Clause
"""A service manager keeps what virtlaned leaves: after a crash no session begins anew."""

import os

import pytest

from peers import netns, traffic
from peers.guests import Nic, Qemu
from peers.pktgen import Pktgen
from peers.soak import times
from peers.systemd import Service
from peers.wait import until
from vhostuser import Driver, Msg, vring_state

@pytest.fixture
def service(stack):
    return stack.enter_context(Service(config=""))


def crash(service):
    service.left()
    service.kill()
    service.start()


@pytest.mark.parametrize("queues", [1, 4])
@pytest.mark.parametrize("ring", ["split", "split-in-order", "packed", "packed-in-order"])
@pytest.mark.parametrize("_", range(times(1)))
def test_sessions_survive_kills_under_load(service, say, ring, queues, _):
    """The generator does not reconnect: a session that ends would end it."""
    for name, other in ("ab", "ba"):
        service.add_vhost(name, queues=4, cross_connect=other)
    with Pktgen("--verify", "--time", 0, "--rate", "200k", "--threads", 1, "--ring", ring, "--queues", queues,
                "--queue-size", 256, "--drain", 3, service.path("a.sock"), service.path("b.sock")) as client:
        service.wait_state("a", "up")
        service.wait_state("b", "up")
        for _ in range(3):
            crash(service)
            assert service.show("a")["state"] == service.show("b")["state"] == "up"
        client.interrupt()
        report = client.report(check=False)  # it minds what came twice
    (direction,) = report["directions"]
    say(f"{direction['sent']} frames, 3 kills: {direction['duplicates']} came twice")
    assert report["reconnects"] == direction["lost"] == direction["corrupt"] == direction["reordered"] == 0
    # Of each interrupted burst, in both directions of two devices.
    assert direction["duplicates"] <= 3 * 64
    assert direction["received"] > 20000


def test_guest_goes_on_and_so_does_all_that_was_set(stack, service):
    """QEMU that would not reconnect, a tap, settings that are in no file, addresses, counters."""
    host = stack.enter_context(netns.Namespace("host"))
    service.add_tap("host", host)
    host.address("eth0", "10.0.0.1/24")
    nic = Nic(service.add_vhost("vm", vlan=7), "52:54:00:00:01:01")
    service.set("host", vlan=7)
    guest = stack.enter_context(Qemu(nic))
    guest.address("eth0", "10.0.0.10/24")
    service.wait_state("vm", "up")
    traffic.answers(guest, "10.0.0.1")
    peer = service.show("vm")["peer"]
    index = host.run("cat /sys/class/net/eth0/ifindex")
    crash(service)
    assert service.show("vm")["peer"] == peer
    assert service.show("vm")["state"] == "up"
    assert service.show("vm")["settings"]["vlan"] == 7
    assert {entry["port"] for entry in service.macs()} == {"vm", "host"}
    assert service.show("vm")["rx_frames"] > 0
    traffic.answers(guest, "10.0.0.1", count=3)
    # It has its address still.
    assert host.run("cat /sys/class/net/eth0/ifindex") == index


def is_changing(service, port_id):
    """As the header says (src/control/fd_store.c): a magic number, the document's, a flag a port."""
    (header,) = (fd for name, fd in service.manager.fds.items() if name.endswith("-header"))
    return os.pread(header, 1, 16 + port_id) == b"\1"


def test_what_was_changing_begins_afresh(service):
    """A session with messages that were not noted yet is not trusted; its peer connects again."""
    service.add_vhost("still")
    with Driver(service.add_vhost("vm")) as driver, Driver(service.path("still.sock")):
        service.wait_state("vm", "up")
        service.wait_state("still", "up")
        peer = service.show("still")["peer"]
        service.left()
        with service.manager.paused():
            driver.front_end.send(Msg.SET_VRING_ENABLE, vring_state(0, 0))
            until(lambda: is_changing(service, 1), "the mark")
            assert not is_changing(service, 0)
            service.kill()
        service.start()
        assert service.show("vm")["state"] == "waiting"
        assert service.show("vm")["peer"] == ""
        # Frames wait for the other one to come back, for a moment.
        service.wait_state("still", "up")
        assert service.show("still")["peer"] == peer
    with Driver(service.path("vm.sock")):
        service.wait_state("vm", "up")


def test_an_end_that_was_wanted_leaves_nothing(service):
    service.add_vhost("vm")
    assert service.left()
    service.stop()
    until(lambda: not service.manager.fds, "nothing left")
    service.start()
    assert service.ports() == []


def test_what_is_left_does_not_grow(service, stack):
    """Sessions and ports come and go."""
    service.add_vhost("vm")
    before = len(service.left())
    for round_number in range(5):
        service.add_vhost("other")
        with Driver(service.path("vm.sock")), Driver(service.path("other.sock")):
            service.wait_state("vm", "up")
            assert len(service.left()) > before
        service.delete("other")
    assert len(service.left()) == before


def test_an_interface_is_gone_when_its_port_is(service, stack):
    """Whoever else holds its descriptor would keep it there, and the next port from having it."""
    host = stack.enter_context(netns.Namespace("host"))
    service.add_tap("t", host)
    service.left()
    service.delete("t")
    service.add_tap("t", host, queues=2)
    service.left()
    service.delete("t")
    assert "eth0" not in host.run("ls /sys/class/net").split()


def test_a_peer_sees_the_end_of_its_session_at_once(service):
    with Driver(service.add_vhost("vm")) as driver:
        service.wait_state("vm", "up")
        service.left()
        with service.manager.paused():
            driver.front_end.send(Msg.SET_VRING_NUM, vring_state(0, 0))  # no size
            driver.front_end.socket.settimeout(5)
            assert driver.front_end.socket.recv(1) == b""
        service.wait_state("vm", "error")


def test_what_there_is_no_room_for_begins_afresh(stack):
    """And the others do not."""
    service = stack.enter_context(Service(config="", room=14))
    with Driver(service.add_vhost("first")), Driver(service.add_vhost("second")):
        service.wait_state("first", "up")
        service.wait_state("second", "up")
        peer = service.show("first")["peer"]
        assert len(service.left()) <= 14
        service.kill()
        service.start()
        assert service.show("first")["peer"] == peer
        assert service.show("second")["peer"] == ""
        service.wait_state("first", "up")


def test_an_upgrade_leaves_what_is_its_own(service, stack):
    with Driver(service.add_vhost("vm")):
        service.wait_state("vm", "up")
        before = service.left()
        service.upgrade()
        after = service.left()
        assert len(after) == len(before) and not after & before
        peer = service.show("vm")["peer"]
        crash(service)
        assert service.show("vm")["peer"] == peer


DAMAGES = {
    "no header": lambda names: [name for name in names if name.endswith("-header")],
    "no document": lambda names: [name for name in names if "-document-" in name],
    "a port's descriptor": lambda names: sorted(name for name in names if name.split("-")[2].isdigit())[-1:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_state_that_is_not_whole_is_left_alone(service, damage):
    """What is missing begins afresh, and the rest goes on."""
    with Driver(service.add_vhost("vm")):
        service.wait_state("vm", "up")
        names = service.left()
        service.kill()
        for name in DAMAGES[damage](names):
            os.close(service.manager.fds.pop(name))
        service.start()
        ports = service.ports()
        if damage == "a port's descriptor":
            assert [port["state"] for port in ports] == ["waiting"]
        else:
            assert ports == []  # as the file says
            service.add_vhost("vm")
    with Driver(service.path("vm.sock")):
        service.wait_state("vm", "up")
        until(lambda: not any(name in service.manager.fds for name in names), "what was left before taken back")


def test_a_state_counts_once(service):
    """Should it be what kills its successor, the next one starts afresh."""
    service.add_vhost("vm")
    service.left()
    service.kill()
    service.start()
    assert [port["name"] for port in service.ports()] == ["vm"]
    service.kill()  # before it has left anything itself
    service.start()
    assert service.ports() == []
