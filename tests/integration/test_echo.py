# SPDX-License-Identifier: BSD-3-Clause
"""examples/echo: a device made of libvirtlane alone, for peers of three kinds."""

import subprocess

import pytest

from peers import frames, guests, paths
from peers.wait import until
from vhostuser import Driver

MAC = "02:00:00:00:00:01"
PEER = "02:00:00:00:00:99"


@pytest.fixture
def socket(stack):
    scratch = stack.enter_context(paths.scratch())
    path = f"{scratch}/echo.sock"
    process = subprocess.Popen([paths.program("examples/echo"), path])
    stack.callback(process.wait)
    stack.callback(process.terminate)
    until(lambda: subprocess.run(["test", "-S", path], check=False).returncode == 0, "a socket")
    return path


def test_frames_come_back_with_their_addresses_swapped(socket, seeded, say):
    sizes = (60, 64, 65, 128, 1514, 2000)
    for _ in range(2):  # it serves one front end after the other
        with Driver(socket) as driver:
            driver.offer_receive_buffers(len(sizes))
            for number, size in enumerate(sizes):
                frame = frames.plain(seeded, size, MAC, PEER)
                driver.send_frame(frame)
                until(lambda: driver.rx.used_index() > number, f"the frame of {size} bytes")
                assert driver.received(number) == frame[6:12] + frame[:6] + frame[12:]
    say(f"{len(sizes)} sizes to {sizes[-1]} bytes, twice")


def test_a_user_mode_linux_guest_brings_its_interface_up(socket, say):
    """It needs the configuration space and the control queue to be served."""
    with guests.Uml(socket) as guest:
        guest.run("ip link set eth0 up")
        assert guest.mac() == "02:00:00:00:00:01"
        say("address and control queue served")
