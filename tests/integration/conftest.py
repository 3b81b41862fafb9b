# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: a switch, namespaces, a seeded random, and proof that nothing stays behind."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

from peers import netns, virtlane  # noqa: E402  (needs the path above)


def pytest_configure(config):
    # A terminated run unwinds its fixtures, too.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", 143))


def pytest_sessionstart(session):
    if os.geteuid() != 0:
        pytest.exit("the integration tests make network namespaces: run them as root", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing test prints the log, the statistics and the ports of every running switch."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for switch in virtlane.running:
            report.sections.append(("virtlaned", switch.report()))


def pytest_runtest_logreport(report):
    """Under its result, a test says what it did (see the fixture `say`)."""
    if report.when == "call":
        for _, text in report.user_properties:
            print(f"\n    {text}", end="", flush=True, file=sys.__stdout__)


@pytest.fixture
def say(request):
    """say(text): a line about what the test did, printed with its result."""
    return lambda text: request.node.user_properties.append(("say", text))


@pytest.fixture
def seeded(request):
    """A random source that is the same in every run of this test."""
    return random.Random(request.node.nodeid)


@pytest.fixture
def stack():
    """Whatever is entered here is left when the test ends, the last one first."""
    with contextlib.ExitStack() as entered:
        yield entered


@pytest.fixture
def switch():
    """A switch without ports. After the test every frame must be accounted for, and it ends well."""
    with virtlane.Switch() as running:
        yield running
        running.check_law()


@pytest.fixture
def make_namespace(switch):
    """make_namespace(label): a namespace that goes before the switch does."""
    with contextlib.ExitStack() as made:
        yield lambda label="ns": made.enter_context(netns.Namespace(label))


def _children():
    listed = subprocess.run(
        ["ps", "-o", "pid=,stat=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    lines = [line for line in listed.stdout.splitlines() if " ps -o" not in line]
    return {line for line in lines if line.split()[1][0] != "Z"}


def _huge_pages():
    return pathlib.Path("/proc/sys/vm/nr_hugepages").read_text()


def _mounts():
    # The first namespace of a machine mounts /run/netns, which is then there to stay.
    lines = pathlib.Path("/proc/mounts").read_text().splitlines()
    return {line for line in lines if " /run/netns" not in line}


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind():
    huge_pages, mounts = _huge_pages(), _mounts()
    yield
    namespaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert f"vl{os.getpid()}-" not in namespaces
    assert not _children()
    assert _huge_pages() == huge_pages
    assert _mounts() == mounts
