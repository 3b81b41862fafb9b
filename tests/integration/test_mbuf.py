# SPDX-License-Identifier: BSD-3-Clause
"""mbufs through the driver (virtlane/mbuf.h): examples/reflect, a DPDK application without huge
pages, behind the switch and on DPDK's net_vhost. Each ends with all its mbufs in their pool."""

import re
import signal
import subprocess

import pytest
from peers import paths, testpmd, virtlane
from peers.console import Console
from peers.pktgen import Pktgen

EAL = ["-l", "0", "--no-huge", "-m", "64", "--no-pci", "--no-shconf", "--no-telemetry",
       "--log-level=error"]
# Words for the application; without one it takes what is fastest.
RINGS = pytest.mark.parametrize("ring", [[], ["packed"]], ids=["split", "packed"])
# Two cores carry generator, switch and application.
SLOW = ("--frames", "5k", "--rate", "25k", "--queue-size", "4096")
REFLECTOR_MAC = "02:00:00:00:00:77"


class Reflect:
    """A running examples/reflect; its end is checked."""

    def __init__(self, path, *features):
        self.console = Console(
            [paths.program("examples/reflect"), *EAL, "--", path, *features], "reflect")
        self.console.expect("^ready", timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.frames = self.end()
        finally:
            self.console.close()

    def end(self):
        """Ends it, unless it has by itself: how many frames it sent back. No mbuf may be missing."""
        self.console.process.send_signal(signal.SIGINT)
        self.console.wait(20)
        said = self.console.tail()
        counts = re.search(r"(\d+) frames sent back, (\d+) refused\s+"
                           r"(\d+) of (\d+) mbufs in the pool", said)
        assert counts, said
        frames, refused, there, size = (int(count) for count in counts.groups())
        assert (refused, there) == (0, size), said
        return frames


def exchange(path, *options):
    """Sends frames to the reflector, each of which has to come back as it was."""
    with Pktgen("--mode", "exchange", "--verify", "--dst-mac", REFLECTOR_MAC, *options,
                path) as generator:
        report = generator.report()
        assert generator.process.returncode == 0
        return report


@pytest.fixture
def switch():
    with virtlane.Switch() as daemon:
        yield daemon


@RINGS
def test_mbufs_go_round_through_the_switch(switch, ring):
    a, b = switch.add_vhost("a"), switch.add_vhost("b")
    with Reflect(a, *ring) as reflect:
        exchange(b, *SLOW, "--size", "64-1518:7", "--flows", "16")
    assert reflect.frames >= 5000
    switch.check_law()


@RINGS
def test_frames_in_several_mbufs_go_round(switch, ring):
    a, b = switch.add_vhost("a"), switch.add_vhost("b")
    with Reflect(a, "mergeable", *ring) as reflect:
        exchange(b, "--frames", "3k", "--rate", "10k", "--queue-size", "4096",
                 "--size", "60-9000:997", "--mergeable")
    assert reflect.frames >= 3000


@RINGS
def test_segments_and_sums_are_left_to_the_device(switch, ring):
    a, b = switch.add_vhost("a"), switch.add_vhost("b")
    with Reflect(a, "mergeable", "offloads", *ring) as reflect:
        exchange(b, "--frames", "1k", "--rate", "2k", "--queue-size", "4096",
                 "--size", "20000-60000:9973", "--tso", "1448", "--mergeable",
                 "--offload", "csum,tso4,tso6")
    assert reflect.frames >= 1000


@pytest.mark.parametrize("large", [False, True], ids=["small", "9000"])
@RINGS
def test_mbufs_go_round_through_dpdk(ring, large):
    words = ["mergeable", *ring] if large else ring
    sizes = ["--size", "60-9000:997", "--mergeable"] if large else ["--size", "64-1518:7"]
    with paths.scratch() as scratch:
        a, b = f"{scratch}/a.sock", f"{scratch}/b.sock"
        with testpmd.Testpmd(testpmd.vhost(a), testpmd.vhost(b, number=1),
                             mbuf_size=9344 if large else 2176,
                             frame_size=9018 if large else 1518) as peer:
            peer.start()
            with Reflect(a, *words) as reflect:
                exchange(b, "--frames", "3k", "--rate", "10k", "--queue-size", "4096", *sizes)
    assert reflect.frames >= 3000


def test_a_device_that_goes_away_keeps_no_mbufs(switch):
    with Reflect(switch.add_vhost("a")) as reflect:
        switch.delete("a")
        reflect.console.wait(20)
        assert "the device is gone" in reflect.console.tail()


def test_a_device_that_is_not_there_is_told(tmp_path):
    done = subprocess.run([paths.program("examples/reflect"), *EAL, "--", tmp_path / "no.sock"],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "no.sock" in done.stderr
