# SPDX-License-Identifier: BSD-3-Clause
"""Stock Linux guests: Debian kernels in QEMU and as User Mode Linux."""

import re

import pytest

from peers import netns, traffic, virtlane
from peers.guests import Nic, Qemu, Uml
from peers.wait import until
from test_large import mean_size

GUEST = "10.0.0.10"
HOST = "10.0.0.1"


def guest_mac(number):
    return f"52:54:00:00:01:{number:02x}"


class Rig:
    """A switch, a namespace on a tap port with 10.0.0.1, and guests that are added to it."""

    def __init__(self, stack):
        self.stack = stack
        self.switch = stack.enter_context(virtlane.Switch())
        self.host = stack.enter_context(netns.Namespace("host"))
        self.switch.add_tap("host", self.host)
        self.host.address("eth0", f"{HOST}/24", mtu=9000)
        self._guests = 0

    def qemu(self, name="vm", server=False, queues=1, properties="", mtu=None, port=(), **options):
        """A QEMU guest on port `name`, with the next address; it is up when this returns."""
        self._guests += 1
        path = self.switch.path(f"{name}.sock")
        settings = dict(port, queues=queues)
        if server:
            settings["connect"] = path
        self.switch.add_vhost(name, **settings)
        nic = Nic(path, guest_mac(self._guests), server, queues, properties)
        guest = self.stack.enter_context(Qemu(nic, name=name, **options))
        return self._up(guest, name, mtu)

    def uml(self, name="uml", mtu=None, port=(), **options):
        self._guests += 1
        path = self.switch.add_vhost(name, mac=guest_mac(self._guests), **dict(port))
        return self._up(self.stack.enter_context(Uml(path, name=name, **options)), name, mtu)

    def _up(self, guest, name, mtu):
        guest.ip = f"10.0.0.{9 + self._guests}"
        guest.address("eth0", f"{guest.ip}/24", mtu)
        self.switch.wait_state(name, "up")
        return guest


@pytest.fixture
def rig(stack):
    made = Rig(stack)
    yield made
    made.switch.check_law()


@pytest.fixture(params=["qemu", "uml"])
def guest(rig, request):
    """One guest of each kind."""
    return getattr(rig, request.param)()


# What every guest must do


def test_guest_pings_a_namespace(rig, guest, say):
    say(f"{guest}: {traffic.answers(guest, HOST)}")


@pytest.mark.parametrize("direction", ["", "-R"], ids=["send", "receive"])
def test_guest_runs_iperf3_with_a_namespace(rig, guest, say, direction):
    rate = traffic.iperf_gbits(guest, rig.host, HOST, seconds=2, options=direction)
    say(f"{guest} iperf3 {direction}: {rate:.2f} Gbit/s")
    assert rate > 0.02


def test_guest_with_mtu_9000_exchanges_large_frames(rig, guest, say):
    guest.run("ip link set eth0 mtu 9000")
    result = traffic.answers(guest, HOST, size=8972)
    say(f"{guest}, 8972 bytes: {result}")
    traffic.answers(rig.host, guest.ip, size=8972)


def test_interface_goes_down_and_up(rig, guest):
    for _ in range(3):
        guest.run("ip link set eth0 down")
        traffic.no_answer(rig.host, guest.ip)
        guest.run("ip link set eth0 up")
        traffic.answers(guest, HOST)


def test_driver_is_unbound_and_bound_again(rig, guest):
    device = guest.run("basename $(readlink /sys/class/net/eth0/device)").strip()
    driver = "/sys/bus/virtio/drivers/virtio_net"
    for _ in range(2):
        guest.run(f"echo {device} > {driver}/unbind")
        assert "eth0" not in guest.run("ls /sys/class/net")
        guest.run(f"echo {device} > {driver}/bind")
        guest.address("eth0", f"{guest.ip}/24")
        traffic.answers(guest, HOST)


def test_guest_learns_the_mac_of_its_port(rig, guest):
    assert guest.mac() == guest_mac(1)


def test_guest_that_is_killed_leaves_its_port_waiting_and_others_going(rig, guest):
    other = rig.uml(name="other")
    guest.close()
    rig.switch.wait_state(guest.name, "waiting")
    traffic.answers(other, HOST)


# Guests among each other


def test_two_uml_guests_ping_and_run_iperf3(rig, say):
    a, b = rig.uml("uml1"), rig.uml("uml2")
    say(f"ping: {traffic.answers(a, b.ip)}")
    say(f"iperf3: {traffic.iperf_gbits(a, b, b.ip):.2f} Gbit/s")


def test_qemu_and_uml_guests_ping_and_run_iperf3(rig, say):
    a, b = rig.qemu("vm1"), rig.uml("uml1")
    say(f"ping: {traffic.answers(a, b.ip)}")
    say(f"iperf3: {traffic.iperf_gbits(a, b, b.ip):.2f} Gbit/s")
    say(f"iperf3 back: {traffic.iperf_gbits(b, a, a.ip):.2f} Gbit/s")


def test_vlan_interfaces_of_a_guest_on_a_trunk_reach_access_ports(rig, stack, say):
    trunk = rig.uml("uml1", port={"trunk": "10,20"})
    for vlan in (10, 20):
        access = stack.enter_context(netns.Namespace(f"vlan{vlan}"))
        rig.switch.add_tap(f"access{vlan}", access, vlan=vlan)
        access.address("eth0", f"10.1.{vlan}.2/24")
        trunk.run(f"ip link add link eth0 name eth0.{vlan} type vlan id {vlan}")
        trunk.address(f"eth0.{vlan}", f"10.1.{vlan}.1/24")
        say(f"VLAN {vlan}: {traffic.answers(trunk, f'10.1.{vlan}.2')}")
        rate = traffic.iperf_gbits(trunk, access, f"10.1.{vlan}.2", seconds=1)
        say(f"VLAN {vlan}: iperf3 {rate:.2f} Gbit/s")


def test_two_trunks_carry_vlan_interfaces_between_guests(rig):
    a, b = rig.uml("uml1", port={"trunk": "all"}), rig.uml("uml2", port={"trunk": "100-200"})
    for number, guest in ((1, a), (2, b)):
        guest.run("ip link add link eth0 name v150 type vlan id 150")
        guest.address("v150", f"10.9.0.{number}/24")
    traffic.answers(a, "10.9.0.2")


# Large frames


CAPTURED = 1000  # frames


def start_capture(guest):
    guest.run(
        f"rm -f /tmp/done; (tcpdump -Z root -i eth0 -s 96 -c {CAPTURED} -w /tmp/frames tcp dst port"
        f" {traffic.IPERF_PORT} 2>/tmp/tcpdump; touch /tmp/done) >/dev/null &"
        " until grep -q listening /tmp/tcpdump 2>/dev/null; do sleep 0.05; done"
    )


def captured(guest):
    """Frames with payload: IP id, flags, sequence numbers, and length, as tcpdump prints them."""
    printed = guest.run(
        "n=0; until [ -e /tmp/done ] || [ $n -gt 100 ]; do n=$((n + 1)); sleep 0.1; done;"
        " tcpdump -Z root -r /tmp/frames -n -v -S -t 2>/dev/null | grep -v '^$'; rm /tmp/tcpdump", timeout=60
    )
    found = re.findall(
        r"id (\d+),.*\n.* Flags \[(\S+)\],.* seq (\d+):\d+, ack .* length (\d+)", printed
    )
    return {int(number): (int(length), flags, ip_id) for ip_id, flags, number, length in found}


def test_large_frames_pass_between_stock_guests_as_they_are(rig, say):
    """Captures at both ends show the same frames, most of them larger than any MTU."""
    a, b = rig.qemu("vm1"), rig.uml("uml1")
    for guest in (a, b):
        assert "offload: on" in guest.run("ethtool -k eth0 | grep tcp-segmentation-offload:")
    for sender, receiver in ((a, b), (b, a)):
        before = rig.switch.counters(receiver.name)
        for guest in (a, b):
            start_capture(guest)
        traffic.iperf_gbits(sender, receiver, receiver.ip, seconds=2)
        after = rig.switch.counters(receiver.name)
        size = mean_size(before, after, "tx")
        sent, arrived = captured(sender), captured(receiver)
        same = sent.keys() & arrived.keys()
        large = sum(sent[number][0] > 1448 for number in same)
        say(f"{sender} to {receiver}: {size:.0f} bytes a frame; {len(same)} frames seen at both ends,"
            f" {large} larger than an MTU")
        assert size > 4000
        assert after["tx_cut"] == 0
        assert {number: sent[number] for number in same} == {n: arrived[n] for n in same}
        assert large > len(same) / 2 > CAPTURED / 8


def test_a_guest_is_told_to_cut_for_itself_while_it_runs(rig, say):
    """CTRL_GUEST_OFFLOADS, which reaches us from User Mode Linux."""
    guest = rig.uml()
    for state, cut in (("on", False), ("off", True), ("on", False)):
        guest.run(f"ethtool -K eth0 rx-gro-hw {state}")
        taken = rig.switch.show("uml")["offloads_taken"]
        assert ("tso4" in taken) != cut, taken
        before = rig.switch.counters("uml")
        rate = traffic.iperf_gbits(rig.host, guest, guest.ip, seconds=1)
        after = rig.switch.counters("uml")
        say(f"rx-gro-hw {state}: {mean_size(before, after, 'tx'):.0f} bytes a frame,"
            f" {rate:.2f} Gbit/s")
        assert (after["tx_cut"] > before["tx_cut"]) == cut


def test_a_port_without_offloads_serves_a_guest_all_the_same(rig, say):
    guest = rig.uml(port={"offloads": "none"})
    assert "TSO" not in " ".join(rig.switch.show("uml")["features"])
    rate = traffic.iperf_gbits(rig.host, guest, guest.ip, seconds=1)
    assert rig.switch.counters("uml")["tx_cut"] > 0
    back = traffic.iperf_gbits(guest, rig.host, HOST, seconds=1)
    say(f"{rate:.2f} Gbit/s, back {back:.2f} Gbit/s")


# QEMU's variants


VARIANTS = {
    "packed": dict(properties="packed=on"),
    "no-mergeable": dict(properties="mrg_rxbuf=off"),
    "no-indirect": dict(properties="indirect_desc=off"),
    "no-event-idx": dict(properties="event_idx=off"),
    "legacy": dict(properties="disable-modern=on,disable-legacy=off"),
    "legacy-no-mergeable": dict(properties="disable-modern=on,disable-legacy=off,mrg_rxbuf=off"),
    "no-offloads": dict(properties="csum=off,guest_csum=off,gso=off"),
    "queue-1024": dict(properties="rx_queue_size=1024,tx_queue_size=1024"),
    "packed-2-pairs": dict(properties="packed=on", queues=2, cpus=2),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_qemu_guest_with(rig, say, variant):
    guest = rig.qemu(**VARIANTS[variant])
    shown = rig.switch.show("vm")
    if "packed" in variant:
        assert "RING_PACKED" in shown["features"]
    if "legacy" in variant:
        assert "VERSION_1" not in shown["features"]
    guest.run("ip link set eth0 mtu 9000")
    say(f"ping of 8972 bytes: {traffic.answers(guest, HOST, size=8972)}")
    say(f"iperf3: {traffic.iperf_gbits(guest, rig.host, HOST, seconds=1):.2f} Gbit/s")
    say(f"back: {traffic.iperf_gbits(guest, rig.host, HOST, seconds=1, options='-R'):.2f} Gbit/s")


def test_two_queue_pairs_with_msi_x(rig, say):
    guest = rig.qemu(queues=2, cpus=2)
    assert "Combined:\t2" in guest.run("ethtool -l eth0").split("Current")[1]
    interrupts = guest.run("grep -c virtio0-input /proc/interrupts").strip()
    assert interrupts == "2", "each receive queue has a vector of its own"
    rate = traffic.iperf_gbits(guest, rig.host, HOST, seconds=2, options="-P 4")
    say(f"4 flows: {rate:.2f} Gbit/s")
    enabled = [q for q in rig.switch.show("vm")["queues"] if q["started"] and q["enabled"]]
    assert len(enabled) == 4
    assert all(q["used"] for q in enabled if q["index"] % 2 == 0), "receive queues are all used"


def test_queue_pairs_are_switched_off_and_on(rig):
    guest = rig.qemu(queues=2, cpus=2)
    guest.run("ethtool -L eth0 combined 1")
    traffic.answers(guest, HOST)
    until(
        lambda: len([q for q in rig.switch.show("vm")["queues"] if q["enabled"]]) == 2,
        "one pair enabled",
    )
    for count in (2, 1, 2):
        guest.run(f"ethtool -L eth0 combined {count}")
        traffic.answers(guest, HOST)
        traffic.answers(rig.host, guest.ip)


def test_qemu_listens_and_the_switch_connects(rig):
    guest = rig.qemu(server=True)
    traffic.answers(guest, HOST)


def test_guest_reboots(rig):
    guest = rig.qemu(reboots=True)
    traffic.answers(guest, HOST)
    for _ in range(2):
        guest.reboot()
        guest.address("eth0", f"{guest.ip}/24")
        rig.switch.wait_state("vm", "up")
        traffic.answers(guest, HOST)


def test_guest_comes_back_when_the_switch_restarts(stack):
    config = """
[port vm]
kind = vhost
listen = {directory}/vm.sock
[port host]
kind = tap
netns = {netns}
interface = eth0
"""
    host = stack.enter_context(netns.Namespace("host"))
    switch = stack.enter_context(virtlane.Switch(config="", start=False))
    switch.config.write_text(config.format(directory=switch.directory, netns=host.name))
    switch.start()
    guest = stack.enter_context(Qemu(Nic(switch.path("vm.sock"), guest_mac(1)), name="vm"))
    guest.address("eth0", f"{GUEST}/24")
    for _ in range(2):
        host.address("eth0", f"{HOST}/24")
        switch.wait_state("vm", "up")
        traffic.answers(guest, HOST)
        switch.stop()
        switch.start()


def test_port_mtu_is_offered_to_the_guest(rig):
    guest = rig.qemu(port={"mtu": 4000}, properties="host_mtu=4000")
    assert guest.run("cat /sys/class/net/eth0/mtu").strip() == "4000"
    traffic.answers(guest, HOST, size=3972)


def test_removing_the_port_under_a_guest_disturbs_nobody(rig):
    rig.uml("uml1")
    other = rig.uml("uml2")
    rig.switch.delete("uml1")
    traffic.answers(other, HOST)


def test_guest_leaves_its_offloads_on_between_virtqueues(rig):
    """A TSO frame passes between two guests as it is: far fewer frames than segments."""
    a, b = rig.uml("uml1"), rig.uml("uml2")
    before = rig.switch.at_rest()["total"]["rx_bytes"], rig.switch.stats()["total"]["rx_frames"]
    traffic.iperf_gbits(a, b, b.ip, seconds=1)
    total = rig.switch.at_rest()["total"]
    octets, count = total["rx_bytes"] - before[0], total["rx_frames"] - before[1]
    assert octets / count > 1514, f"{octets} bytes in {count} frames"


def test_a_guest_sees_that_its_link_is_down(stack, switch, make_namespace):
    """User Mode Linux reads its configuration space from us, and is told when that changes."""
    host = make_namespace("host")
    switch.add_tap("host", host)
    host.address("eth0", "10.0.0.1/24")
    guest = stack.enter_context(Uml(switch.add_vhost("vm"), name="vm"))
    guest.address("eth0", "10.0.0.10/24")
    switch.wait_state("vm", "up")
    traffic.answers(guest, "10.0.0.1")
    carrier = "cat /sys/class/net/eth0/carrier"
    switch.set("vm", link="down")
    until(lambda: guest.run(carrier).strip() == "0", "no carrier in the guest")
    traffic.no_answer(host, "10.0.0.10")
    switch.set("vm", link="up")
    until(lambda: guest.run(carrier).strip() == "1", "a carrier in the guest")
    traffic.answers(guest, "10.0.0.1")
