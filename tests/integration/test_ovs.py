# SPDX-License-Identifier: BSD-3-Clause
"""The driver side with Open vSwitch's vhost-user ports: it listens, or it connects."""

import pytest
from peers import ovs
from peers.pktgen import Pktgen
from peers.wait import until

# Two cores carry generator, switch and everything else: rings hold what comes while one waits.
SLOW = ("--frames", "5k", "--rate", "20k", "--queue-size", "4096", "--verify")


@pytest.fixture(scope="module")
def bridge():
    with ovs.Ovs(cpu=0, normal=False) as switch:
        switch.add_port("a")
        switch.add_port("b")
        switch.add_port("c", client=True)
        switch.add_port("d", client=True)
        yield switch


def ports(bridge, ovs_connects):
    if ovs_connects:
        return [f"listen:{bridge.directory}/{name}.sock" for name in "cd"]
    return [f"{bridge.directory}/{name}" for name in "ab"]


@pytest.mark.parametrize("ovs_connects", [False, True], ids=["we-connect", "ovs-connects"])
@pytest.mark.parametrize("ring", ["split", "split-in-order", "packed", "packed-in-order"])
def test_frames_of_all_sizes_pass_a_bridge(bridge, ring, ovs_connects, say):
    # Its polling thread takes a queue up some time after that was started.
    with Pktgen(*SLOW, "--warmup", "2", "--size", "64-1518:7", "--flows", "16", "--ring", ring,
                *ports(bridge, ovs_connects)) as generator:
        report = generator.report(60)
    assert generator.process.returncode == 0
    say(f"{report['rx_frames']} frames compared")


def test_the_end_of_a_bridge_is_told():
    with ovs.Ovs(cpu=0, normal=False) as switch:
        a, b = switch.add_port("a"), switch.add_port("b")
        with Pktgen("--rate", "20k", "--time", "60", a, b) as generator:
            until(lambda: switch.log().count("virtio is now ready") == 2, "two connections")
            switch.kill()
            errors = generator.process.communicate(timeout=20)[1]
        assert generator.process.returncode == 1
        assert "hung up" in errors
