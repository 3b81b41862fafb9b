# SPDX-License-Identifier: BSD-3-Clause
"""A stock guest whose network device is behind an IOMMU: each address is translated, and taken back soon."""

import pytest

from peers import netns, traffic, virtlane
from peers.guests import Nic, Qemu

HOST, GUEST = "10.0.0.1", "10.0.0.10"


@pytest.fixture
def switch(stack):
    made = stack.enter_context(virtlane.Switch())
    yield made
    made.check_law()


@pytest.mark.parametrize("properties", ["", "packed=on"], ids=["split", "packed"])
def test_frames_pass_both_ways_by_translated_addresses(stack, switch, say, properties):
    host = stack.enter_context(netns.Namespace("host"))
    switch.add_tap("host", host)
    host.address("eth0", f"{HOST}/24")
    path = switch.add_vhost("vm", iommu="yes")
    nic = Nic(path, "52:54:00:00:01:01", properties=",".join(filter(None, ["disable-legacy=on,iommu_platform=on,ats=on", properties])))
    guest = stack.enter_context(Qemu(nic, iommu=True))
    assert guest.run("ls /sys/class/iommu").split() == ["dmar0"]
    guest.address("eth0", f"{GUEST}/24")
    assert "ACCESS_PLATFORM" in switch.wait_state("vm", "up")["features"]
    traffic.answers(guest, HOST, count=10)
    rates = [traffic.iperf_gbits(*ends, seconds=1) for ends in ((host, guest, GUEST), (guest, host, HOST))]
    say(f"{rates[0]:.2f} Gbit/s to the guest, {rates[1]:.2f} from it")
    assert switch.show("vm")["last_message"] == "IOTLB_MSG"
    # Another process knows no translation.
    switch.upgrade()
    traffic.answers(guest, HOST)
    switch.kill()
    switch.start()
    switch.add_tap("host", host)
    host.address("eth0", f"{HOST}/24")
    switch.add_vhost("vm", iommu="yes")
    switch.wait_state("vm", "up")
    traffic.answers(guest, HOST)
    guest.run("ip link set eth0 down; echo virtio0 > /sys/bus/virtio/drivers/virtio_net/unbind;"
              " echo virtio0 > /sys/bus/virtio/drivers/virtio_net/bind")
    guest.address("eth0", f"{GUEST}/24")
    traffic.answers(guest, HOST)


def test_a_guest_that_has_none_is_as_without(stack, switch):
    """It is offered, and not taken."""
    host = stack.enter_context(netns.Namespace("host"))
    switch.add_tap("host", host)
    host.address("eth0", f"{HOST}/24")
    guest = stack.enter_context(Qemu(Nic(switch.add_vhost("vm", iommu="yes"), "52:54:00:00:01:01")))
    guest.address("eth0", f"{GUEST}/24")
    assert "ACCESS_PLATFORM" not in switch.wait_state("vm", "up")["features"]
    traffic.answers(guest, HOST)
