# SPDX-License-Identifier: BSD-3-Clause
"""The driver side with real back ends: virtlane-pktgen through virtlaned and DPDK's net_vhost."""

import pathlib
import subprocess

import pytest
from peers import paths, testpmd, virtlane
from peers.pktgen import Pktgen
from peers.wait import until

RINGS = ["split", "split-in-order", "packed", "packed-in-order"]
# Two cores carry generator, switch and everything else: rings hold what comes while one waits.
SLOW = ("--frames", "5k", "--rate", "25k", "--queue-size", "4096")


@pytest.fixture
def switch():
    with virtlane.Switch() as daemon:
        yield daemon




@pytest.mark.parametrize("ring", RINGS)
def test_frames_of_all_sizes_pass_the_switch(switch, ring):
    a, b = switch.add_vhost("a"), switch.add_vhost("b")
    with Pktgen(*SLOW, "--size", "64-1518:7", "--flows", "16",
                "--verify", "--ring", ring, a, b) as generator:
        assert generator.report()
        assert generator.process.returncode == 0


@pytest.mark.parametrize("poll", ["adaptive", "always"])
def test_a_queue_that_sleeps_is_heard_while_others_are_busy(stack, poll):
    """A worker with work elsewhere does not poll an idle queue in each round; its frames come all
    the same, be they announced or not."""
    switch = stack.enter_context(virtlane.Switch(config=f"[switch]\npoll = {poll}\n"))
    for number in range(40):
        switch.add_vhost(f"nobody{number}")
    a, b, c, d = [switch.add_vhost(name) for name in "abcd"]
    busy = ("--mode", "reflect", "--reflect", "swap", "--in-flight", "64", "--time", "6", a, b)
    with Pktgen(*busy) as others:
        with Pktgen("--frames", "40", "--rate", "20", "--both-ways", "--verify", c, d) as generator:
            assert generator.report()
            assert generator.process.returncode == 0
        assert others.process.poll() is None, "the worker was busy all the time"
        assert others.report()["rx_frames"] > 100000


def test_many_addresses_are_announced_and_found(switch):
    a, b = switch.add_vhost("a"), switch.add_vhost("b")
    with Pktgen("--frames", "6k", "--rate", "25k", "--both-ways", "--macs", "3000", "--verify",
                "--queue-size", "4096", a, b) as generator:
        report = generator.report()
    assert report["options"]["flows"] == 3000
    ports = [entry["port"] for entry in switch.macs()]
    assert (ports.count("a"), ports.count("b")) == (3000, 3000)
    total = switch.check_law()["total"]
    assert total["rx_replicated"] == 0, "nothing but announcements is flooded, to the one other"


@pytest.mark.parametrize("buffers", ["1024", "16384"])
def test_a_dma_engine_copies_large_pieces(buffers):
    config = "[switch]\ndma = dma_skeleton\ndma-least = 900\n"
    with virtlane.Switch(config=config) as switch:
        a, b = switch.add_vhost("a"), switch.add_vhost("b")
        with Pktgen("--frames", "3k", "--rate", "3k", "--queue-size", "4096", "--both-ways",
                    "--size", "60-9000:997", "--buffer-size", buffers, "--mergeable", "--verify",
                    a, b) as generator:
            assert generator.report()
        assert switch.call("worker.list")[0]["dma_copies"] > 1000
        switch.check_law()


def test_a_missing_dma_engine_is_told():
    with pytest.raises(AssertionError, match="there is no DMA device wq7.3"):
        virtlane.Switch(config="[switch]\ndma = wq7.3\n")


@pytest.mark.parametrize("ring", RINGS)
def test_a_cross_connect_makes_the_sender_wait_and_loses_nothing(switch, ring):
    """As fast as the sender can, to a receiver with few buffers that has a core with it to share."""
    a = switch.add_vhost("a", **{"cross-connect": "b"})
    b = switch.add_vhost("b", **{"cross-connect": "a"})
    with Pktgen("--frames", "300k", "--both-ways", "--size", "64-1518:7", "--queue-size", "64",
                "--verify", "--drain", "5", "--ring", ring, a, b) as generator:
        assert generator.report()
        assert generator.process.returncode == 0
    switch.check_law()


def test_a_queue_moves_to_a_worker_with_time():
    """Two busy queues begin at one worker; what goes round between them stays complete, and what
    others send meanwhile keeps its order."""
    with virtlane.Switch(config="[switch]\nworkers = 0-1\n") as switch:
        a, idle, b, c, d = [switch.add_vhost(name) for name in ("a", "idle", "b", "c", "d")]
        assert [worker["queues"] for worker in switch.call("worker.list")] \
            == [["a/0", "b/0", "d/0"], ["idle/0", "c/0"]]
        round_and_round = ("--mode", "reflect", "--reflect", "swap", "--in-flight", "128",
                           "--time", "12", "--cpus", "1")
        with Pktgen(*round_and_round, a, b) as busy:
            with Pktgen("--time", "10", "--rate", "1k", "--both-ways", "--verify", "--no-poll",
                        "--queue-size", "4096", c, d) as watched:
                until(lambda: switch.call("worker.list")[1]["moved"] == 1, "a queue moved", 9)
                moved = set(switch.call("worker.list")[1]["queues"])
                assert watched.report()
            report = busy.report()
        assert moved in ({"idle/0", "c/0", "a/0"}, {"idle/0", "c/0", "b/0"})
        assert "moved from worker 0 to 1" in switch.log()
        assert [port["dropped"] for port in report["ports"]] == [0, 0]
        # Announcements that c and d broadcast come back with a broadcast source.
        assert set(switch.stats()["total"]["drops"]) <= {"bad_source"}
        switch.check_law()


@pytest.mark.parametrize("isa", ["v2", "best"])
def test_every_processor_level_sends_and_receives(switch, isa):
    level = [] if isa == "best" else ["--isa", isa]
    a, b = switch.add_vhost("a"), switch.add_vhost("b")
    with Pktgen(*SLOW, "--size", "imix", "--verify", *level,
                a, b) as generator:
        assert generator.report()
        assert generator.process.returncode == 0


def test_frames_in_several_buffers_pass_the_switch(switch):
    a, b = switch.add_vhost("a"), switch.add_vhost("b")
    with Pktgen("--frames", "3k", "--rate", "10k", "--queue-size", "4096",
                "--size", "60-9000:997", "--buffer-size", "1024",
                "--mergeable", "--verify", a, b) as generator:
        assert generator.report()
        assert generator.process.returncode == 0


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("listen", [False, True], ids=["we-connect", "we-listen"])
def test_dpdk_sends_back_what_we_send(ring, listen):
    with paths.scratch() as scratch:
        path = f"{scratch}/vhost.sock"
        port = f"listen:{path}" if listen else path
        arguments = ("--mode", "exchange", *SLOW, "--size", "64-1518:7",
                     "--verify", "--ring", ring, port)
        if listen:
            # What is sent before testpmd forwards does not count.
            with Pktgen("--warmup", "4", *arguments) as generator:
                with testpmd.Testpmd(testpmd.vhost(path, client=True)) as peer:
                    peer.start()
                    assert generator.report()
        else:
            with testpmd.Testpmd(testpmd.vhost(path)) as peer:
                peer.start()
                with Pktgen(*arguments) as generator:
                    assert generator.report()
        assert generator.process.returncode == 0


def test_an_application_without_rights_sends(switch):
    """Neither root, nor huge pages, nor anything but the socket."""
    a, b = switch.add_vhost("a", mode="0666"), switch.add_vhost("b", mode="0666")
    pathlib.Path(a).parent.chmod(0o755)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
         "unshare", "--user", "--map-root-user", "--net",
         paths.program("virtlane-pktgen"), "--json", *SLOW,
         "--verify", a, b],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_the_example_sends_its_frames(switch):
    a = switch.add_vhost("a")
    done = subprocess.run([paths.BUILD / "examples" / "send", a], capture_output=True, text=True,
                          timeout=30)
    assert (done.returncode, done.stdout) == (0, "1000 frames sent\n"), done.stderr
    assert switch.counters("a")["rx_frames"] == 1000


def test_a_missing_back_end_is_told(tmp_path):
    done = subprocess.run([paths.program("virtlane-pktgen"), tmp_path / "no.sock"],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 3 and "no.sock" in done.stderr
