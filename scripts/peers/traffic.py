# SPDX-License-Identifier: BSD-3-Clause
"""ping and iperf3 between any two hosts: whatever has run(command, timeout=, check=)."""

import json
import re

from .netns import CommandFailed


class Ping:
    """The outcome of a ping."""

    def __init__(self, output):
        counts = re.search(r"(\d+) packets transmitted, (\d+)(?: packets)? received", output)
        if not counts:
            raise AssertionError(f"ping printed no summary:\n{output}")
        times = re.search(r"= [\d.]+/([\d.]+)/", output)
        self.sent = int(counts[1])
        self.received = int(counts[2])
        self.rtt_ms = float(times[1]) if times else None

    def __repr__(self):
        return f"{self.received}/{self.sent} replies, {self.rtt_ms} ms"


def ping(host, address, count=3, size=56, timeout=15):
    """Pings and returns a Ping, lost replies or not."""
    command = f"ping -c {count} -W 2 -s {size} {address}"
    return Ping(host.run(command, timeout=timeout, check=False))


def answers(host, address, **options):
    """A ping that must get all replies."""
    result = ping(host, address, **options)
    if result.received != result.sent:
        raise AssertionError(f"ping {address}: {result}")
    return result


def no_answer(host, address):
    """A ping that must get no reply. Its ARP entry is forgotten: a later frame would be queued on it
    and lost when the kernel gives it up."""
    result = ping(host, address, count=1)
    host.run("ip neigh flush all")
    if result.received:
        raise AssertionError(f"ping {address}: {result}")


IPERF_PORT = 5201
_LISTENING = f"grep -qs ':{IPERF_PORT:04X} 0*:0000 0A' /proc/net/tcp /proc/net/tcp6"


def serve_iperf(host):
    """Starts an iperf3 server for one run and returns when it listens."""
    host.run(
        f"iperf3 -s -1 -D >/dev/null 2>&1; n=0; until {_LISTENING}; do"
        " n=$((n + 1)); [ $n -lt 500 ] || exit 1; sleep 0.02; done"
    )


def iperf(client, server, address, seconds=2, options=""):
    """One iperf3 run; returns the report's dictionary."""
    serve_iperf(server)
    command = f"iperf3 -J -c {address} -t {seconds} {options}"
    try:
        return json.loads(client.run(command, timeout=seconds + 30))["end"]
    except CommandFailed as failed:
        raise AssertionError(f"iperf3 to {address} failed:\n{failed.output[-600:]}") from None


def iperf_gbits(client, server, address, seconds=2, options=""):
    """TCP (or with -u UDP) rate that arrived, in Gbit/s."""
    end = iperf(client, server, address, seconds, options)
    received = end.get("sum_received") or end["sum"]
    return received["bits_per_second"] / 1e9
