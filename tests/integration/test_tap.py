# SPDX-License-Identifier: BSD-3-Clause
"""The kernel through tap ports, and what the switch does with frames between them."""

import time

import pytest

from peers import frames, traffic, virtlane
from peers.frames import BROADCAST, RawSocket
from peers.wait import until


@pytest.fixture
def tap_hosts(switch, make_namespace):
    """tap_hosts(count, {index: settings}): namespaces h0, h1 ... with 10.0.0.1, .2 ... on eth0."""

    def make(count, settings=None, mtu=None):
        hosts = []
        for index in range(count):
            namespace = make_namespace(f"h{index}")
            switch.add_tap(f"h{index}", namespace, **(settings or {}).get(index, {}))
            namespace.address("eth0", f"10.0.0.{index + 1}/24", mtu)
            hosts.append(namespace)
        return hosts

    return make


@pytest.fixture
def raw(stack):
    """raw(namespace): a raw socket on its eth0."""
    return lambda namespace, interface="eth0": stack.enter_context(RawSocket(namespace, interface))


def unknown_mac(number):
    return f"52:54:00:ff:00:{number:02x}"


# Getting through


def test_namespaces_ping_each_other(tap_hosts, say):
    a, _ = tap_hosts(2)
    say(f"ping: {traffic.answers(a, '10.0.0.2')}")


@pytest.mark.parametrize("options", ["", "-R", "-P 4", "-u -b 200M"])
def test_iperf3_between_namespaces(tap_hosts, say, options):
    a, b = tap_hosts(2)
    rate = traffic.iperf_gbits(a, b, "10.0.0.2", seconds=2, options=options)
    say(f"iperf3 {options}: {rate:.2f} Gbit/s")
    assert rate > 0.1


def test_large_frames_with_mtu_9000(tap_hosts, say):
    a, _ = tap_hosts(2, mtu=9000)
    result = traffic.ping(a, "10.0.0.2", size=8972)
    say(f"ping of 8972 bytes: {result}")
    assert result.received == result.sent


def test_mtu_setting_is_set_on_the_interface(switch, make_namespace):
    namespace = make_namespace()
    switch.add_tap("t", namespace, mtu=4000)
    assert namespace.run("cat /sys/class/net/eth0/mtu").strip() == "4000"
    switch.set("t", mtu=5000)
    assert namespace.run("cat /sys/class/net/eth0/mtu").strip() == "5000"
    switch.set("t", mtu="none")  # whose then is its own affair
    assert namespace.run("cat /sys/class/net/eth0/mtu").strip() == "5000"
    assert "mtu" not in switch.show("t")["settings"]
    with pytest.raises(virtlane.RpcError, match="max-frame=60 is too small"):
        switch.set("t", mtu=4000, max_frame=60)
    assert namespace.run("cat /sys/class/net/eth0/mtu").strip() == "5000"


def test_tap_with_four_queues_carries_parallel_flows(tap_hosts, say, switch):
    a, b = tap_hosts(2, {0: {"queues": 4}, 1: {"queues": 4}})
    assert a.run("ls -d /sys/class/net/eth0/queues/tx-* | wc -l").strip() == "4"
    rate = traffic.iperf_gbits(a, b, "10.0.0.2", seconds=2, options="-P 8")
    say(f"8 flows over 4 queues: {rate:.2f} Gbit/s")
    assert rate > 0.1


def test_tap_appears_in_the_namespace_and_goes_with_its_port(switch, make_namespace):
    namespace = make_namespace()
    switch.add_tap("web", namespace, interface="lan0")
    assert "lan0" in namespace.run("ip link")
    assert switch.show("web")["state"] == "up"
    switch.delete("web")
    until(lambda: "lan0" not in namespace.run("ip link"), "the interface gone")


def test_every_frame_size_arrives_unchanged(tap_hosts, raw, seeded, say):
    a, b = (raw(host) for host in tap_hosts(2, mtu=9000))
    sizes = [*range(60, 70), *range(126, 130), *range(254, 258), 1513, 1514, 1515, 2047, 2048,
             2049, 4095, 4096, 4097, 8999, 9000, 9014]
    for size in sizes:
        frame = frames.plain(seeded, size, b.mac, a.mac)
        a.send(frame)
        b.expect(frame)
    say(f"{len(sizes)} sizes from {sizes[0]} to {sizes[-1]} bytes")


def test_frames_of_a_flow_stay_in_order(tap_hosts, raw, seeded, say):
    a, b = (raw(host) for host in tap_hosts(2, {0: {"queues": 2}, 1: {"queues": 2}}))
    flows, count = 8, 400
    seen = {flow: [] for flow in range(flows)}
    for sequence in range(count):
        for flow in range(flows):
            a.send(frames.udp(seeded, 100, b.mac, a.mac, flow, sequence))
        for frame in b.collect(frames.flow_and_sequence, flows, timeout=2):
            flow, number = frames.flow_and_sequence(frame)
            seen[flow].append(number)
    for flow, numbers in seen.items():
        assert numbers == sorted(set(numbers)), f"flow {flow} out of order or twice"
    total = sum(map(len, seen.values()))
    say(f"{total} of {flows * count} frames arrived, each flow in order")
    assert total == flows * count


# Learning, flooding, ageing


def test_unknown_destination_is_flooded_and_then_learnt(tap_hosts, raw, seeded, switch):
    a, b, c = (raw(host) for host in tap_hosts(3))
    first = frames.plain(seeded, 80, unknown_mac(2), unknown_mac(1))
    a.send(first)
    b.expect(first)
    c.expect(first)
    answer = frames.plain(seeded, 80, unknown_mac(1), unknown_mac(2))
    b.send(answer)
    a.expect(answer)
    second = frames.plain(seeded, 80, unknown_mac(2), unknown_mac(1))
    a.send(second)
    b.expect(second)
    switch.at_rest()
    assert answer not in (heard := c.pending()) and second not in heard
    learnt = {entry["mac"]: entry["port"] for entry in switch.macs()}
    assert learnt[unknown_mac(1)] == "h0" and learnt[unknown_mac(2)] == "h1"


def test_flooding_counts_one_replica_for_each_further_receiver(tap_hosts, raw, seeded, switch):
    a, *others = (raw(host) for host in tap_hosts(4))
    before = switch.at_rest()["total"]
    frame = frames.plain(seeded, 60, BROADCAST, unknown_mac(1))
    a.send(frame)
    for other in others:
        other.expect(frame)
    after = switch.at_rest()["total"]
    assert after["rx_frames"] - before["rx_frames"] == 1
    assert after["rx_replicated"] - before["rx_replicated"] == 2
    assert after["tx_frames"] - before["tx_frames"] == 3


def test_an_address_that_moves_is_followed(tap_hosts, raw, seeded, switch):
    a, b, c = (raw(host) for host in tap_hosts(3))
    for port, sender in (("h1", b), ("h2", c)):
        sender.send(frames.plain(seeded, 60, BROADCAST, unknown_mac(7)))
        until(
            lambda: any(e["mac"] == unknown_mac(7) and e["port"] == port for e in switch.macs()),
            f"address learnt at {port}",
        )
    frame = frames.plain(seeded, 70, unknown_mac(7), a.mac)
    a.send(frame)
    c.expect(frame)


def test_group_addresses_are_never_learnt(tap_hosts, raw, seeded, switch):
    a, _ = (raw(host) for host in tap_hosts(2))
    a.send(frames.plain(seeded, 60, BROADCAST, "01:00:5e:00:00:01"))
    switch.at_rest()
    assert not [e for e in switch.macs() if e["mac"].startswith("01:")]


def test_mac_flush_forgets_one_port(tap_hosts, raw, seeded, switch):
    a, b = (raw(host) for host in tap_hosts(2))
    a.send(frames.plain(seeded, 60, BROADCAST, unknown_mac(1)))
    b.send(frames.plain(seeded, 60, BROADCAST, unknown_mac(2)))
    until(lambda: len(switch.macs()) >= 2, "two addresses learnt")
    switch.call("mac.flush", port="h0")
    left = {entry["port"] for entry in switch.macs()}
    assert "h0" not in left and "h1" in left


def test_addresses_age_out(stack, seeded):
    from peers import netns, virtlane

    switch = stack.enter_context(virtlane.Switch("[switch]\nmac-age = 1\n"))
    namespace = stack.enter_context(netns.Namespace("aged"))
    switch.add_tap("t", namespace)
    namespace.run("ip link set eth0 up")
    socket = stack.enter_context(RawSocket(namespace))
    socket.send(frames.plain(seeded, 60, BROADCAST, unknown_mac(9)))

    def known():
        return unknown_mac(9) in {entry["mac"] for entry in switch.macs()}

    until(known, "address learnt")
    until(lambda: not known(), "address forgotten", timeout=10)


def test_deleting_a_port_forgets_its_addresses(tap_hosts, raw, seeded, switch):
    a, _ = (raw(host) for host in tap_hosts(2))
    a.send(frames.plain(seeded, 60, BROADCAST, unknown_mac(3)))
    until(lambda: unknown_mac(3) in {e["mac"] for e in switch.macs()}, "address learnt")
    a.close()
    switch.delete("h0")
    assert unknown_mac(3) not in {e["mac"] for e in switch.macs()}


def test_a_frame_to_its_own_port_is_dropped_and_counted(tap_hosts, raw, seeded, switch):
    a, b = (raw(host) for host in tap_hosts(2))
    a.send(frames.plain(seeded, 60, BROADCAST, unknown_mac(1)))
    until(lambda: unknown_mac(1) in {e["mac"] for e in switch.macs()}, "address learnt")
    before = switch.at_rest()
    frame = frames.plain(seeded, 60, unknown_mac(1), unknown_mac(2))
    a.send(frame)
    until(lambda: switch.counters("h0")["rx_frames"] > port_rx(before, "h0"), "frame received")
    switch.at_rest()
    assert switch.counters("h0")["drops_total"] > port_drops(before, "h0")
    assert frame not in b.pending()


def port_rx(stats, name):
    return next(p["rx_frames"] for p in stats["ports"] if p["name"] == name)


def port_drops(stats, name):
    return next(p["drops_total"] for p in stats["ports"] if p["name"] == name)


# VLANs


def test_access_ports_of_one_vlan_talk_and_others_do_not_hear(tap_hosts, raw, seeded, switch):
    hosts = tap_hosts(3, {0: {"vlan": 10}, 1: {"vlan": 10}, 2: {"vlan": 20}})
    traffic.answers(hosts[0], "10.0.0.2")
    a, b, c = map(raw, hosts)
    frame = frames.plain(seeded, 60, BROADCAST, a.mac)
    a.send(frame)
    b.expect(frame)
    switch.at_rest()
    assert frame not in c.pending()
    traffic.no_answer(hosts[0], "10.0.0.3")


def test_tags_are_put_on_and_taken_off_byte_for_byte(tap_hosts, raw, seeded):
    hosts = tap_hosts(2, {0: {"trunk": "10"}, 1: {"vlan": 10}})
    trunk, access = map(raw, hosts)
    body = frames.plain(seeded, 200, BROADCAST, unknown_mac(1))
    access.send(body)
    trunk.expect(body[:12] + b"\x81\x00\x00\x0a" + body[12:])
    tagged = frames.plain(seeded, 204, unknown_mac(1), unknown_mac(2), vlan=10)
    trunk.send(tagged)
    access.expect(tagged[:12] + tagged[16:])


def test_native_vlan_of_a_trunk_is_untagged(tap_hosts, raw, seeded):
    hosts = tap_hosts(2, {0: {"vlan": 5, "trunk": "10"}, 1: {"vlan": 5}})
    native, access = map(raw, hosts)
    frame = frames.plain(seeded, 90, BROADCAST, unknown_mac(1))
    native.send(frame)
    access.expect(frame)


@pytest.mark.parametrize(
    "settings, vlan",
    [({"trunk": "10"}, 11), ({"trunk": "10"}, None), ({"vlan": 10}, 20),
     ({"vlan": 5, "trunk": "10"}, 20)],
    ids=["trunk-foreign-tag", "trunk-untagged", "access-foreign-tag", "native-foreign-tag"],
)
def test_frames_of_a_vlan_that_a_port_does_not_carry_are_counted(
    tap_hosts, raw, seeded, switch, settings, vlan
):
    a, b = map(raw, tap_hosts(2, {0: settings, 1: {"trunk": "all"}}))
    frame = frames.plain(seeded, 80, BROADCAST, unknown_mac(1), vlan)
    before = port_drops(switch.at_rest(), "h0")
    a.send(frame)
    until(lambda: switch.counters("h0")["drops_total"] == before + 1, "a counted drop")
    assert any("vlan" in reason for reason in switch.drops("h0"))
    assert frame not in b.pending()


def tagged_twice(frame, outer, inner):
    tags = b"\x81\x00" + outer.to_bytes(2, "big") + b"\x81\x00" + inner.to_bytes(2, "big")
    return frame[:12] + tags + frame[12:]


def test_priority_tag_gets_the_vlan_of_its_port(tap_hosts, raw, seeded):
    access, trunk = map(raw, tap_hosts(2, {0: {"vlan": 10}, 1: {"trunk": "10"}}))
    frame = frames.plain(seeded, 80, BROADCAST, unknown_mac(1), vlan=0xA000)
    access.send(frame)
    trunk.expect(frame[:14] + b"\xa0\x0a" + frame[16:])


@pytest.mark.parametrize(
    "sender, outer, loser",
    [({"vlan": 10}, 0, "h0"), ({"trunk": "10"}, 10, "h1")],
    ids=["below-a-priority-tag", "below-the-native-vlan"],
)
def test_a_tag_below_a_tag_does_not_choose_the_vlan(
    tap_hosts, raw, seeded, switch, sender, outer, loser
):
    hosts = tap_hosts(2, {0: sender, 1: {"vlan": 10, "trunk": "20"}})
    attacker, victim = map(raw, hosts)
    frame = frames.plain(seeded, 80, BROADCAST, unknown_mac(1))
    before = switch.drops(loser, "vlan")
    attacker.send(tagged_twice(frame, outer, 20))
    if loser == "h0":
        until(lambda: switch.drops("h0", "vlan") == before + 1, "a counted drop")
    else:  # a flood leaves out ports that may not have the frame
        until(lambda: switch.drops("h0", "no_destination") >= 1, "a counted drop")
    assert not [got for got in victim.pending() if frame[12:] in got]


def test_max_frame_is_that_of_the_frame_as_it_leaves(tap_hosts, raw, seeded, switch):
    hosts = tap_hosts(2, {0: {"vlan": 10}, 1: {"trunk": "10", "max-frame": 1514}})
    access, trunk = map(raw, hosts)
    fits = frames.plain(seeded, 1510, BROADCAST, unknown_mac(1))
    access.send(fits)
    trunk.expect(fits[:12] + b"\x81\x00\x00\x0a" + fits[12:])
    access.send(frames.plain(seeded, 1511, BROADCAST, unknown_mac(1)))
    until(lambda: switch.drops("h1", "too_large") == 1, "a counted drop")


def test_addresses_are_learnt_per_vlan(tap_hosts, raw, seeded, switch):
    hosts = tap_hosts(3, {0: {"trunk": "all"}, 1: {"vlan": 10}, 2: {"vlan": 20}})
    _, ten, twenty = map(raw, hosts)
    same = unknown_mac(5)
    ten.send(frames.plain(seeded, 60, BROADCAST, same))
    twenty.send(frames.plain(seeded, 60, BROADCAST, same))
    until(
        lambda: {(10, "h1"), (20, "h2")}
        <= {(e["vlan"], e["port"]) for e in switch.macs() if e["mac"] == same},
        "one address in two VLANs",
    )


def test_vlan_can_be_changed_on_a_live_port(tap_hosts, switch):
    hosts = tap_hosts(2, {0: {"vlan": 10}, 1: {"vlan": 20}})
    traffic.no_answer(hosts[0], "10.0.0.2")
    switch.set("h1", vlan=10)
    traffic.answers(hosts[0], "10.0.0.2")


# Policy


def test_a_cross_connect_is_a_wire(tap_hosts, raw, seeded, switch):
    """Between the two everything passes, from and to others nothing; no address is learnt."""
    a, b, c = (raw(host) for host in tap_hosts(
        3, {0: {"cross-connect": "h1"}, 1: {"cross-connect": "h0"}}))
    for destination in (BROADCAST, "01:80:c2:00:00:0e", unknown_mac(5), c.mac):
        frame = frames.plain(seeded, 90, destination, unknown_mac(1))
        a.send(frame)
        b.expect(frame)
    outside = frames.plain(seeded, 90, BROADCAST, unknown_mac(6))
    c.send(outside)
    back = frames.plain(seeded, 200, unknown_mac(1), unknown_mac(5))
    b.send(back)
    a.expect(back)
    switch.at_rest()
    assert outside not in a.pending() + b.pending()
    assert {entry["port"] for entry in switch.macs()} <= {"h2"}
    assert switch.show("h0")["cross_connected"] and switch.show("h1")["cross_connected"]


def test_a_cross_connect_to_nobody_lets_nothing_out(tap_hosts, raw, seeded, switch):
    a, b = (raw(host) for host in tap_hosts(2, {0: {"cross-connect": "h1"}}))
    frame = frames.plain(seeded, 90, BROADCAST, unknown_mac(1))
    a.send(frame)
    until(lambda: switch.drops("h0", "no_destination") > 0, "the frame dropped")
    assert frame not in b.pending()
    assert not switch.show("h0")["cross_connected"]
    assert "incomplete" in switch.cli("port", "show", "h0").stdout
    switch.cli("port", "set", "h1", "cross-connect=h0")
    a.send(frame)
    b.expect(frame)
    switch.cli("port", "set", "h0", "cross-connect=none")
    switch.cli("port", "set", "h1", "cross-connect=none")
    a.send(frame)
    b.expect(frame)
    assert "h0" in {entry["port"] for entry in switch.macs()}


def test_isolated_ports_reach_others_but_not_their_group(tap_hosts):
    a, b, shared = tap_hosts(3, {0: {"isolate": 1}, 1: {"isolate": 1}})
    traffic.answers(a, "10.0.0.3")
    traffic.answers(b, "10.0.0.3")
    traffic.no_answer(a, "10.0.0.2")


def test_ports_of_different_isolation_groups_talk(tap_hosts):
    a, _ = tap_hosts(2, {0: {"isolate": 1}, 1: {"isolate": 2}})
    traffic.answers(a, "10.0.0.2")


def test_a_locked_port_sends_from_its_own_addresses_only(tap_hosts, raw, seeded, switch):
    own = "52:54:00:00:00:01"
    a, b = map(raw, tap_hosts(2, {0: {"mac": own, "mac-lock": "yes"}}))
    allowed = frames.plain(seeded, 80, BROADCAST, own)
    a.send(allowed)
    b.expect(allowed)
    before = port_drops(switch.at_rest(), "h0")
    forged = frames.plain(seeded, 80, BROADCAST, unknown_mac(1))
    a.send(forged)
    until(lambda: switch.counters("h0")["drops_total"] == before + 1, "a counted drop")
    assert forged not in b.pending()
    assert unknown_mac(1) not in {e["mac"] for e in switch.macs()}


def test_storm_limit_lets_its_number_through_and_counts_the_rest(
    tap_hosts, raw, seeded, switch, say
):
    limit, sent = 100, 1000
    a, b = map(raw, tap_hosts(2, {0: {"storm-limit": limit}}))
    burst = [frames.plain(seeded, 60, BROADCAST, unknown_mac(1)) for _ in range(sent)]
    before = switch.at_rest()
    began = time.monotonic()
    for frame in burst:
        a.send(frame)
    stats = switch.at_rest()
    seconds = time.monotonic() - began
    passed = len([f for f in b.pending() if f[12:14] == b"\x88\xb5"])
    dropped = port_drops(stats, "h0") - port_drops(before, "h0")
    say(f"{passed} of {sent} broadcasts passed in {seconds:.2f} s, {dropped} counted as dropped")
    assert passed + dropped == sent
    assert 0 < passed <= limit * (seconds + 2)


def test_storm_limit_leaves_known_unicast_alone(tap_hosts, raw, seeded, switch):
    a, b = map(raw, tap_hosts(2, {0: {"storm-limit": 10}}))
    b.send(frames.plain(seeded, 60, BROADCAST, unknown_mac(2)))
    until(lambda: unknown_mac(2) in {e["mac"] for e in switch.macs()}, "address learnt")
    count = 300
    for _ in range(count):
        a.send(frames.plain(seeded, 60, unknown_mac(2), a.mac))
    received = b.collect(lambda f: f[:6] == frames.mac_bytes(unknown_mac(2)), count)
    assert len(received) == count


def test_frames_over_max_frame_are_dropped_and_counted(tap_hosts, raw, seeded, switch):
    a, b = map(raw, tap_hosts(2, {0: {"max-frame": 1000}}, mtu=9000))
    fits = frames.plain(seeded, 1000, b.mac, a.mac)
    a.send(fits)
    b.expect(fits)
    before = port_drops(switch.at_rest(), "h0")
    too_long = frames.plain(seeded, 1001, b.mac, a.mac)
    a.send(too_long)
    until(lambda: switch.counters("h0")["drops_total"] == before + 1, "a counted drop")
    assert too_long not in b.pending()


def test_max_frame_of_the_receiving_port_is_kept_and_counted(tap_hosts, raw, seeded, switch):
    a, b = map(raw, tap_hosts(2, {1: {"max-frame": 1000}}, mtu=9000))
    before = switch.at_rest()["total"]
    too_long = frames.plain(seeded, 1001, b.mac, a.mac)
    a.send(too_long)
    until(
        lambda: sum(switch.stats()["total"]["drops"].values()) > sum(before["drops"].values()),
        "a counted drop",
    )
    assert too_long not in b.pending()


# Accounts


def test_received_is_sent_plus_reasons_under_mixed_load(tap_hosts, raw, seeded, switch, say):
    hosts = tap_hosts(
        4, {0: {"storm-limit": 50}, 1: {"max-frame": 800}, 2: {"vlan": 7}, 3: {"isolate": 1}}
    )
    sockets = [raw(host) for host in hosts]
    for _ in range(500):
        sender = seeded.choice(sockets)
        target = seeded.choice([s.mac for s in sockets] + [BROADCAST, unknown_mac(8)])
        vlan = seeded.choice([None, None, 7])
        sender.send(frames.plain(seeded, seeded.randint(60, 1400), target, sender.mac, vlan))
    total = switch.check_law()["total"]
    say(f"{total['rx_frames']} received, {total['rx_replicated']} replicated, "
        f"{total['tx_frames']} sent, dropped {total['drops']}")
    assert total["rx_frames"] >= 500


def test_a_closed_interface_takes_nothing_and_nothing_is_lost_from_the_accounts(
    tap_hosts, raw, seeded, switch
):
    hosts = tap_hosts(2)
    a = raw(hosts[0])
    b_mac = hosts[1].mac("eth0")
    hosts[1].run("ip link set eth0 down")
    for _ in range(20):
        a.send(frames.plain(seeded, 100, b_mac, a.mac))
    switch.check_law()
    hosts[1].run("ip link set eth0 up")
    traffic.answers(hosts[0], "10.0.0.2")


def test_port_goes_to_error_when_its_namespace_is_deleted_and_others_go_on(
    tap_hosts, switch, make_namespace
):
    a, _ = tap_hosts(2)
    doomed = make_namespace("doomed")
    switch.add_tap("doomed", doomed)
    doomed.run("ip link set eth0 up")
    doomed.close()
    switch.wait_state("doomed", "error")
    assert switch.show("doomed")["reason"]
    traffic.answers(a, "10.0.0.2")
