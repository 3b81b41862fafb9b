# SPDX-License-Identifier: BSD-3-Clause
"""A front end that breaks the rules: its port says why, and nobody else notices."""

import contextlib
import os
import socket
import struct

import pytest

import vhostuser as vu
from peers import frames, netns, traffic, virtlane
from peers.frames import BROADCAST, RawSocket
from peers.wait import until
from vhostuser import (D_INDIRECT, D_NEXT, D_WRITE, HEADER, Driver, FrontEnd, Msg, Region, u64,
                       vring_state)

OWN_MAC = "52:54:00:00:66:01"
HUGE = (1 << 64) - 4096


class Rig:
    """A switch with the attacked port "bad" and two taps that must keep talking."""

    def __init__(self, stack):
        self.switch = stack.enter_context(virtlane.Switch())
        self.hosts = []
        for number in (1, 2):
            namespace = stack.enter_context(netns.Namespace(f"by{number}"))
            self.switch.add_tap(f"by{number}", namespace)
            namespace.address("eth0", f"10.0.0.{number}/24")
            self.hosts.append(namespace)
        self.witness = stack.enter_context(RawSocket(self.hosts[0]))
        self.path = self.switch.add_vhost("bad", queues=2)

    def others_go_on(self):
        traffic.answers(self.hosts[0], "10.0.0.2", count=1)

    def error(self):
        """Waits for the port's error and returns its reason."""
        shown = self.switch.wait_state("bad", "error", timeout=5)
        assert shown["reason"], f"no reason given: {shown}"
        return shown["reason"]

    def behaves(self, driver, random):
        """A well-behaved frame goes through in both directions."""
        driver.offer_receive_buffers(4)
        frame = frames.plain(random, 100, BROADCAST, OWN_MAC)
        driver.send_frame(frame)
        self.witness.expect(frame)
        answer = frames.plain(random, 300, OWN_MAC, self.witness.mac)
        self.witness.send(answer)

        def arrived():
            return answer in [driver.received(n) for n in range(driver.rx.used_index())]

        until(arrived, "the answer in a receive buffer", timeout=5)

    def recovers(self, random):
        """A front end that behaves connects after one that did not."""
        with Driver(self.path) as driver:
            self.switch.wait_state("bad", "up")
            self.behaves(driver, random)
            driver.front_end.finish()
        self.others_go_on()

    def resources(self):
        """Descriptors and mappings of virtlaned."""
        base = f"/proc/{self.switch.pid}"
        with open(f"{base}/maps", encoding="ascii") as maps:
            mappings = sum("memfd:guest" in line for line in maps)
        return len(os.listdir(f"{base}/fd")), mappings


@pytest.fixture(scope="module")
def rig():
    with contextlib.ExitStack() as stack:
        made = Rig(stack)
        yield made
        made.switch.check_law()


@pytest.fixture(autouse=True)
def unharmed(rig, seeded):
    """After every test: reconnecting clears the error, and nothing leaked."""
    before = rig.resources()
    yield
    rig.recovers(seeded)
    until(lambda: rig.resources() == before, f"descriptors and mappings as before {before}")


@pytest.fixture
def front_end(rig, stack):
    """Connected, features negotiated, nothing shared."""
    connected = stack.enter_context(FrontEnd(rig.path))
    connected.hello()
    return connected


@pytest.fixture
def region(stack):
    made = Region()
    stack.callback(made.close)
    return made


@pytest.fixture
def driver(rig, stack):
    running = stack.enter_context(
        Driver(rig.path, features=vu.F_VERSION_1 | vu.F_MRG_RXBUF | vu.F_INDIRECT)
    )
    rig.switch.wait_state("bad", "up")
    return running


@pytest.fixture
def packed(rig, stack):
    running = stack.enter_context(
        Driver(rig.path, features=vu.F_VERSION_1 | vu.F_MRG_RXBUF | vu.F_INDIRECT | vu.F_PACKED)
    )
    rig.switch.wait_state("bad", "up")
    return running


# Behaving well, as the measure of the rest


def test_well_behaved_front_end_exchanges_frames(rig, driver, seeded):
    rig.behaves(driver, seeded)


def test_driver_is_notified_of_used_buffers(driver, seeded):
    driver.send_frame(frames.plain(seeded, 100, BROADCAST, OWN_MAC))
    assert driver.called(driver.tx)


# Messages


def test_unknown_message_is_refused_with_a_status(front_end):
    for number in (0, 99, 1000, 0xFFFFFFFF):
        assert front_end.status_of(number, u64(0)) != 0
    assert front_end.ask_u64(Msg.GET_QUEUE_NUM) == 2, "the connection lives on"


def test_unknown_message_without_a_reply_ends_the_session(rig, front_end):
    front_end.send(99, u64(0))
    assert "99" in rig.error()


def test_wrong_version_is_an_error(rig, front_end):
    front_end.send(Msg.GET_FEATURES, flags=2)
    assert "version" in rig.error()


def test_oversized_message_is_an_error(rig, front_end):
    front_end.send(Msg.SET_OWNER, size=0x7FFFFFFF)
    assert "large" in rig.error()


SIZED = {
    Msg.SET_FEATURES: 8, Msg.SET_VRING_NUM: 8, Msg.SET_VRING_ADDR: 40, Msg.SET_VRING_BASE: 8,
    Msg.GET_VRING_BASE: 8, Msg.SET_VRING_KICK: 8, Msg.SET_VRING_CALL: 8, Msg.SET_VRING_ERR: 8,
    Msg.SET_PROTOCOL_FEATURES: 8, Msg.SET_VRING_ENABLE: 8, Msg.SEND_RARP: 8, Msg.NET_SET_MTU: 8,
    Msg.ADD_MEM_REG: 40, Msg.REM_MEM_REG: 40, Msg.SET_STATUS: 8,
}


@pytest.mark.parametrize("request_number", SIZED, ids=lambda number: number.name)
def test_message_of_a_wrong_size_ends_the_session(rig, request_number):
    size = SIZED[request_number]
    for wrong in (0, 1, size - 1, size + 1, 400):
        with FrontEnd(rig.path) as front_end:
            front_end.hello()
            front_end.send(request_number, bytes(wrong))
            assert request_number.name in rig.error()
            front_end.finish()


@pytest.mark.parametrize("size", (0, 7, 8, 12, 39))
def test_memory_table_that_is_cut_short_is_refused(rig, region, size):
    with FrontEnd(rig.path) as front_end:
        front_end.hello()
        table = vu.mem_table([region.description()])
        front_end.send(Msg.SET_MEM_TABLE, table[:size], [region.fd])
        assert rig.error()


VRING_MESSAGES = {
    Msg.SET_VRING_NUM: lambda index: vring_state(index, 64),
    Msg.SET_VRING_BASE: lambda index: vring_state(index, 0),
    Msg.SET_VRING_ENABLE: lambda index: vring_state(index, 1),
    Msg.SET_VRING_ADDR: lambda index: struct.pack("=IIQQQQ", index, 0, 0, 0, 0, 0),
    Msg.SET_VRING_KICK: lambda index: u64(index | vu.NO_FD),
    Msg.SET_VRING_CALL: lambda index: u64(index | vu.NO_FD),
    Msg.SET_VRING_ERR: lambda index: u64(index | vu.NO_FD),
}


@pytest.mark.parametrize("request_number", VRING_MESSAGES, ids=lambda number: number.name)
@pytest.mark.parametrize("index", (5, 0x10000, 0x10001, 0x80000000, 0xFFFFFFFF))
def test_queue_index_that_does_not_exist_is_refused(front_end, request_number, index):
    if request_number in (Msg.SET_VRING_KICK, Msg.SET_VRING_CALL, Msg.SET_VRING_ERR) and index > 255:
        index &= ~0xFF  # these carry the index in the low byte, whatever stands above
        index |= 0x80
    assert front_end.status_of(request_number, VRING_MESSAGES[request_number](index)) != 0


def test_get_vring_base_of_a_queue_that_does_not_exist_ends_the_session(rig, front_end):
    front_end.send(Msg.GET_VRING_BASE, vring_state(0x10000, 0))
    assert "GET_VRING_BASE" in rig.error()


def test_feature_that_was_not_offered_is_refused(front_end):
    assert front_end.status_of(Msg.SET_FEATURES, u64(1 << 63 | vu.F_PROTOCOL_FEATURES)) != 0


def test_protocol_feature_that_was_not_offered_is_refused(front_end):
    assert front_end.status_of(Msg.SET_PROTOCOL_FEATURES, u64(1 << 63)) != 0


def set_up_in_vain(front_end, ring):
    """The switch may hang up before the last message."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        ring.set_up(front_end)


def ring_size_refused(front_end, size):
    return front_end.status_of(Msg.SET_VRING_NUM, vring_state(0, size)) != 0


@pytest.mark.parametrize("size", (0, 3, 100, 32769, 65536, 0xFFFFFFFF))
def test_split_ring_size_that_is_no_power_of_two_or_too_large_never_runs(
    rig, front_end, region, stack, size
):
    if ring_size_refused(front_end, size):
        return
    # A back end may find out only when the ring is to start.
    front_end.share(region)
    ring = vu.Ring(region, 0, size, 0)
    stack.callback(ring.close)
    set_up_in_vain(front_end, ring)
    assert rig.error()


BAD_REGIONS = {
    "size-0": (vu.GUEST_BASE, 0, vu.USER_BASE, 0),
    "larger-than-file": (vu.GUEST_BASE, vu.MEMORY_SIZE * 2, vu.USER_BASE, 0),
    "offset-beyond-file": (vu.GUEST_BASE, vu.MEMORY_SIZE, vu.USER_BASE, vu.MEMORY_SIZE),
    "offset-wraps": (vu.GUEST_BASE, vu.MEMORY_SIZE, vu.USER_BASE, HUGE),
    "guest-address-wraps": (HUGE, vu.MEMORY_SIZE, vu.USER_BASE, 0),
    "user-address-wraps": (vu.GUEST_BASE, vu.MEMORY_SIZE, HUGE, 0),
    "size-wraps": (vu.GUEST_BASE, HUGE, vu.USER_BASE, 0),
    "everything-wraps": (HUGE, HUGE, HUGE, HUGE),
}


@pytest.mark.parametrize("request_number", (Msg.SET_MEM_TABLE, Msg.ADD_MEM_REG), ids=lambda r: r.name)
@pytest.mark.parametrize("numbers", BAD_REGIONS.values(), ids=BAD_REGIONS.keys())
def test_bad_memory_region_is_refused(front_end, region, request_number, numbers):
    description = struct.pack("=QQQQ", *numbers)
    payload = (
        vu.mem_table([description]) if request_number == Msg.SET_MEM_TABLE else u64(0) + description
    )
    assert front_end.status_of(request_number, payload, [region.fd]) != 0


def test_overlapping_regions_are_refused(front_end, region):
    table = vu.mem_table([region.description(), region.description()])
    assert front_end.status_of(Msg.SET_MEM_TABLE, table, [region.fd, region.fd]) != 0


@pytest.mark.parametrize("kind", ("pipe", "socket", "directory"))
def test_descriptor_that_is_no_memory_is_refused(front_end, stack, kind):
    if kind == "pipe":
        descriptors = os.pipe()
    elif kind == "socket":
        descriptors = [end.detach() for end in socket.socketpair()]
    else:
        descriptors = [os.open("/", os.O_RDONLY)]
    for descriptor in descriptors:
        stack.callback(os.close, descriptor)
    table = vu.mem_table([struct.pack("=QQQQ", vu.GUEST_BASE, 4096, vu.USER_BASE, 0)])
    assert front_end.status_of(Msg.SET_MEM_TABLE, table, descriptors[:1]) != 0


@pytest.mark.parametrize("count", (9, 255, 0xFFFFFFFF))
def test_memory_table_that_claims_too_many_regions_is_refused(rig, front_end, region, count):
    front_end.send(
        Msg.SET_MEM_TABLE, vu.mem_table([region.description()] * 8, count), [region.fd] * 8
    )
    assert rig.error()


def test_memory_table_with_fewer_descriptors_than_regions_is_refused(rig, front_end, region):
    second = struct.pack("=QQQQ", vu.GUEST_BASE * 2, 4096, vu.USER_BASE * 2 & HUGE, 0)
    table = vu.mem_table([region.description(), second])
    assert front_end.status_of(Msg.SET_MEM_TABLE, table, [region.fd]) != 0


@pytest.mark.parametrize("count", (1, 2, 8, 9, 16, 17, 100, 253))
def test_surplus_descriptors_never_stay_open(rig, region, count):
    """With every message; that none stays is what `unharmed` sees afterwards."""
    for request_number in Msg:
        with FrontEnd(rig.path) as front_end:
            front_end.hello()
            with contextlib.suppress(ConnectionError, BrokenPipeError):
                front_end.send(request_number, bytes(SIZED.get(request_number, 8)),
                               [region.fd] * count)
            front_end.finish()


def test_messages_that_carry_no_descriptor_where_one_is_due_are_refused(front_end):
    assert front_end.status_of(Msg.SET_VRING_KICK, u64(7)) != 0
    assert front_end.status_of(Msg.ADD_MEM_REG, bytes(8) + struct.pack("=QQQQ", 0, 4096, 0, 0)) != 0


@pytest.mark.parametrize("field", ("table", "avail", "used"))
@pytest.mark.parametrize("offset", (vu.MEMORY_SIZE - 8, vu.MEMORY_SIZE, -1, 1 << 40))
def test_ring_outside_the_memory_never_starts(rig, front_end, region, stack, field, offset):
    front_end.share(region)
    ring = vu.Ring(region, 0, 256, 0)
    stack.callback(ring.close)
    setattr(ring, field, offset)
    set_up_in_vain(front_end, ring)
    assert rig.error()


def test_memory_removed_under_a_running_ring_stops_it(rig, driver):
    driver.front_end.send(Msg.REM_MEM_REG, u64(0) + driver.region.description())
    driver.tx.describe(0, driver.buffer(), 100)
    driver.tx.offer(0)
    until(
        lambda: not any(q["started"] for q in rig.switch.show("bad")["queues"])
        or rig.switch.show("bad")["state"] == "error",
        "rings stopped or the port in error",
    )


def setup_dialogue(region, rings):
    """The messages of a normal start, with their descriptors."""
    yield vu.message(Msg.GET_FEATURES), []
    yield vu.message(Msg.GET_PROTOCOL_FEATURES), []
    yield vu.message(Msg.SET_PROTOCOL_FEATURES, u64(vu.P_MQ | vu.P_REPLY_ACK | vu.P_MEM_SLOTS)), []
    yield vu.message(Msg.SET_OWNER), []
    yield vu.message(Msg.SET_FEATURES, u64(vu.F_VERSION_1 | vu.F_PROTOCOL_FEATURES)), []
    yield vu.message(Msg.SET_MEM_TABLE, vu.mem_table([region.description()])), [region.fd]
    for ring in rings:
        yield vu.message(Msg.SET_VRING_NUM, vring_state(ring.index, ring.size)), []
        yield vu.message(Msg.SET_VRING_ADDR, ring.address_payload()), []
        yield vu.message(Msg.SET_VRING_BASE, vring_state(ring.index, 0)), []
        yield vu.message(Msg.SET_VRING_CALL, u64(ring.index)), [ring.call]
        yield vu.message(Msg.SET_VRING_ERR, u64(ring.index)), [ring.call]
        yield vu.message(Msg.SET_VRING_KICK, u64(ring.index)), [ring.kick]
        yield vu.message(Msg.SET_VRING_ENABLE, vring_state(ring.index, 1)), []
    second = struct.pack("=QQQQ", vu.GUEST_BASE * 2, 4096, vu.USER_BASE * 2, 4096)
    yield vu.message(Msg.ADD_MEM_REG, u64(0) + second), [region.fd]
    yield vu.message(Msg.REM_MEM_REG, u64(0) + second), [region.fd]
    yield vu.message(Msg.SET_BACKEND_REQ_FD), [rings[0].call]
    yield vu.message(Msg.SET_STATUS, u64(15)), []
    yield vu.message(Msg.GET_VRING_BASE, vring_state(1, 0)), []


def test_disconnecting_at_each_byte_of_each_message_leaks_nothing(rig, region, stack, say):
    rings = [vu.Ring(region, index, 64, index * 0x10000) for index in (0, 1)]
    for ring in rings:
        stack.callback(ring.close)
    dialogue = list(setup_dialogue(region, rings))
    rounds = 0
    for last, (data, fds) in enumerate(dialogue):
        for cut in range(1, len(data) + 1):
            with FrontEnd(rig.path) as front_end:
                with contextlib.suppress(ConnectionError, BrokenPipeError):
                    for whole, its_fds in dialogue[:last]:
                        front_end.send_bytes(whole, its_fds)
                    front_end.send_bytes(data[:cut], fds)
                front_end.finish()
            rounds += 1
    say(f"{rounds} connections cut short")


def test_message_in_single_bytes_is_understood(rig, region):
    with FrontEnd(rig.path) as front_end:
        for byte in vu.message(Msg.GET_QUEUE_NUM):
            front_end.send_bytes(bytes([byte]))
        assert front_end.receive()[2] == u64(2)


def test_repeating_each_message_thousands_of_times_leaks_nothing(rig, front_end, region, stack, say):
    ring = vu.Ring(region, 0, 64, 0)
    stack.callback(ring.close)
    front_end.share(region)
    ring.set_up(front_end)
    second = u64(0) + struct.pack("=QQQQ", vu.GUEST_BASE * 2, 4096, vu.USER_BASE * 2, 0)
    front_end.ask_u64(Msg.GET_QUEUE_NUM)
    before = rig.resources()
    repeated = [
        (Msg.SET_VRING_NUM, vring_state(2, 64), []),
        (Msg.SET_MEM_TABLE, vu.mem_table([region.description()]), [region.fd]),
        (Msg.ADD_MEM_REG, second, [region.fd]),
        (Msg.REM_MEM_REG, second, [region.fd]),
        (Msg.SET_VRING_CALL, u64(0), [ring.call]),
        (Msg.SET_VRING_ERR, u64(0), [ring.call]),
        (Msg.SET_VRING_KICK, u64(0), [ring.kick]),
        (Msg.SET_VRING_ENABLE, vring_state(0, 1), []),
    ]
    rounds = 1000
    for _ in range(rounds):
        for request_number, payload, fds in repeated:
            assert front_end.status_of(request_number, payload, fds) == 0, request_number.name
    after = rig.resources()
    assert after[0] - before[0] <= 1 and after[1] == before[1], (before, after)  # the err descriptor
    say(f"{rounds * len(repeated)} messages")


def test_connecting_thousands_of_times_leaks_nothing(rig, region, say):
    rounds = 2000
    before = rig.resources()
    for _ in range(rounds):
        with FrontEnd(rig.path) as front_end:
            front_end.share(region)
            front_end.finish()
    until(lambda: rig.resources() == before, "descriptors and mappings as before")
    say(f"{rounds} connections with a memory table each")


def test_a_peer_that_does_not_read_its_answers_blocks_nobody(rig):
    with FrontEnd(rig.path, timeout=2) as front_end:
        with contextlib.suppress(OSError):
            for _ in range(20000):
                front_end.send(Msg.GET_FEATURES)
        rig.others_go_on()
        assert rig.switch.show("by1")["state"] == "up"


def test_a_second_front_end_does_not_disturb_the_first(rig, driver, seeded):
    with FrontEnd(rig.path, timeout=1) as second, contextlib.suppress(OSError):
        second.send(Msg.GET_FEATURES)
        second.receive()
    rig.behaves(driver, seeded)


# Rings


def split_faults():
    """name: (what the driver writes, head it offers)"""

    def out_of_memory(d):
        d.tx.describe(0, vu.GUEST_BASE + vu.MEMORY_SIZE, 100)

    def before_memory(d):
        d.tx.describe(0, vu.GUEST_BASE - 50, 100)

    def across_the_end(d):
        d.tx.describe(0, vu.GUEST_BASE + vu.MEMORY_SIZE - 50, 100)

    def address_wraps(d):
        d.tx.describe(0, (1 << 64) - 50, 100)

    def length_is_huge(d):
        d.tx.describe(0, d.buffer(), 0xFFFFFFFF)

    def second_part_outside(d):
        d.tx.describe(0, d.buffer(), 100, D_NEXT, 1)
        d.tx.describe(1, 0, 100)

    def cycle(d):
        d.tx.describe(0, d.buffer(), 100, D_NEXT, 1)
        d.tx.describe(1, d.buffer(), 100, D_NEXT, 0)

    def cycle_of_nothing(d):
        d.tx.describe(0, d.buffer(), 0, D_NEXT, 0)

    def next_outside_table(d):
        d.tx.describe(0, d.buffer(), 100, D_NEXT, 64)

    def indirect(length, address=None, table=None, flags=D_INDIRECT):
        def build(d):
            where = d.buffer(1) if address is None else address
            if address is None:
                d.write(where, table or struct.pack("=QIHH", d.buffer(), 100, 0, 0))
            d.tx.describe(0, where, length, flags, 1)

        return build

    nested = struct.pack("=QIHH", vu.GUEST_BASE + Driver.BUFFERS, 16, D_INDIRECT, 0)
    loop = struct.pack("=QIHH", vu.GUEST_BASE + Driver.BUFFERS, 16, D_NEXT, 0)
    far = struct.pack("=QIHH", vu.GUEST_BASE + Driver.BUFFERS, 16, D_NEXT, 9)
    return {
        "address-outside-memory": out_of_memory,
        "address-before-memory": before_memory,
        "buffer-across-the-end": across_the_end,
        "address-wraps": address_wraps,
        "length-huge": length_is_huge,
        "second-descriptor-outside": second_part_outside,
        "chain-is-a-cycle": cycle,
        "empty-chain-is-a-cycle": cycle_of_nothing,
        "next-outside-table": next_outside_table,
        "indirect-length-0": indirect(0),
        "indirect-length-15": indirect(15),
        "indirect-length-17": indirect(17),
        "indirect-length-huge": indirect(0xFFFFFFF0),
        "indirect-outside-memory": indirect(16, address=vu.GUEST_BASE + vu.MEMORY_SIZE),
        "indirect-across-the-end": indirect(32, address=vu.GUEST_BASE + vu.MEMORY_SIZE - 16),
        "indirect-with-next": indirect(16, flags=D_INDIRECT | D_NEXT),
        "indirect-in-indirect": indirect(16, table=nested),
        "indirect-is-a-cycle": indirect(16, table=loop),
        "indirect-next-outside": indirect(16, table=far),
    }


SPLIT_FAULTS = split_faults()


@pytest.mark.parametrize("fault", SPLIT_FAULTS)
def test_broken_split_transmit_chain_stops_the_port_only(rig, driver, say, fault):
    SPLIT_FAULTS[fault](driver)
    driver.tx.offer(0)
    say(f"{fault}: {rig.error()}")
    rig.others_go_on()


@pytest.mark.parametrize("head", (64, 65, 0x7FFF, 0xFFFF))
def test_head_outside_the_table_stops_the_port_only(rig, driver, head):
    driver.tx.describe(0, driver.buffer(), 100)
    driver.tx.offer(head)
    assert rig.error()
    rig.others_go_on()


@pytest.mark.parametrize("jump", (65, 1000, 0x8000, 0xFFFF))
def test_available_index_that_jumps_stops_the_port_only(rig, driver, jump):
    driver.tx.describe(0, driver.buffer(), 100)
    driver.tx.publish(jump)
    assert rig.error()
    rig.others_go_on()


def test_indirect_descriptor_without_the_feature_stops_the_port(rig, stack):
    driver = stack.enter_context(Driver(rig.path))
    rig.switch.wait_state("bad", "up")
    driver.write(driver.buffer(1), struct.pack("=QIHH", driver.buffer(), 100, 0, 0))
    driver.tx.describe(0, driver.buffer(1), 16, D_INDIRECT)
    driver.tx.offer(0)
    assert rig.error()


@pytest.mark.parametrize("length", range(0, HEADER + 14))
def test_transmit_chain_shorter_than_header_and_ethernet_is_dropped_or_an_error(
    rig, driver, length
):
    before = rig.switch.at_rest()
    driver.tx.describe(0, driver.buffer(), length)
    driver.tx.offer(0)
    until(
        lambda: driver.tx.used_index() == 1 or rig.switch.show("bad")["state"] == "error",
        "the chain used, or an error",
    )
    if rig.switch.show("bad")["state"] != "error":
        until(lambda: rig.switch.drops("bad", "runt") == _runts(before) + 1, "a runt counted")


def _runts(stats):
    return next(p["drops"].get("runt", 0) for p in stats["ports"] if p["name"] == "bad")


@pytest.mark.parametrize("pieces", [[n] for n in range(1, 14)] + [
    [1] * 11, [1] * 12, [1] * 13, [6, 6], [4, 4, 4, 2], [12, 14], [12, 1, 1], [0, 12], [12, 0, 20],
], ids=str)
def test_header_and_frame_split_in_any_way_are_one_frame(rig, driver, seeded, pieces):
    frame = frames.plain(seeded, 200, BROADCAST, OWN_MAC)
    driver.send_frame(frame, pieces)
    rig.witness.expect(frame)


def test_frame_across_two_adjoining_regions_is_one_frame(rig, stack, seeded):
    first = Region()
    second = Region(guest=vu.GUEST_BASE + vu.MEMORY_SIZE, user=vu.USER_BASE + (1 << 32))
    driver = stack.enter_context(Driver(rig.path, regions=[first, second]))
    rig.switch.wait_state("bad", "up")
    frame = frames.plain(seeded, 500, BROADCAST, OWN_MAC)
    data = bytes(HEADER) + frame
    first.bytes[-100:] = data[:100]
    second.bytes[: len(data) - 100] = data[100:]
    driver.tx.describe(0, vu.GUEST_BASE + vu.MEMORY_SIZE - 100, len(data))
    driver.tx.offer(0)
    rig.witness.expect(frame)


def test_buffer_across_a_hole_between_regions_stops_the_port_only(rig, stack):
    hole = Region(guest=vu.GUEST_BASE + vu.MEMORY_SIZE + 4096, user=vu.USER_BASE + (1 << 32))
    driver = stack.enter_context(Driver(rig.path, regions=[Region(), hole]))
    rig.switch.wait_state("bad", "up")
    driver.tx.describe(0, vu.GUEST_BASE + vu.MEMORY_SIZE - 100, 8192)
    driver.tx.offer(0)
    assert rig.error()
    rig.others_go_on()


def broadcast_to(rig, random, count=1):
    for _ in range(count):
        rig.witness.send(frames.plain(random, 400, BROADCAST, rig.witness.mac))
    rig.switch.at_rest()


@pytest.mark.parametrize("size", range(0, 14))
@pytest.mark.parametrize("mergeable", (True, False), ids=("mergeable", "single"))
def test_runt_receive_buffers_harm_nobody(rig, stack, seeded, size, mergeable):
    features = vu.F_VERSION_1 | (vu.F_MRG_RXBUF if mergeable else 0)
    driver = stack.enter_context(Driver(rig.path, features=features))
    rig.switch.wait_state("bad", "up")
    driver.offer_receive_buffers(16, size)
    guard = b"\xa5" * 64
    driver.write(driver.buffer(32) + size, guard)
    broadcast_to(rig, seeded, 3)
    assert driver.read(driver.buffer(32) + size, 64) == guard, "written past the buffer"
    rig.others_go_on()


RECEIVE_FAULTS = {
    "device-readable": lambda d: d.rx.describe(0, d.buffer(), 2048, 0),
    "outside-memory": lambda d: d.rx.describe(0, vu.GUEST_BASE + vu.MEMORY_SIZE, 2048, D_WRITE),
    "across-the-end": lambda d: d.rx.describe(0, vu.GUEST_BASE + vu.MEMORY_SIZE - 20, 99, D_WRITE),
    "cycle": lambda d: d.rx.describe(0, d.buffer(), 4, D_WRITE | D_NEXT, 0),
}


@pytest.mark.parametrize("fault", RECEIVE_FAULTS)
def test_broken_receive_chain_stops_the_port_only(rig, driver, seeded, fault):
    RECEIVE_FAULTS[fault](driver)
    driver.rx.offer(0)
    broadcast_to(rig, seeded)
    assert rig.error()
    rig.others_go_on()


def test_receive_buffer_is_never_written_past_its_end(rig, driver, seeded):
    driver.offer_receive_buffers(8, 100)
    for number in range(8):
        driver.write(driver.buffer(32 + number) + 100, b"\xa5" * 512)
    broadcast_to(rig, seeded, 2)
    for number in range(8):
        assert driver.read(driver.buffer(32 + number) + 100, 512) == b"\xa5" * 512
    assert driver.rx.used_index() == 5, "412 bytes take five buffers; the second frame has no room"


PACKED_FAULTS = {
    "address-outside": [(vu.GUEST_BASE + vu.MEMORY_SIZE, 100, 0)],
    "address-wraps": [((1 << 64) - 50, 100, 0)],
    "length-huge": [(vu.GUEST_BASE, 0xFFFFFFFF, 0)],
    "endless-chain": [(vu.GUEST_BASE + Driver.BUFFERS, 16, D_NEXT)] * 64,
    "indirect-length-15": [(vu.GUEST_BASE + Driver.BUFFERS, 15, D_INDIRECT)],
    "indirect-length-0": [(vu.GUEST_BASE + Driver.BUFFERS, 0, D_INDIRECT)],
    "indirect-outside": [(vu.GUEST_BASE + vu.MEMORY_SIZE, 16, D_INDIRECT)],
    "indirect-huge": [(vu.GUEST_BASE + Driver.BUFFERS, 0xFFFFFFF0, D_INDIRECT)],
    "batch-with-one-outside": [
        (vu.GUEST_BASE + Driver.BUFFERS, 100, 0), (vu.GUEST_BASE + Driver.BUFFERS, 100, 0),
        (vu.GUEST_BASE + vu.MEMORY_SIZE, 100, 0), (vu.GUEST_BASE + Driver.BUFFERS, 100, 0),
    ],
}


@pytest.mark.parametrize("fault", PACKED_FAULTS)
def test_broken_packed_transmit_descriptor_stops_the_port_only(rig, packed, say, fault):
    # The first becomes available last, as a driver would write a chain.
    for slot, (address, length, flags) in reversed(list(enumerate(PACKED_FAULTS[fault]))):
        packed.tx.describe(slot, address, length, flags)
    packed.tx.offer()
    say(f"{fault}: {rig.error()}")
    rig.others_go_on()


def test_transmit_header_that_is_flagged_writable_is_read_all_the_same(rig, packed, seeded):
    """DPDK's driver leaves WRITE set on the header in its packed indirect tables."""
    frame = frames.plain(seeded, 100, BROADCAST, OWN_MAC)
    packed.write(packed.buffer(0), bytes(HEADER) + frame)
    table = struct.pack("=QIHH", packed.buffer(0), HEADER, 0, D_WRITE)
    table += struct.pack("=QIHH", packed.buffer(0) + HEADER, len(frame), 1, 0)
    packed.write(packed.buffer(1), table)
    packed.tx.describe(0, packed.buffer(1), len(table), D_INDIRECT)
    packed.tx.offer()
    rig.witness.expect(frame)


def test_packed_batch_with_an_empty_descriptor_harms_nobody(rig, packed):
    for slot, length in reversed(list(enumerate((100, 0, 100, 100)))):
        address = 0xDEAD_0000 if length == 0 else packed.buffer()
        packed.tx.describe(slot, address, length)
    packed.tx.offer()
    until(
        lambda: packed.tx.is_used(3) or rig.switch.show("bad")["state"] == "error",
        "the batch used, or an error",
    )
    rig.others_go_on()


@pytest.mark.parametrize("size", range(0, 14))
def test_packed_runt_receive_buffers_harm_nobody(rig, packed, seeded, size):
    for slot in reversed(range(8)):
        packed.rx.describe(slot, packed.buffer(32 + slot), size, D_WRITE)
    packed.rx.offer()
    guard = b"\xa5" * 64
    packed.write(packed.buffer(32) + size, guard)
    broadcast_to(rig, seeded, 3)
    assert packed.read(packed.buffer(32) + size, 64) == guard, "written past the buffer"
    rig.others_go_on()


# The memory itself


def test_memory_file_cut_short_stops_the_port_only(rig, stack):
    driver = stack.enter_context(Driver(rig.path))
    rig.switch.wait_state("bad", "up")
    driver.tx.describe(0, driver.buffer(100), 100)
    driver.tx.offer(0)
    os.ftruncate(driver.region.fd, 0x20000)  # the rings stay, the buffers go
    os.eventfd_write(driver.tx.kick, 1)
    rig.others_go_on()
    assert rig.switch.process.poll() is None, "virtlaned died"


# Virtio-net headers


def header_bytes(flags=0, gso=0, header_length=0, gso_size=0, start=0, offset=0):
    return struct.pack("=BBHHHHH", flags, gso, header_length, gso_size, start, offset, 0)


HEADERS = {
    "csum-start-beyond-frame": header_bytes(1, start=2000, offset=6),
    "csum-offset-beyond-frame": header_bytes(1, start=34, offset=5000),
    "csum-wraps": header_bytes(1, start=0xFFFF, offset=0xFFFF),
    "gso-size-0": header_bytes(1, 1, 54, 0, 34, 16),
    "gso-type-unknown": header_bytes(1, 0x77, 54, 100, 34, 16),
    "gso-without-checksum": header_bytes(0, 1, 54, 100, 0, 0),
    "header-length-beyond-frame": header_bytes(1, 1, 0xFFFF, 100, 34, 16),
    "gso-of-a-frame-that-is-not-ip": header_bytes(1, 4, 54, 100, 34, 16),
}


@pytest.mark.parametrize("name", HEADERS)
def test_lying_virtio_net_header_harms_nobody(rig, driver, seeded, name):
    frame = frames.plain(seeded, 200, BROADCAST, OWN_MAC)
    driver.write(driver.buffer(), HEADERS[name] + frame)
    driver.tx.describe(0, driver.buffer(), HEADER + len(frame))
    driver.tx.offer(0)
    until(
        lambda: driver.tx.used_index() == 1 or rig.switch.show("bad")["state"] == "error",
        "the frame taken, or an error",
    )
    rig.others_go_on()
