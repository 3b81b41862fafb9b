# SPDX-License-Identifier: BSD-3-Clause
"""Ethernet frames with known content, and raw sockets that send and receive them."""

import socket
import struct
import time

ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_OUTGOING = 4
TP_STATUS_VLAN_VALID = 1 << 4
BROADCAST = "ff:ff:ff:ff:ff:ff"
TEST_ETHERTYPE = 0x88B5  # IEEE 802 local experimental


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def _checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def header(destination, source, ethertype, vlan=None):
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    return mac_bytes(destination) + mac_bytes(source) + tag + struct.pack("!H", ethertype)


def plain(random, size, destination, source, vlan=None):
    """A frame of `size` bytes (without FCS) that is no protocol anybody answers."""
    start = header(destination, source, TEST_ETHERTYPE, vlan)
    return start + random.randbytes(size - len(start))


def udp(random, size, destination, source, flow=0, sequence=0):
    """An IPv4/UDP frame of `size` bytes: flow picks the ports, sequence opens the payload."""
    length = size - 14
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, length, sequence & 0xFFFF, 0x4000, 64, 17, 0,
        socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2"),
    )
    ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
    ports = struct.pack("!HHHH", 10000 + flow, 20000 + flow, length - 20, 0)
    payload = struct.pack("!II", flow, sequence) + random.randbytes(length - 20 - 8 - 8)
    return header(destination, source, 0x0800) + ip + ports + payload


def flow_and_sequence(frame):
    """What udp() put into a frame; None for any other frame."""
    if len(frame) < 50 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return None
    return struct.unpack("!II", frame[42:50])


def swapped(frame):
    """The frame with its addresses exchanged, as testpmd's macswap sends it back."""
    return frame[6:12] + frame[:6] + frame[12:]


class RawSocket:
    """All frames of one interface in a namespace, VLAN tags in place."""

    def __init__(self, namespace, interface="eth0"):
        self._socket = namespace.call(self._open, interface)
        self.mac = namespace.mac(interface)

    @staticmethod
    def _open(interface):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        raw.bind((interface, ETH_P_ALL))
        return raw

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    def send(self, frame):
        self._socket.send(frame)

    def receive(self, timeout):
        """The next incoming frame; None when there is none in time."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data, ancillary, _, address = self._socket.recvmsg(65600, 128)
            except socket.timeout:
                return None
            if address[2] != PACKET_OUTGOING:
                return self._with_tag(data, ancillary)
        return None

    def collect(self, wanted, count, timeout=5):
        """Up to `count` frames for which wanted(frame) is true; fewer when time is up."""
        found = []
        deadline = time.monotonic() + timeout
        while len(found) < count and (left := deadline - time.monotonic()) > 0:
            frame = self.receive(left)
            if frame is not None and wanted(frame):
                found.append(frame)
        return found

    def expect(self, frame, timeout=5):
        """Waits for exactly this frame."""
        if not self.collect(lambda other: other == frame, 1, timeout):
            raise AssertionError(f"no frame {frame[:24].hex()}... of {len(frame)} bytes")

    def pending(self):
        """Everything that has already arrived."""
        found = []
        while (frame := self.receive(0.001)) is not None:
            found.append(frame)
        return found

    @staticmethod
    def _with_tag(data, ancillary):
        # The kernel takes the tag out of the frame and reports it beside.
        for level, kind, value in ancillary:
            if level == SOL_PACKET and kind == PACKET_AUXDATA:
                status, _, _, _, _, tci, _ = struct.unpack("=IIIHHHH", value[:20])
                if status & TP_STATUS_VLAN_VALID:
                    return data[:12] + struct.pack("!HH", 0x8100, tci) + data[12:]
        return data
