# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user front end and virtio-net driver that can do wrong on purpose.

Nothing is checked or put right here: a test writes whatever bytes it wants into messages, memory
and rings. Without being told otherwise it behaves.
"""

import contextlib
import ctypes
import enum
import mmap
import os
import select
import socket
import struct


class Msg(enum.IntEnum):
    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20
    SET_BACKEND_REQ_FD = 21
    IOTLB_MSG = 22
    SET_VRING_ENDIAN = 23
    GET_CONFIG = 24
    SET_CONFIG = 25
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    RESET_DEVICE = 34
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40


# Whose answer is a payload of its own rather than a status.
ANSWERED = {Msg.GET_FEATURES, Msg.GET_PROTOCOL_FEATURES, Msg.GET_QUEUE_NUM, Msg.GET_VRING_BASE,
            Msg.GET_CONFIG, Msg.GET_MAX_MEM_SLOTS, Msg.GET_STATUS}

VERSION = 1
NEED_REPLY = 8
NO_FD = 0x100

F_CSUM = 1 << 0
F_GUEST_CSUM = 1 << 1
F_HOST_TSO4 = 1 << 11
F_HOST_TSO6 = 1 << 12
F_HOST_UFO = 1 << 14
F_MRG_RXBUF = 1 << 15
F_INDIRECT = 1 << 28
F_EVENT_IDX = 1 << 29
F_PROTOCOL_FEATURES = 1 << 30
F_VERSION_1 = 1 << 32
F_PACKED = 1 << 34

P_MQ = 1 << 0
P_REPLY_ACK = 1 << 3
P_BACKEND_REQ = 1 << 5
P_CONFIG = 1 << 9
P_MEM_SLOTS = 1 << 15
P_STATUS = 1 << 16

NEEDS_CSUM, DATA_VALID = 1, 2
GSO_TCPV4, GSO_UDP, GSO_TCPV6, GSO_UDP_L4 = 1, 3, 4, 5

D_NEXT, D_WRITE, D_INDIRECT = 1, 2, 4
D_AVAIL, D_USED = 1 << 7, 1 << 15

RX, TX = 0, 1
HEADER = 12  # virtio-net header with VERSION_1

GUEST_BASE = 0x1_0000_0000
USER_BASE = 0x7F00_0000_0000
MEMORY_SIZE = 1 << 20


def net_header(flags=0, gso_type=0, hdr_len=0, gso_size=0, csum_start=0, csum_offset=0):
    """A virtio-net header with VERSION_1."""
    return struct.pack("=BBHHHHH", flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, 0)


class Region:
    """A memfd that is mapped here and shared with the switch."""

    def __init__(self, size=MEMORY_SIZE, guest=GUEST_BASE, user=USER_BASE):
        self.size, self.guest, self.user = size, guest, user
        self.fd = os.memfd_create("guest", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, size)
        self.bytes = mmap.mmap(self.fd, size)

    def description(self, offset=0):
        return struct.pack("=QQQQ", self.guest, self.size, self.user, offset)

    def close(self):
        self.bytes.close()
        os.close(self.fd)


def message(request, payload=b"", flags=VERSION, size=None):
    return struct.pack("=III", request, flags, len(payload) if size is None else size) + payload


def u64(value):
    return struct.pack("=Q", value)


def vring_state(index, number):
    return struct.pack("=II", index, number)


def mem_table(regions, count=None):
    head = struct.pack("=II", len(regions) if count is None else count, 0)
    return head + b"".join(regions)


class FrontEnd:
    """One connection."""

    def __init__(self, path, timeout=5):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.protocol_features = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, request, payload=b"", fds=(), flags=VERSION, size=None):
        self.send_bytes(message(request, payload, flags, size), fds)

    def send_bytes(self, data, fds=()):
        if fds:
            socket.send_fds(self.socket, [data], list(fds))
        else:
            self.socket.sendall(data)

    def receive(self):
        """(request, flags, payload) of the next message; ConnectionError if there is none."""
        request, flags, size = struct.unpack("=III", self._exactly(12))
        return request, flags, self._exactly(size)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the switch closed the connection")
            data += piece
        return data

    def ask(self, request, payload=b""):
        """A request with an answer of its own: its payload."""
        self.send(request, payload)
        answered, flags, answer = self.receive()
        assert answered == request and flags == VERSION | 4, (answered, flags)
        return answer

    def ask_u64(self, request, payload=b""):
        return struct.unpack("=Q", self.ask(request, payload))[0]

    def status_of(self, request, payload=b"", fds=()):
        """Sends with NEED_REPLY; the status that comes back (0: done)."""
        self.send(request, payload, fds, flags=VERSION | NEED_REPLY)
        answered, _, answer = self.receive()
        assert answered == request
        return struct.unpack("=Q", answer)[0]

    def hello(self, features=F_VERSION_1 | F_MRG_RXBUF, protocol=P_MQ | P_REPLY_ACK | P_MEM_SLOTS):
        """Features, owner: up to where memory is shared."""
        offered = self.ask_u64(Msg.GET_FEATURES)
        wanted = features | F_PROTOCOL_FEATURES
        assert offered & wanted == wanted, f"offered {offered:#x}, wanted {wanted:#x}"
        self.protocol_features = self.ask_u64(Msg.GET_PROTOCOL_FEATURES) & protocol
        self.send(Msg.SET_PROTOCOL_FEATURES, u64(self.protocol_features))
        self.send(Msg.SET_OWNER)
        self.send(Msg.SET_FEATURES, u64(wanted))
        self.features = wanted

    def share(self, *regions):
        self.send(
            Msg.SET_MEM_TABLE,
            mem_table([region.description() for region in regions]),
            [region.fd for region in regions],
        )

    def finish(self):
        """Says goodbye and waits until the switch has closed its side, too."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(65536):
                pass
        except (ConnectionError, BrokenPipeError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
        self.close()


def store_u16(region, offset, value):
    """One store, as drivers do: struct.pack_into() writes zeros first, which a device may see."""
    ctypes.c_uint16.from_buffer(region.bytes, offset).value = value & 0xFFFF


class Ring:
    """A split virtqueue; its three parts lie from `offset` of the region on."""

    def __init__(self, region, index, size, offset):
        self.region, self.index, self.size = region, index, size
        self.table, self.avail, self.used = offset, offset + 0x4000, offset + 0x6000
        self.avail_index = 0
        self.kick = os.eventfd(0)
        self.call = os.eventfd(0)

    def close(self):
        os.close(self.kick)
        os.close(self.call)

    def address_payload(self):
        user = self.region.user
        return struct.pack(
            "=IIQQQQ", self.index, 0, user + self.table, user + self.used, user + self.avail, 0
        )

    def set_up(self, front_end, base=0):
        """All messages that make it run, enabled."""
        front_end.send(Msg.SET_VRING_NUM, vring_state(self.index, self.size))
        front_end.send(Msg.SET_VRING_ADDR, self.address_payload())
        front_end.send(Msg.SET_VRING_BASE, vring_state(self.index, base))
        front_end.send(Msg.SET_VRING_CALL, u64(self.index), [self.call])
        front_end.send(Msg.SET_VRING_KICK, u64(self.index), [self.kick])
        front_end.send(Msg.SET_VRING_ENABLE, vring_state(self.index, 1))

    def describe(self, slot, address, length, flags=0, following=0):
        struct.pack_into(
            "=QIHH", self.region.bytes, self.table + 16 * slot, address, length, flags, following
        )

    def offer(self, *heads):
        """Makes chains available and kicks."""
        for head in heads:
            at = self.avail + 4 + 2 * (self.avail_index % self.size)
            struct.pack_into("=H", self.region.bytes, at, head & 0xFFFF)
            self.avail_index = (self.avail_index + 1) & 0xFFFF
        self.publish(self.avail_index)

    def publish(self, avail_index):
        store_u16(self.region, self.avail + 2, avail_index)
        os.eventfd_write(self.kick, 1)

    def used_index(self):
        return struct.unpack_from("=H", self.region.bytes, self.used + 2)[0]

    def used_entry(self, number):
        at = self.used + 4 + 8 * (number % self.size)
        return struct.unpack_from("=II", self.region.bytes, at)


class PackedRing:
    """A packed virtqueue, with avail wrap counter 1 in its first round."""

    def __init__(self, region, index, size, offset):
        self.region, self.index, self.size, self.table = region, index, size, offset
        self.driver_event, self.device_event = offset + 0x4000, offset + 0x4100
        self.kick = os.eventfd(0)
        self.call = os.eventfd(0)

    close = Ring.close

    def address_payload(self):
        user = self.region.user
        return struct.pack(
            "=IIQQQQ", self.index, 0, user + self.table, user + self.device_event,
            user + self.driver_event, 0,
        )

    def set_up(self, front_end, base=0x8000_8000):
        Ring.set_up(self, front_end, base)

    def describe(self, slot, address, length, flags=0, identifier=None):
        """Writes a descriptor and, at last, the flags that make it available."""
        at = self.table + 16 * slot
        identifier = slot if identifier is None else identifier
        struct.pack_into("=QIH", self.region.bytes, at, address, length, identifier)
        store_u16(self.region, at + 14, flags | D_AVAIL)

    def offer(self):
        os.eventfd_write(self.kick, 1)

    def is_used(self, slot):
        flags = struct.unpack_from("=H", self.region.bytes, self.table + 16 * slot + 14)[0]
        return bool(flags & D_USED) and bool(flags & D_AVAIL)


class Driver:
    """A front end with a receive and a transmit ring, and buffers behind them."""

    BUFFERS = 0x20000  # of the region, after the rings

    def __init__(self, path, size=64, features=F_VERSION_1 | F_MRG_RXBUF, regions=None):
        with contextlib.ExitStack() as undo:
            self.front_end = undo.enter_context(FrontEnd(path))
            self.regions = regions or [Region()]
            for region in self.regions:
                undo.callback(region.close)
            self.region = self.regions[0]
            kind = PackedRing if features & F_PACKED else Ring
            self.rx = kind(self.region, RX, size, 0)
            undo.callback(self.rx.close)
            self.tx = kind(self.region, TX, size, 0x10000)
            undo.callback(self.tx.close)
            self.front_end.hello(features)
            self.front_end.share(*self.regions)
            self.rx.set_up(self.front_end)
            self.tx.set_up(self.front_end)
            self._undo = undo.pop_all()
        self._sent = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._undo.close()

    def buffer(self, number=0):
        """The guest address of a 4 KiB buffer."""
        return self.region.guest + self.BUFFERS + 4096 * number

    def write(self, guest, data):
        at = guest - self.region.guest
        self.region.bytes[at : at + len(data)] = data

    def read(self, guest, size):
        at = guest - self.region.guest
        return bytes(self.region.bytes[at : at + size])

    def send_frame(self, frame, pieces=None, slot=0, header=bytes(HEADER)):
        """Sends header and frame, cut into descriptors of the given sizes (the rest in one)."""
        data = header + frame
        start = self.buffer(0)
        self.write(start, data)
        sizes = list(pieces or [])
        sizes.append(len(data) - sum(sizes))
        for number, size in enumerate(sizes):
            last = number == len(sizes) - 1
            self.tx.describe(slot + number, start, size, 0 if last else D_NEXT, slot + number + 1)
            start += size
        self.tx.offer(slot)

    def offer_receive_buffers(self, count, size=2048):
        for number in range(count):
            self.rx.describe(number, self.buffer(32 + number), size, D_WRITE)
        self.rx.offer(*range(count))

    def received(self, number=0):
        """The frame in the number-th used buffer (which must have been one descriptor)."""
        head, length = self.rx.used_entry(number)
        return self.read(self.buffer(32 + head), length)[HEADER:]

    def called(self, ring, timeout=5):
        """Waits for the switch to notify the driver."""
        return bool(select.select([ring.call], [], [], timeout)[0])
