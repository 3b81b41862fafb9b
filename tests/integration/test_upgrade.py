# SPDX-License-Identifier: BSD-3-Clause
"""virtlaned is replaced by another process while everything runs: no peer may notice."""

import array
import concurrent.futures
import fcntl
import json
import os
import socket
import statistics
import struct
import subprocess
import textwrap
import time

import pytest

from peers import netns, paths, traffic, virtlane
from peers.guests import Nic, Qemu
from peers.pktgen import Pktgen
from peers.soak import times
from peers.wait import until
from vhostuser import GUEST_BASE, USER_BASE, Driver, Region

CONFIG = """
[port a]
kind = vhost
listen = {0}/a.sock
queues = 4
cross-connect = b

[port b]
kind = vhost
listen = {0}/b.sock
queues = 4
cross-connect = a
"""
UPGRADES = times(13)


@pytest.fixture
def wire(stack):
    made = stack.enter_context(virtlane.Switch(config="", start=False))
    made.config.write_text(CONFIG.format(made.directory))
    made.start()
    return made


def run_traffic(wire, *options):
    """As fast as it goes. It does not reconnect: a session that ends would end it."""
    client = Pktgen("--verify", "--latency", "--time", 0, "--threads", 1, "--queue-size", 256,
                    "--drain", 3, *options, wire.path("a.sock"), wire.path("b.sock"))
    wire.wait_state("a", "up")
    wire.wait_state("b", "up")
    return client


def assert_nothing_lost(client):
    client.interrupt()
    report = client.report()
    (direction,) = report["directions"]
    assert direction["sent"] > 20000
    assert report["reconnects"] == direction["lost"] == direction["corrupt"] == 0
    assert direction["duplicates"] == direction["reordered"] == 0
    return direction


@pytest.mark.parametrize("queues", [1, 4])
@pytest.mark.parametrize("ring", ["split", "split-in-order", "packed", "packed-in-order"])
def test_nothing_is_lost_under_full_load(wire, say, ring, queues):
    with run_traffic(wire, "--ring", ring, "--queues", queues) as client:
        gaps = [json.loads(wire.upgrade().stdout)["gap_ms"] for _ in range(UPGRADES)]
        direction = assert_nothing_lost(client)
    say(f"{direction['sent']} frames, {UPGRADES} upgrades: no frames for {statistics.median(gaps):.1f} ms (median)"
        f" and {max(gaps):.1f} ms (longest); longest way of a frame {direction['latency_ns']['max'] / 1e6:.1f} ms;"
        f" nothing delivered for {[round(gap / 1e6, 1) for gap in direction['gaps_ns'][: UPGRADES * queues]]} ms")
    # Far from what is usual, for machines that are busy with other things.
    assert statistics.median(gaps) < 50


# ---- a new one that does not come up ----


def document(**fields):
    """What the two daemons say to each other: JSON in a file, whose descriptor goes along."""
    file = os.memfd_create("document")
    os.write(file, json.dumps(fields).encode())
    return file


FAKE = """
    #!/usr/bin/python3
    import array, json, os, socket, sys, time

    daemon = socket.socket(fileno=3)

    def receive():
        data, ancillary, _, _ = daemon.recvmsg(8, socket.CMSG_SPACE(200 * 4))
        return data

    def answer(**fields):
        file = os.memfd_create("answer")
        os.write(file, json.dumps({"format": 1, "version": "fake", "ok": "error" not in fields, **fields}).encode())
        daemon.sendmsg([bytes(8)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))])

    receive()
"""
# From the start to the moment before it would go on.
WAYS_TO_FAIL = {
    "not a program": None,
    "ends at once": "sys.exit(3)",
    "crashes at start": "os.abort()",
    "says what is wrong": "answer(error='the moon is full'); time.sleep(60)",
    "speaks nonsense": "daemon.send(bytes(3)); time.sleep(60)",
    "ends when it is up": "answer(); sys.exit(0)",
    "ends with the addresses": "answer(); receive(); sys.exit(0)",
    "ends with the ports": "answer(); receive(); answer(); receive(); sys.exit(0)",
    "refuses the ports": "answer(); receive(); answer(); receive(); answer(error='no'); time.sleep(60)",
    "hangs with the ports": "answer(); receive(); answer(); receive(); time.sleep(60)",
}


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
def test_the_old_one_goes_on_if_the_new_one_does_not_come_up(wire, way, say):
    program = wire.directory / "fake"
    code = WAYS_TO_FAIL[way]
    program.write_text("not a program" if code is None else textwrap.dedent(FAKE).strip() + "\n" + code)
    program.chmod(0o755)
    before = wire.pid
    with run_traffic(wire, "--rate", "100k", "--queues", 2) as client:
        done = wire.upgrade(program, check=False)
        assert done.returncode == 1
        say(done.stderr.strip())
        assert wire.call("upgrade.status")["pid"] == before
        assert wire.process.poll() is None
        time.sleep(0.5)
        # The next one may be better.
        wire.upgrade()
        time.sleep(0.5)
        assert_nothing_lost(client)
    children = subprocess.run(["pgrep", "-f", str(program)], capture_output=True, text=True).stdout
    assert children == ""


def test_a_program_that_is_not_there_is_refused(wire):
    assert wire.upgrade(wire.directory / "nothing", check=False).returncode == 2
    with pytest.raises(virtlane.RpcError, match="cannot start"):
        wire.call("upgrade", program="/nowhere/virtlaned")
    assert wire.call("upgrade.status")["state"] == "none"


@pytest.mark.parametrize("what, fields", [
    ("a newer format", {"format": 99, "version": "9.9.9"}),
    ("no format", {"version": "9.9.9"}),
    ("no configuration", {"format": 1, "version": "9.9.9"}),
    ("a bad configuration", {"format": 1, "version": "9.9.9", "config": "[port a]\nkind = nothing\n"}),
])
def test_state_of_another_kind_is_refused_with_a_reason(wire, tmp_path, what, fields):
    old, new = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    log = tmp_path / "log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            [paths.program("virtlaned"), f"--take-over={new.fileno()}", "--socket", str(wire.control)],
            pass_fds=[new.fileno()], stderr=output)
    new.close()
    file = document(**fields)
    old.sendmsg([struct.pack("Q", 0)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))])
    os.close(file)
    _, answers, _, _ = socket.recv_fds(old, 8, 1)
    with open(answers[0]) as answer:
        answer.seek(0)
        error = json.load(answer)["error"]
    assert process.wait(10) == 1
    old.close()
    if "format" in what:
        assert "format" in error and "9.9.9" in error
    else:
        assert "configuration" in error
    assert error in log.read_text()
    # Nothing of the running one was touched.
    assert wire.call("version")["rpc"] == 1
    assert os.path.exists(wire.path("a.sock"))


# ---- what stays as it was ----


def test_namespaces_keep_their_connections_and_the_switch_what_it_knows(switch, make_namespace, say):
    hosts = []
    for name in ("left", "right"):
        host = make_namespace(name)
        switch.add_tap(name, host)
        hosts.append(host)
        host.address("eth0", f"10.0.0.{len(hosts)}/24")
    left, right = hosts
    switch.set("left", storm_limit=1000000)
    switch.call("log.level", subject="vhost", level="debug")
    traffic.answers(left, "10.0.0.2")
    index = left.run("cat /sys/class/net/eth0/ifindex")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        connection = pool.submit(traffic.iperf, left, right, "10.0.0.2", seconds=5)
        time.sleep(0.5)
        for _ in range(8):
            before = switch.counters("left")
            macs = {(mac["mac"], mac["port"]) for mac in switch.macs()}
            switch.upgrade()
            after = switch.counters("left")
            assert after["rx_frames"] >= before["rx_frames"] > 0
            assert macs <= {(mac["mac"], mac["port"]) for mac in switch.macs()}
            time.sleep(0.1)
        result = connection.result()
    say(f"{result['sum_received']['bits_per_second'] / 1e9:.2f} Gbit/s over 8 upgrades,"
        f" {result['sum_sent']['retransmits']} segments sent again")
    assert result["sum_received"]["bytes"] > 1000000
    assert left.run("cat /sys/class/net/eth0/ifindex") == index
    assert switch.call("log.level")["vhost"] == "debug"
    assert switch.show("left")["settings"]["storm-limit"] == 1000000
    # And it is a switch as any other.
    third = make_namespace("third")
    switch.add_tap("third", third)
    third.address("eth0", "10.0.0.3/24")
    traffic.answers(third, "10.0.0.1")
    switch.delete("right")


@pytest.mark.parametrize("ring", ["split", "packed"])
def test_a_stock_guest_does_not_notice(stack, say, ring):
    host = stack.enter_context(netns.Namespace("host"))
    switch = stack.enter_context(virtlane.Switch())
    switch.add_vhost("vm")
    switch.add_tap("host", host)
    host.address("eth0", "10.0.0.1/24")
    nic = Nic(switch.path("vm.sock"), "52:54:00:00:01:01",
              properties="packed=on" if ring == "packed" else "")
    guest = stack.enter_context(Qemu(nic, name="vm"))
    guest.address("eth0", "10.0.0.10/24")
    guest.run("ping -i 0.01 10.0.0.1 >/dev/null 2>&1 &")
    switch.wait_state("vm", "up")
    traffic.answers(guest, "10.0.0.1")
    carrier = guest.run("cat /sys/class/net/eth0/carrier_changes").strip()
    for _ in range(times(5)):
        switch.upgrade()
        traffic.answers(host, "10.0.0.10")
    # When a session ends QEMU takes the link down.
    assert guest.run("cat /sys/class/net/eth0/carrier_changes").strip() == carrier
    rate = traffic.iperf_gbits(host, guest, "10.0.0.10", seconds=1)
    say(f"{rate:.2f} Gbit/s to the guest after 5 upgrades")
    # A crash after an upgrade is a crash as any other.
    switch.kill()


def test_sockets_are_served_after_the_upgrade(wire):
    for _ in range(3):
        wire.upgrade()
        with run_traffic(wire, "--rate", "100k") as client:
            time.sleep(1.5)
            assert_nothing_lost(client)
        until(lambda: wire.show("a")["state"] == "waiting", "the end of the session")


def test_a_port_that_cannot_go_over_is_made_again(stack, switch, make_namespace):
    """A driver's session with another switch ends, and another one begins."""
    other = stack.enter_context(virtlane.Switch())
    other.add_vhost("down")
    host, far = make_namespace("host"), netns.Namespace("far")
    stack.enter_context(far)
    other.add_tap("far", far)
    switch.add("up", "virtio", connect=other.path("down.sock"))
    switch.add_tap("host", host)
    host.address("eth0", "10.0.0.1/24")
    far.address("eth0", "10.0.0.2/24")
    switch.wait_state("up", "up")
    traffic.answers(host, "10.0.0.2")
    switch.upgrade()
    switch.wait_state("up", "up")
    traffic.answers(host, "10.0.0.2")


@pytest.mark.parametrize("way", ["cut", "sealed"])
def test_a_tenant_whose_memory_cannot_be_mapped_again_loses_its_session_alone(wire, way):
    """The old one has it mapped, and would not notice before it is touched."""
    path = wire.add_vhost("vm")
    spare = Region(guest=GUEST_BASE + (1 << 30), user=USER_BASE + (1 << 30))
    with Driver(path, regions=[Region(), spare]), run_traffic(wire, "--rate", "100k") as client:
        wire.wait_state("vm", "up")
        if way == "cut":
            os.ftruncate(spare.fd, 0)
        else:
            fcntl.fcntl(spare.fd, fcntl.F_ADD_SEALS, 0x10)  # F_SEAL_FUTURE_WRITE
        wire.upgrade()
        shown = wire.show("vm")
        assert shown["state"] == "error" and shown["peer"] == ""
        assert "memory region" in shown["reason"]
        time.sleep(0.5)
        assert_nothing_lost(client)
    with Driver(path):
        wire.wait_state("vm", "up")


def test_only_the_owner_may_upgrade(wire):
    """The group of the control socket may do all else; whoever names the program gets everything."""
    wire.directory.chmod(0o755)
    request = '{"jsonrpc": "2.0", "id": 1, "method": "%s"}\n'
    client = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
              " s.sendall(sys.argv[2].encode()); print(s.makefile().readline())")

    def call(method):
        done = subprocess.run(["/usr/bin/python3", "-c", client, str(wire.control), request % method],
                              user=65534, group=0, extra_groups=[], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    assert call("version")["result"]["rpc"] == 1
    refused = call("upgrade")["error"]
    assert refused["code"] == -32002 and "only root" in refused["message"]
    assert wire.call("upgrade.status")["state"] == "none"
