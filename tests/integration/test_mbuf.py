# SPDX-License-Identifier: BSD-3-Clause
"""virtlane/mbuf.h: a DPDK application (examples/reflect.c) sends back what it receives, uncopied."""

import contextlib
import re
import subprocess

import pytest
from peers import paths, testpmd, virtlane
from peers.pktgen import Pktgen

RINGS = ["split", "split-in-order", "packed", "packed-in-order"]
EXCHANGE = ("--mode", "exchange", "--verify", "--queue-size", "4096")
MRG_RXBUF = 1 << 15


@contextlib.contextmanager
def reflector(path, ring="split", wanted=0):
    """The application, without huge pages; at its end no mbuf may be missing."""
    process = subprocess.Popen(
        ["env", f"VIRTLANE_RING={ring}", paths.program("examples/reflect"), "--no-huge", "-m", "64",
         "--no-shconf", "--no-pci", "--no-telemetry", "--lcores", "0@(0-1)", "--", path,
         str(wanted)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    try:
        if "ready\n" not in iter(process.stdout.readline, ""):
            raise AssertionError(f"no start: {process.communicate(timeout=20)[1][-600:]}")
        yield process
        process.terminate()
        output, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors
        frames, missing = map(int, re.findall(r"\d+", output.splitlines()[-1]))
        assert frames > 0 and missing == 0, output
    finally:
        process.kill()
        process.wait()


def exchange(port, *options):
    with Pktgen(*EXCHANGE, *options, port) as generator:
        report = generator.report(60)
        assert generator.process.returncode == 0
        return report


@pytest.mark.parametrize("ring", RINGS)
def test_frames_come_back_through_the_switch(ring):
    with virtlane.Switch() as switch:
        a, b = switch.add_vhost("a"), switch.add_vhost("b")
        with reflector(b, ring):
            exchange(a, "--frames", "5k", "--rate", "20k", "--size", "64-1518:7")


@pytest.mark.parametrize("ring", ["split", "packed"])
def test_frames_in_several_mbufs_come_back(ring):
    with virtlane.Switch() as switch:
        a, b = switch.add_vhost("a"), switch.add_vhost("b")
        with reflector(b, ring, wanted=MRG_RXBUF):
            exchange(a, "--frames", "2k", "--rate", "8k", "--size", "60-9000:997", "--mergeable")


@pytest.mark.parametrize("ring", ["split", "packed-in-order"])
def test_frames_come_back_through_net_vhost(ring):
    with paths.scratch() as scratch:
        a, b = f"{scratch}/a.sock", f"{scratch}/b.sock"
        with testpmd.Testpmd(testpmd.vhost(a), testpmd.vhost(b, number=1)) as peer:
            peer.start()
            with reflector(b, ring):
                exchange(a, "--frames", "5k", "--rate", "20k", "--size", "64-1518:7")
