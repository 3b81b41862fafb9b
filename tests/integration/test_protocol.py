# SPDX-License-Identifier: BSD-3-Clause
"""vhost-user as a well-behaved front end uses it: what rings do between the messages."""

import struct

import pytest

from peers import frames, netns, virtlane
from peers.frames import BROADCAST, RawSocket
from peers.wait import until
import vhostuser as vu
from vhostuser import Driver, Msg, u64, vring_state

OWN = "52:54:00:00:00:77"


@pytest.fixture(params=("workers = auto", "workers = 0-1"), ids=("one-worker", "two-workers"))
def switch(request, stack):
    made = stack.enter_context(virtlane.Switch(config=f"[switch]\n{request.param}\n"))
    yield made
    made.check_law()


@pytest.fixture
def witness(switch, stack):
    """A raw socket in a namespace behind a tap port."""
    namespace = stack.enter_context(netns.Namespace("witness"))
    switch.add_tap("witness", namespace)
    return stack.enter_context(RawSocket(namespace))


@pytest.fixture
def driver(switch, witness, stack):
    running = stack.enter_context(Driver(switch.add_vhost("vm", queues=2)))
    switch.wait_state("vm", "up")
    return running


def test_send_rarp_tells_the_network_where_an_address_is(switch, witness, driver):
    mac = bytes.fromhex(OWN.replace(":", ""))
    driver.front_end.send(Msg.SEND_RARP, mac + bytes(2))
    arp = struct.pack("!HHHBBH", 0x8035, 1, 0x0800, 6, 4, 3) + mac + bytes(4) + mac + bytes(4)
    witness.expect((b"\xff" * 6 + mac + arp).ljust(60, b"\0"))
    assert [entry["port"] for entry in switch.macs() if entry["mac"] == OWN] == ["vm"]


def test_disabled_ring_takes_frames_and_discards_them(switch, witness, driver, seeded):
    driver.front_end.send(Msg.SET_VRING_ENABLE, vring_state(vu.TX, 0))
    assert driver.front_end.ask_u64(Msg.GET_QUEUE_NUM) == 2  # it was handled by now
    driver.send_frame(frames.plain(seeded, 100, BROADCAST, OWN))
    until(lambda: driver.tx.used_index() == 1, "the frame taken")
    until(lambda: switch.drops("vm", "queue_disabled") == 1, "a counted drop")
    driver.front_end.send(Msg.SET_VRING_ENABLE, vring_state(vu.TX, 1))
    assert driver.front_end.ask_u64(Msg.GET_QUEUE_NUM) == 2
    frame = frames.plain(seeded, 100, BROADCAST, OWN)
    driver.send_frame(frame, slot=2)
    witness.expect(frame)


def test_frames_of_a_port_whose_link_is_down_go_nowhere(switch, witness, driver, seeded):
    """A driver need not know, or care."""
    switch.set("vm", link="down")
    driver.send_frame(frames.plain(seeded, 100, BROADCAST, OWN))
    until(lambda: switch.drops("vm", "port_down") == 1, "a counted drop")
    assert driver.tx.used_index() == 1
    switch.set("vm", link="up")
    frame = frames.plain(seeded, 100, BROADCAST, OWN)
    driver.send_frame(frame, slot=2)
    witness.expect(frame)


def test_ring_starts_with_its_message_not_with_a_kick(switch, witness, driver, seeded):
    base = stop(driver, driver.tx)
    frame = frames.plain(seeded, 100, BROADCAST, OWN)
    kick, driver.tx.kick = driver.tx.kick, vu.os.eventfd(0)
    driver.send_frame(frame)  # kicks nobody
    vu.os.close(driver.tx.kick)
    driver.tx.kick = kick
    driver.tx.set_up(driver.front_end, base)
    witness.expect(frame)


def test_ring_without_a_kick_descriptor_is_looked_at_while_all_sleeps(
    switch, witness, driver, seeded
):
    base = stop(driver, driver.tx)
    driver.tx.set_up(driver.front_end, base)
    driver.front_end.send(Msg.SET_VRING_KICK, u64(vu.TX | vu.NO_FD))
    driver.front_end.ask_u64(Msg.GET_FEATURES)  # it was handled by now
    for _ in range(3):
        frame = frames.plain(seeded, 100, BROADCAST, OWN)
        driver.send_frame(frame)
        witness.expect(frame)


def stop(driver, ring):
    answer = driver.front_end.ask(Msg.GET_VRING_BASE, vring_state(ring.index, 0))
    index, base = struct.unpack("=II", answer)
    assert index == ring.index
    return base


def test_ring_that_was_stopped_goes_on_where_it_was(switch, witness, driver, seeded):
    for round_number in range(70):  # once around a ring of 64
        frame = frames.plain(seeded, 100, BROADCAST, OWN)
        driver.send_frame(frame)
        witness.expect(frame)
        base = stop(driver, driver.tx)
        assert base == round_number + 1
        driver.tx.set_up(driver.front_end, base)


def test_stopped_ring_is_left_alone(switch, witness, driver, seeded):
    stop(driver, driver.tx)
    driver.send_frame(frames.plain(seeded, 100, BROADCAST, OWN))
    driver.front_end.ask_u64(Msg.GET_FEATURES)
    other = frames.plain(seeded, 100, BROADCAST, witness.mac)
    witness.send(other)  # the worker has had its turn when this has been dealt with
    until(lambda: switch.counters("witness")["rx_frames"] >= 1, "a frame from the witness")
    assert driver.tx.used_index() == 0


def test_status_is_kept_and_given_back(switch, stack):
    with vu.FrontEnd(switch.add_vhost("vm")) as front_end:
        front_end.hello(protocol=vu.P_STATUS | vu.P_REPLY_ACK)
        for status in (1, 3, 11, 15):
            assert front_end.status_of(Msg.SET_STATUS, u64(status)) == 0
            assert front_end.ask_u64(Msg.GET_STATUS) == status


@pytest.mark.parametrize("queues", (127, 128))
def test_control_queue_is_offered_only_where_a_message_can_name_it(switch, queues):
    with vu.FrontEnd(switch.add_vhost("vm", queues=queues)) as front_end:
        offered = front_end.ask_u64(Msg.GET_FEATURES)
        assert bool(offered & 1 << 17) == (2 * queues < 256)  # CTRL_VQ


def test_mtu_that_is_too_small_is_refused(switch):
    with vu.FrontEnd(switch.add_vhost("vm")) as front_end:
        front_end.hello()
        assert front_end.status_of(Msg.NET_SET_MTU, u64(1500)) == 0
        assert front_end.status_of(Msg.NET_SET_MTU, u64(67)) != 0
