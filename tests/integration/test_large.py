# SPDX-License-Identifier: BSD-3-Clause
"""Large frames: whole where they may be, cut where they must, and right on the wire.

A wire here is a veth pair: one end is a NIC for the switch (DPDK's net_af_packet, which can neither
cut nor compute sums), the other is the far host's, which looks at every byte.
"""

import hashlib
import json
import os
import socket
import struct
import subprocess
import threading

import pytest

import vhostuser as vu
from peers import netns, traffic, virtlane
from peers.frames import RawSocket
from peers.wait import until

UDP_SEGMENT = 103
MTU = 1500


def lay_cable(stack, name, mtu=MTU):
    """Two namespaces, joined by interface `name` in the first and eth0 in the other."""
    near = stack.enter_context(netns.Namespace("near"))
    far = stack.enter_context(netns.Namespace("far", ipv6=True))
    near.run(
        f"ip link add {name} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {far.name}"
        f" && ip link set {name} up"
    )
    # As if there were a cable: what the far host sends is complete.
    far.run("ethtool -K eth0 tx off tso off gso off gro off && ip link set eth0 up")
    return near, far


class Wire:
    """A NIC of the switch, and the host at the other end of its cable."""

    def __init__(self, stack, switch, name="nic", mtu=MTU, **settings):
        self.near, self.far = lay_cable(stack, name, mtu)
        settings.setdefault("device", f"net_af_packet_{name},iface={name}")
        switch.add(name, "ethdev", netns=self.near.name, **settings)
        switch.wait_state(name, "up")


@pytest.fixture
def wire(stack, switch):
    return Wire(stack, switch)


@pytest.fixture
def host(stack, switch):
    """A namespace behind a tap, with IPv6."""
    namespace = stack.enter_context(netns.Namespace("host", ipv6=True))
    switch.add_tap("host", namespace)
    namespace.run("ip link set eth0 up")
    return namespace


def give_addresses(hosts, device="eth0"):
    """10.9.0.N and fd09::N on a device of each host."""
    for number, namespace in enumerate(hosts, 1):
        namespace.run(
            f"ip addr add 10.9.0.{number}/24 dev {device};"
            f"ip addr add fd09::{number}/64 dev {device} nodad"
        )


def transfer(sender, receiver, address, data, mss=None):
    """Sends bytes over TCP from one host to another; what arrived."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def listen():
        listener = socket.create_server((address, 7), family=family)
        listener.settimeout(20)
        return listener

    def connect():
        client = socket.socket(family, socket.SOCK_STREAM)
        client.settimeout(20)
        if mss:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
        client.connect((address, 7))
        return client

    arrived = bytearray()
    with receiver.call(listen) as listener, sender.call(connect) as client:
        server, _ = listener.accept()

        def send():
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        with server:
            server.settimeout(20)
            while piece := server.recv(1 << 20):
                arrived += piece
        thread.join()
    return bytes(arrived)


def write_capture(path, frames):
    with open(path, "wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1))
        for number, frame in enumerate(frames):
            file.write(struct.pack("=IIII", number // 1000, number % 1000, len(frame), len(frame)))
            file.write(frame)


def find_fault(path):
    """What tshark, checking every sum, finds wrong with a capture's packets."""
    checks = [f"{layer}.check_checksum:TRUE" for layer in ("ip", "tcp", "udp")]
    # 0xffff for 0 is right by RFC 1071 and what the kernel writes, too, but not to tshark.
    bad = ("ip.checksum.status == 0 || udp.checksum.status == 0"
           " || (tcp.checksum.status == 0 && tcp.checksum != 0xffff)"
           " || _ws.malformed || ip.bogus_header_length || ip.bogus_ip_length")
    options = [word for check in checks for word in ("-o", check)]
    done = subprocess.run(
        ["tshark", "-r", path, *options, "-Y", bad], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tshark_fields(path, select, *fields):
    words = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", path, "-Y", select, "-T", "json", *words],
        capture_output=True, text=True, timeout=60, check=True,
    )
    return [packet["_source"]["layers"] for packet in json.loads(done.stdout)]


def mean_size(before, after, direction):
    frames = after[f"{direction}_frames"] - before[f"{direction}_frames"]
    return (after[f"{direction}_bytes"] - before[f"{direction}_bytes"]) / max(frames, 1)


# To a wire


def add_far_switch(stack, wire):
    """Another switch at the far end, whose wire is a trunk, and a host behind it in VLAN 10."""
    other = stack.enter_context(virtlane.Switch())
    behind = stack.enter_context(netns.Namespace("behind", ipv6=True))
    other.add(
        "nic", "ethdev", device="net_af_packet_far,iface=eth0", netns=wire.far.name, trunk=10
    )
    other.add_tap("behind", behind, vlan=10)
    behind.run("ip link set eth0 up")
    return behind


@pytest.mark.parametrize("vlan", [None, 10], ids=["untagged", "vlan"])
@pytest.mark.parametrize("address", ["10.9.0.2", "fd09::2"], ids=["v4", "v6"])
@pytest.mark.parametrize("mss", [None, 536, 1001])
def test_tcp_to_a_wire_is_cut_rightly(
    switch, host, wire, seeded, say, tmp_path, stack, vlan, address, mss
):
    receiver = wire.far
    if vlan:
        switch.set("host", vlan=vlan)
        switch.set("nic", trunk=vlan)
        receiver = add_far_switch(stack, wire)
    give_addresses([host, receiver])
    data = seeded.randbytes(3_000_001)
    before = switch.counters("host")
    with RawSocket(wire.far) as capture:
        arrived = transfer(host, receiver, address, data, mss)
        frames = capture.pending()
    if vlan:
        assert all(frame[12:16] == b"\x81\x00\x00\x0a" for frame in frames)
    assert hashlib.sha256(arrived).digest() == hashlib.sha256(data).digest()
    longest = max(map(len, frames))
    assert longest <= MTU + 14 + (4 if vlan else 0)
    write_capture(tmp_path / "wire.pcap", frames)
    assert find_fault(tmp_path / "wire.pcap") == ""
    after = switch.counters("host")
    size = mean_size(before, after, "rx")
    cut = switch.counters("nic")["tx_cut"]
    say(f"{len(frames)} packets of up to {longest} bytes on the wire, checked by tshark;"
        f" {size:.0f} bytes a frame from the host, {cut} cut")
    assert size > 3 * (mss or MTU), "large frames stay large up to the switch"
    assert cut > 50


def test_only_the_last_segment_pushes_and_ids_count_on(switch, host, wire, seeded, tmp_path):
    give_addresses([host, wire.far])
    with RawSocket(wire.far) as capture:
        transfer(host, wire.far, "10.9.0.2", seeded.randbytes(400_000))
        frames = capture.pending()
    write_capture(tmp_path / "wire.pcap", frames)
    packets = tshark_fields(
        tmp_path / "wire.pcap", "tcp.len > 0", "ip.id", "tcp.len", "tcp.flags.push", "tcp.seq"
    )
    following = 1
    for packet in packets:
        assert int(packet["tcp.seq"][0]) == following
        following += int(packet["tcp.len"][0])
    ids = [int(packet["ip.id"][0], 16) for packet in packets]
    steps = sum((b - a) & 0xFFFF == 1 for a, b in zip(ids, ids[1:]))
    assert steps >= len(ids) - 2
    pushes = sum(packet["tcp.flags.push"][0] in ("1", "True") for packet in packets)
    assert 0 < pushes < len(packets) / 4, "the kernel pushes at the end of a write only"


def test_tcp_from_a_wire_arrives(switch, host, wire, seeded):
    give_addresses([host, wire.far])
    data = seeded.randbytes(2_000_000)
    assert transfer(wire.far, host, "10.9.0.1", data) == data


@pytest.mark.parametrize("address", ["10.9.0.2", "fd09::2"], ids=["v4", "v6"])
def test_udp_segments_are_datagrams_of_their_own(switch, host, wire, seeded, tmp_path, address):
    """USO: the kernel hands over many datagrams as one frame."""
    if "uso" not in switch.show("host")["offloads_sent"]:
        pytest.skip("this kernel's tap has no USO")
    give_addresses([host, wire.far])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def make():
        return socket.socket(family, socket.SOCK_DGRAM)

    data = seeded.randbytes(40_500)
    with wire.far.call(make) as receiver, host.call(make) as sender:
        receiver.settimeout(5)
        receiver.bind((address, 9))
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        sender.sendto(b"first, for the neighbour's address", (address, 9))
        receiver.recv(65536)
        with RawSocket(wire.far) as capture:
            sender.sendto(data, (address, 9))
            arrived = [receiver.recv(65536) for _ in range(41)]
            write_capture(tmp_path / "wire.pcap", capture.pending())
    assert b"".join(arrived) == data
    assert {len(piece) for piece in arrived} == {1000, 500}
    assert find_fault(tmp_path / "wire.pcap") == ""
    assert switch.counters("nic")["tx_cut"] > 0


def fold(data):
    """The sum of 16-bit words that the Internet's checksum complements."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def large_packet(data, protocol, destination, source):
    """A frame with `data` in IPv4 from 10.9.0.1 to .2, its checksum partial."""
    addresses = socket.inet_aton("10.9.0.1") + socket.inet_aton("10.9.0.2")
    size = len(data) + (20 if protocol == 6 else 8)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, size + 20, 7, 0, 64, protocol, 0) + addresses
    ip = ip[:10] + struct.pack("!H", 0xFFFF ^ fold(ip)) + ip[12:]
    pseudo = fold(addresses + struct.pack("!HH", protocol, size))
    if protocol == 6:
        l4 = struct.pack("!HHIIBBHHH", 9, 9, 77, 0, 0x50, 0x18, 1000, pseudo, 0)
    else:
        l4 = struct.pack("!HHHH", 9, 9, size, pseudo)
    return bytes.fromhex((destination + source).replace(":", "")) + b"\x08\x00" + ip + l4 + data


def test_a_datagram_in_fragments_is_put_together_again(switch, wire, seeded, stack):
    """UFO: a frame that is to become fragments, from a driver that still knows it."""
    features = vu.F_VERSION_1 | vu.F_MRG_RXBUF | vu.F_CSUM | vu.F_HOST_UFO
    driver = stack.enter_context(vu.Driver(switch.add_vhost("vm"), features=features))
    wire.far.run("ip addr add 10.9.0.2/24 dev eth0")
    wire.far.run("ip neigh add 10.9.0.1 lladdr 52:54:00:00:00:01 dev eth0")
    data = seeded.randbytes(30_000)
    frame = large_packet(data, 17, wire.far.mac("eth0"), "52:54:00:00:00:01")
    header = vu.net_header(vu.NEEDS_CSUM, vu.GSO_UDP, 42, 1480, 34, 6)
    with wire.far.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver:
        receiver.settimeout(5)
        receiver.bind(("10.9.0.2", 9))
        driver.send_frame(frame, header=header)
        assert receiver.recv(65536) == data


# Beside the kernel's own


def test_segments_are_those_of_the_kernel(switch, wire, seeded, stack, say):
    """The same large frame, cut by us and by a bridge of the kernel to a veth without offloads."""
    features = vu.F_VERSION_1 | vu.F_MRG_RXBUF | vu.F_CSUM | vu.F_HOST_TSO4
    driver = stack.enter_context(vu.Driver(switch.add_vhost("vm"), features=features))
    kernel = stack.enter_context(netns.Namespace("kernel"))
    other = stack.enter_context(netns.Namespace("other"))
    switch.add_tap("kernel", kernel)
    kernel.run(
        f"ip link add out type veth peer name eth0 netns {other.name};"
        "ethtool -K out tx off tso off gso off; ip link add br0 type bridge;"
        "ip link set eth0 master br0; ip link set out master br0;"
        "ip link set br0 up; ip link set out up; ip link set eth0 up"
    )
    other.run("ethtool -K eth0 gro off; ip link set eth0 up")
    to_wire, to_kernel, source = wire.far.mac("eth0"), other.mac("eth0"), "52:54:00:00:00:01"
    ours = stack.enter_context(RawSocket(wire.far))
    theirs = stack.enter_context(RawSocket(other))
    for socket_ in (ours, theirs):
        # Learnt, so that nothing is flooded; until it was seen at the other end, all is not up.
        until(lambda s=socket_: s.send(bytes.fromhex("525400000001") + bytes.fromhex(
            s.mac.replace(":", "")) + b"\x88\xb5" + bytes(50)) or any(
                entry["mac"] == s.mac for entry in switch.macs()), "the address learnt")
    total = 0
    for size, step in [(1, 1400), (1400, 1400), (1401, 1400), (5000, 1448), (65000, 1448),
                       (20000, 536), (3001, 88), (64000, 1460)]:
        data = seeded.randbytes(size)
        header = vu.net_header(vu.NEEDS_CSUM, vu.GSO_TCPV4, 54, step, 34, 16)
        count = -(-size // step)
        got = []
        for capture, mac in ((ours, to_wire), (theirs, to_kernel)):
            driver.send_frame(large_packet(data, 6, mac, source), header=header)
            found = capture.collect(lambda f: f[12:14] == b"\x08\x00" and f[23] == 6, count)
            until(lambda: driver.tx.used_index() == driver.tx.avail_index & 0xFFFF, "given back")
            got.append([frame[12:].ljust(48, b"\0") for frame in found])
        assert len(got[0]) == count
        assert got[0] == got[1], f"{size} bytes by {step}"
        total += count
    say(f"{total} segments, each the same to the byte")


# While it runs


def test_offloads_are_switched_while_frames_flow(switch, host, stack, seeded, say):
    other = stack.enter_context(netns.Namespace("other", ipv6=True))
    switch.add_tap("other", other)
    other.run("ip link set eth0 up")
    give_addresses([host, other])
    sizes = {}
    for offloads in ("all", "csum", "none", "csum,tso6", "all"):
        switch.set("other", offloads=offloads)
        shown = switch.show("other")
        before, cut = switch.counters("other"), switch.counters("other")["tx_cut"]
        data = seeded.randbytes(1_000_000)
        assert transfer(host, other, "10.9.0.2", data) == data
        after = switch.counters("other")
        sizes[offloads] = mean_size(before, after, "tx")
        was_cut = after["tx_cut"] > cut
        assert was_cut == (offloads != "all"), offloads
        assert ("tso4" in shown["offloads_taken"]) == (offloads == "all")
    say(", ".join(f"{name}: {size:.0f} bytes a frame" for name, size in sizes.items()))
    assert sizes["all"] > 5000 > 1600 > sizes["csum"]


def test_a_tap_that_may_not_sends_no_large_frames(switch, host, stack, seeded):
    other = stack.enter_context(netns.Namespace("other", ipv6=True))
    switch.add_tap("other", other)
    other.run("ip link set eth0 up")
    give_addresses([host, other])
    assert "offload: on" in host.run("ethtool -k eth0 | grep tcp-segmentation-offload:")
    switch.set("host", offloads="none")
    assert "offload: off" in host.run("ethtool -k eth0 | grep tcp-segmentation-offload:")
    before = switch.counters("host")
    transfer(host, other, "10.9.0.2", seeded.randbytes(500_000))
    assert mean_size(before, switch.counters("host"), "rx") < 1600
    switch.set("host", offloads="all")
    before = switch.counters("host")
    transfer(host, other, "10.9.0.2", seeded.randbytes(500_000))
    assert mean_size(before, switch.counters("host"), "rx") > 5000


@pytest.mark.parametrize("offloads", ["tso4", "csum,ecn", "csum,csum", "fast", "csum,"])
def test_offloads_that_make_no_sense_are_refused(switch, host, offloads):
    with pytest.raises(Exception, match="offloads="):
        switch.set("host", offloads=offloads)
    assert "tso4" in switch.show("host")["offloads_taken"]


def test_an_offload_that_a_device_lacks_is_refused(switch, stack):
    with pytest.raises(Exception, match="has no csum"):
        Wire(stack, switch, offloads="csum,tso4")
    assert switch.ports() == []
    made = Wire(stack, switch, name="again")
    assert switch.show("again")["offloads_taken"] == []
    del made


# Devices


def test_a_device_is_shown(switch, wire, host):
    shown = switch.show("nic")
    assert shown["device"]["driver"] == "net_af_packet"
    assert shown["device"]["mtu"] == MTU
    assert shown["state"] == "up"


def test_the_first_nic_leaves_the_daemon_on_its_cpus(stack, switch):
    """DPDK's environment starts with it, and would give the control thread all CPUs."""
    os.sched_setaffinity(switch.pid, {0})
    Wire(stack, switch)
    assert os.sched_getaffinity(switch.pid) == {0}


def test_two_ports_cannot_have_one_device(switch, wire):
    with pytest.raises(Exception, match="in use"):
        switch.add("second", "ethdev", device="net_af_packet_nic,iface=nic", netns=wire.near.name)


@pytest.mark.parametrize("device", ["net_nonsense0", "0000:ff:1f.7", "net_af_packet0,iface=none"])
def test_a_device_that_is_not_there_is_refused(switch, device):
    with pytest.raises(Exception, match="cannot open device"):
        switch.add("nic", "ethdev", device=device)
    assert switch.ports() == []


def test_a_device_comes_and_goes_many_times(switch, stack, seeded):
    far = None
    for _ in range(10):
        with_own = Wire(stack, switch)
        far = with_own.far
        switch.delete("nic")
    assert switch.ports() == []
    assert far is not None


@pytest.mark.parametrize("driver", ["net_af_xdp", "net_tap"])
def test_other_devices_carry_frames(switch, stack, host, seeded, driver):
    if driver == "net_tap":
        # The kernel's end is an interface of its own, in the namespace that the port is opened in.
        far = stack.enter_context(netns.Namespace("far", ipv6=True))
        switch.add("nic", "ethdev", device="net_tap0,iface=eth0", netns=far.name)
        far.run("ip link set eth0 up")
    else:
        far = Wire(stack, switch, device="net_af_xdp0,iface=nic").far
    switch.wait_state("nic", "up")
    give_addresses([host, far])
    traffic.answers(host, "10.9.0.2")
    data = seeded.randbytes(500_000)
    assert transfer(host, far, "10.9.0.2", data) == data
    assert transfer(far, host, "10.9.0.1", data) == data


@pytest.mark.parametrize("device", ["net_null0", "net_ring0"])
def test_devices_without_an_other_end_can_be_had(switch, device):
    switch.add("nic", "ethdev", device=device)
    switch.wait_state("nic", "up")
    switch.delete("nic")


# Too large


@pytest.mark.parametrize("address", ["10.9.0.2", "fd09::2"], ids=["v4", "v6"])
def test_a_sender_is_told_that_its_packets_are_too_large(switch, host, stack, seeded, address):
    """The two ends think that 9000 bytes fit; the receiver's port takes 1500."""
    other = stack.enter_context(netns.Namespace("other", ipv6=True))
    switch.add_tap("other", other, max_frame=1518)
    for namespace in (host, other):
        namespace.run("ip link set eth0 mtu 9000 up")
    give_addresses([host, other])
    size = 2000
    command = f"ping -c 1 -W 1 -M do -s {size} {address}"
    assert " 0 received" in host.run(command, check=False)
    assert "mtu" not in host.run(f"ip route get {address}")
    switch.set("other", answer_too_large="yes")
    traffic.answers(host, address, count=1)  # so that it is known where the receiver is
    # A ping's own answer is ICMP, and is not told; a datagram is.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.call(lambda: socket.socket(family, socket.SOCK_DGRAM)) as sender:
        sender.connect((address, 9))
        if family == socket.AF_INET:
            sender.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: always DF
        sender.send(bytes(size))
        until(lambda: f"mtu {1518 - 14}" in host.run(f"ip route get {address}"), "the path's MTU")
    data = seeded.randbytes(1_000_000)
    assert transfer(host, other, address, data) == data


def test_a_device_goes_with_its_namespace(switch, stack, host):
    made = Wire(stack, switch)
    made.near.close()
    shown = switch.wait_state("nic", "error")
    assert "is gone" in shown["reason"]
    switch.delete("nic")
    Wire(stack, switch)


def test_segments_from_a_wire_are_put_together(switch, host, wire, seeded, say):
    give_addresses([host, wire.far])
    for coalesce in ("no", "yes"):
        switch.set("host", coalesce=coalesce)
        traffic.answers(host, "10.9.0.2", count=1)
        before = switch.counters("host")
        for address in ("10.9.0.1", "fd09::1"):
            data = seeded.randbytes(3_000_000)
            assert transfer(wire.far, host, address, data) == data
        after = switch.counters("host")
        size = mean_size(before, after, "tx")
        say(f"coalesce={coalesce}: {size:.0f} bytes a frame")
        assert (after["tx_merged"] > before["tx_merged"]) == (coalesce == "yes")
        assert (size > 2000) == (coalesce == "yes")
