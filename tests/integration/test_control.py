# SPDX-License-Identifier: BSD-3-Clause
"""The two commands: what they do, what they say about bad input, and that nothing is half done."""

import json
import os
import re
import signal
import socket
import subprocess
import xml.etree.ElementTree

import pytest

from peers import paths, traffic, virtlane
from peers.netns import Namespace
from peers.wait import until

DONE, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3


def succeeds(result):
    assert result.returncode == DONE, f"{result.args}: {result.returncode}\n{result.stderr}"
    return result.stdout


def fails(result, status, *words):
    """The command ended with this status and its one message has these words."""
    assert result.returncode == status, (
        f"{result.args}: {result.returncode} instead of {status}\n{result.stdout}{result.stderr}"
    )
    assert result.stderr.startswith("virtlane: "), result.stderr
    for word in words:
        assert word in result.stderr, f"no {word!r} in: {result.stderr}"
    return result.stderr


def names(switch):
    return sorted(port["name"] for port in switch.ports())


def virtlaned(*args, timeout=10):
    """A virtlaned that is expected to end by itself."""
    return subprocess.run(
        [paths.program("virtlaned"), *map(str, args)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
    )


# Ports


def test_port_is_added_listed_shown_and_deleted(switch):
    path = switch.path("vm1.sock")
    succeeds(switch.cli("port", "add", "vm1", "kind=vhost", f"listen={path}", "queues=2"))
    assert os.path.exists(path)
    assert "vm1" in succeeds(switch.cli("port", "list"))
    shown = succeeds(switch.cli("port", "show", "vm1"))
    assert "waiting" in shown and path in shown
    succeeds(switch.cli("port", "del", "vm1"))
    assert not os.path.exists(path)
    assert names(switch) == []


def test_every_read_has_json(switch):
    switch.add_vhost("vm1")
    for command in (
        ("port", "list"), ("port", "show", "vm1"), ("mac", "list"), ("stats",), ("stats", "vm1"),
        ("worker", "list"), ("version",),
    ):
        json.loads(succeeds(switch.cli("--json", *command)))
        json.loads(succeeds(switch.cli(*command, "--json")))
    shown = json.loads(succeeds(switch.cli("--json", "port", "show", "vm1")))
    assert shown["name"] == "vm1" and shown["state"] == "waiting"


def test_adding_a_port_twice_is_refused_unless_it_may_exist(switch):
    path = switch.path("vm1.sock")
    add = ("port", "add", "vm1", "kind=vhost", f"listen={path}")
    succeeds(switch.cli(*add))
    fails(switch.cli(*add), REFUSED, "vm1", "exists")
    succeeds(switch.cli(*add, "--may-exist"))
    assert names(switch) == ["vm1"]


def test_may_exist_still_refuses_a_port_that_differs(switch):
    add = ("port", "add", "vm1", "kind=vhost")
    succeeds(switch.cli(*add, f"listen={switch.path('a.sock')}"))
    fails(switch.cli(*add, f"listen={switch.path('b.sock')}", "--may-exist"), REFUSED, "vm1")


def test_deleting_a_port_that_does_not_exist_is_refused_unless_told(switch):
    fails(switch.cli("port", "del", "none"), REFUSED, "none")
    succeeds(switch.cli("port", "del", "none", "--if-exists"))


def test_settings_are_changed_on_a_live_port(switch):
    switch.add_vhost("vm1")
    succeeds(switch.cli("port", "set", "vm1", "vlan=10", "storm-limit=500", "isolate=3"))
    settings = switch.show("vm1")["settings"]
    assert str(settings["vlan"]) == "10" and str(settings["storm-limit"]) == "500"


def test_addresses_of_another_port_are_refused_and_none_is_taken(switch, stack):
    """The first of two addresses is free: it must not stay locked when the second is refused."""
    free, taken = "02:00:00:00:00:01", "02:00:00:00:00:02"
    switch.add_vhost("a", mac=taken, mac_lock="yes")
    switch.add_vhost("b")
    fails(
        switch.cli("port", "set", "b", f"mac={free},{taken}", "mac-lock=yes"), REFUSED, taken
    )
    assert [entry["mac"] for entry in switch.macs()] == [taken]


def test_setting_that_cannot_change_live_is_refused_and_the_rest_too(switch):
    switch.add_vhost("vm1")
    fails(
        switch.cli("port", "set", "vm1", "vlan=10", "queues=2"),
        REFUSED, "queues", "cannot be changed on a running port",
    )
    assert str(switch.show("vm1")["settings"].get("vlan", "")) != "10", "half of it was done"


BAD_PORTS = {
    "unknown-key": (["kind=vhost", "listen={dir}/x.sock", "colour=red"], "colour"),
    "unknown-kind": (["kind=wire"], "wire"),
    "no-kind": (["listen={dir}/x.sock"], "kind"),
    "no-socket": (["kind=vhost"], "listen"),
    "two-sockets": (["kind=vhost", "listen={dir}/x.sock", "connect={dir}/y.sock"], "connect"),
    "tap-key-on-vhost": (["kind=vhost", "listen={dir}/x.sock", "netns=n"], "netns"),
    "vhost-key-on-tap": (["kind=tap", "listen={dir}/x.sock"], "listen"),
    "queues-0": (["kind=vhost", "listen={dir}/x.sock", "queues=0"], "queues"),
    "queues-129": (["kind=vhost", "listen={dir}/x.sock", "queues=129"], "queues"),
    "queues-text": (["kind=vhost", "listen={dir}/x.sock", "queues=two"], "queues"),
    "vlan-0": (["kind=vhost", "listen={dir}/x.sock", "vlan=0"], "vlan"),
    "vlan-4095": (["kind=vhost", "listen={dir}/x.sock", "vlan=4095"], "vlan"),
    "trunk-backwards": (["kind=vhost", "listen={dir}/x.sock", "trunk=30-20"], "trunk"),
    "mac-short": (["kind=vhost", "listen={dir}/x.sock", "mac=52:54:00"], "mac"),
    "mac-multicast": (["kind=vhost", "listen={dir}/x.sock", "mac=01:00:5e:00:00:01"], "mac"),
    "mac-lock-without-mac": (["kind=vhost", "listen={dir}/x.sock", "mac-lock=yes"], "mac"),
    "isolate-large": (["kind=vhost", "listen={dir}/x.sock", "isolate=65536"], "isolate"),
    "negative": (["kind=vhost", "listen={dir}/x.sock", "storm-limit=-1"], "storm-limit"),
    "mode-no-number": (["kind=vhost", "listen={dir}/x.sock", "mode=rw"], "mode"),
    "group-unknown": (["kind=vhost", "listen={dir}/x.sock", "group=no-such-group"], "group"),
}


@pytest.mark.parametrize("case", BAD_PORTS)
def test_bad_port_is_refused_by_name_and_nothing_is_made(switch, case):
    settings, word = BAD_PORTS[case]
    filled = [setting.format(dir=switch.directory) for setting in settings]
    result = switch.cli("port", "add", "bad", *filled)
    assert result.returncode in (REFUSED, USAGE), result
    assert word in result.stderr, result.stderr
    assert names(switch) == []
    assert not os.path.exists(switch.path("x.sock"))


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 32, "ä"])
def test_bad_port_name_is_refused(switch, name):
    result = switch.cli("port", "add", name, "kind=vhost", f"listen={switch.path('x.sock')}")
    assert result.returncode in (REFUSED, USAGE), result
    assert names(switch) == []


def test_socket_path_that_is_too_long_works_or_is_refused_with_a_reason(switch):
    directory = switch.directory / ("d" * 100)
    directory.mkdir()
    path = directory / "vm.sock"
    result = switch.cli("port", "add", "vm", "kind=vhost", f"listen={path}")
    if result.returncode == DONE:
        assert path.is_socket()
    else:
        fails(result, REFUSED, "long")
        assert names(switch) == []


def test_socket_that_somebody_listens_on_is_left_alone(switch, stack):
    path = switch.path("taken.sock")
    owner = stack.enter_context(socket.socket(socket.AF_UNIX))
    owner.bind(path)
    owner.listen()
    fails(switch.cli("port", "add", "vm", "kind=vhost", f"listen={path}"), REFUSED, "taken.sock")
    assert os.path.exists(path) and names(switch) == []


def test_stale_socket_is_taken_over(switch):
    path = switch.path("stale.sock")
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(path)
    succeeds(switch.cli("port", "add", "vm", "kind=vhost", f"listen={path}"))


def test_file_that_is_no_socket_is_left_alone(switch):
    path = switch.directory / "precious.txt"
    path.write_text("precious")
    fails(switch.cli("port", "add", "vm", "kind=vhost", f"listen={path}"), REFUSED, "precious")
    assert path.read_text() == "precious"


def test_directory_that_does_not_exist_is_refused(switch):
    fails(
        switch.cli("port", "add", "vm", "kind=vhost", "listen=/no/such/directory/vm.sock"),
        REFUSED, "/no/such/directory",
    )


def test_socket_has_its_mode_from_the_beginning(switch):
    succeeds(switch.cli("port", "add", "a", "kind=vhost", f"listen={switch.path('a.sock')}"))
    assert os.stat(switch.path("a.sock")).st_mode & 0o777 == 0o660
    succeeds(
        switch.cli("port", "add", "b", "kind=vhost", f"listen={switch.path('b.sock')}", "mode=0600",
                   "group=nogroup")
    )
    status = os.stat(switch.path("b.sock"))
    assert status.st_mode & 0o777 == 0o600 and status.st_gid == 65534


def test_tap_name_in_use_is_refused(switch, make_namespace):
    namespace = make_namespace()
    namespace.run("ip link add taken type veth peer name other")
    fails(
        switch.cli("port", "add", "t", "kind=tap", f"netns={namespace}", "interface=taken"),
        REFUSED, "taken",
    )
    assert names(switch) == []
    assert "taken" in namespace.run("ip link"), "the owner's interface is still there"


def test_tap_in_a_namespace_that_does_not_exist_is_refused(switch):
    fails(switch.cli("port", "add", "t", "kind=tap", "netns=no-such-ns"), REFUSED, "no-such-ns")
    assert names(switch) == []


def test_two_ports_with_one_interface_are_refused(switch, make_namespace):
    namespace = make_namespace()
    switch.add_tap("a", namespace)
    fails(
        switch.cli("port", "add", "b", "kind=tap", f"netns={namespace}", "interface=eth0"),
        REFUSED, "eth0",
    )
    assert names(switch) == ["a"]


def test_qemu_arguments_are_printed(switch):
    path = switch.add_vhost("vm1", queues=2, mac="52:54:00:00:00:01")
    printed = succeeds(switch.cli("port", "show", "vm1", "--qemu"))
    for part in (path, "share=on", "vhost-user", "queues=2", "virtio-net-pci", "mq=on",
                 "52:54:00:00:00:01"):
        assert part in printed, printed


def test_libvirt_xml_is_printed_and_well_formed(switch):
    path = switch.add_vhost("vm1", mac="52:54:00:00:00:01")
    printed = succeeds(switch.cli("port", "show", "vm1", "--libvirt"))
    assert path in printed and "vhostuser" in printed
    without_comments = re.sub(r"<!--.*?-->", "", printed, flags=re.S)
    xml.etree.ElementTree.fromstring(f"<all>{without_comments}</all>")


def test_cloud_hypervisor_arguments_are_printed(switch):
    path = switch.add_vhost("vm1")
    printed = succeeds(switch.cli("port", "show", "vm1", "--cloud-hypervisor"))
    assert f"vhost_user=true" in printed and path in printed and "shared=on" in printed


# The command line itself


@pytest.mark.parametrize(
    "arguments",
    [[], ["port"], ["prot", "list"], ["port", "eat"], ["port", "add"], ["port", "list", "x"],
     ["port", "show"], ["stats", "--never"], ["log", "level"], ["mac", "list", "colour=1"]],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_says_how(switch, arguments):
    result = switch.cli(*arguments)
    assert result.returncode == USAGE, result
    assert result.stderr or not arguments


def test_unreachable_daemon_ends_with_3_and_says_what_to_do(tmp_path):
    result = subprocess.run(
        [paths.program("virtlane"), "--socket", str(tmp_path / "none.sock"), "port", "list"],
        capture_output=True, text=True, timeout=10,
    )
    fails(result, UNREACHABLE, "none.sock")


def test_version_is_the_same_everywhere(switch):
    printed = succeeds(switch.cli("version"))
    daemon = switch.call("version")
    assert (daemon if isinstance(daemon, str) else daemon["version"]) in printed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for(switch, shell):
    printed = succeeds(switch.cli("completion", shell))
    assert "virtlane" in printed
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=printed, text=True, check=True, timeout=10)


def test_help_names_every_noun(switch):
    printed = succeeds(switch.cli("help"))
    for noun in ("port", "mac", "stats", "top", "worker", "log", "config", "version"):
        assert noun in printed


def test_batch_runs_all_lines(switch):
    batch = switch.directory / "batch"
    batch.write_text(
        "# two ports\n"
        f"port add a kind=vhost listen={switch.path('a.sock')}\n\n"
        f"port add b kind=vhost listen={switch.path('b.sock')}\n"
    )
    succeeds(switch.cli("-f", batch))
    assert names(switch) == ["a", "b"]


def test_batch_stops_at_the_first_error_and_names_its_line(switch):
    batch = switch.directory / "batch"
    batch.write_text(
        f"port add a kind=vhost listen={switch.path('a.sock')}\n"
        "port del nobody\n"
        f"port add b kind=vhost listen={switch.path('b.sock')}\n"
    )
    result = switch.cli("-f", batch)
    assert result.returncode == REFUSED
    assert "2" in result.stderr and "nobody" in result.stderr
    assert names(switch) == ["a"]


def test_stats_watch_prints_again_and_again(switch):
    switch.add_vhost("vm1")
    process = subprocess.Popen(
        [paths.program("virtlane"), "--socket", str(switch.control), "stats", "--watch", "0.2"],
        stdout=subprocess.PIPE, text=True,
    )
    try:
        seen = 0
        while seen < 3:
            seen += "vm1" in process.stdout.readline()
    finally:
        process.terminate()
        process.wait(5)
        process.stdout.close()


def test_the_largest_mac_table_can_be_had():
    with virtlane.Switch(config="[switch]\nmac-table-size = 16777216\n") as large:
        assert large.call("mac.list") == []


def test_worker_list_names_the_queues_of_a_tap(switch, make_namespace):
    switch.add_tap("t", make_namespace())
    workers = switch.call("worker.list")
    assert any("t/0" in worker["queues"] for worker in workers)


def test_log_level_is_changed(switch):
    succeeds(switch.cli("log", "level", "debug"))
    succeeds(switch.cli("log", "level", "vhost", "warning"))
    result = switch.cli("log", "level", "shout")
    assert result.returncode in (REFUSED, USAGE) and "shout" in result.stderr


# JSON-RPC


@pytest.mark.parametrize(
    "line, code",
    [
        (b"{nonsense", -32700),
        (b"[]", -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "port.eat"}', -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "port.show", "params": {}}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "port.show", "params": 7}', None),
    ],
    ids=["not-json", "not-an-object", "no-method", "unknown-method", "no-name", "params-no-object"],
)
def test_bad_request_is_answered_with_its_error_code(switch, line, code):
    rpc = virtlane.Rpc(switch.control)
    reply = rpc.exchange(line)
    assert "error" in reply and reply["error"]["message"]
    if code is not None:
        assert reply["error"]["code"] == code
    assert rpc.call("version"), "the connection lives on"
    rpc.close()


def test_control_client_that_vanishes_or_floods_disturbs_nobody(switch):
    for data in (b"", b"{", b'{"jsonrpc": "2.0", "id": 1, "method": "stats"}\n' * 500, b"x" * (3 << 20)):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(switch.control))
            client.settimeout(5)
            try:
                client.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the daemon has had enough
    assert switch.call("port.list") is not None


# Configuration


GOOD = """; a comment
[switch]
workers = auto

[port vm1]
kind = vhost
listen = {dir}/vm1.sock
queues = 2

[port vm2]
kind = vhost
listen = {dir}/vm2.sock
vlan = 10
"""


def write_config(switch, text, name="other.conf"):
    path = switch.directory / name
    path.write_text(text.format(dir=switch.directory))
    return path


def test_daemon_starts_with_the_ports_of_its_configuration(stack):
    switch = stack.enter_context(virtlane.Switch(config="", start=False))
    switch.config.write_text(GOOD.format(dir=switch.directory))
    switch.start()
    assert names(switch) == ["vm1", "vm2"]
    assert len(switch.show("vm1")["settings"]) > 2


BAD_CONFIGS = {
    "unknown-key": ("[port a]\nkind = vhost\nlisten = {dir}/a.sock\ncolour = red\n", 4, "colour"),
    "unknown-section": ("[switch]\n[prot a]\nkind = tap\n", 2, "prot"),
    "unknown-switch-key": ("[switch]\nspeed = 9\n", 2, "speed"),
    "duplicate-port": (
        "[port a]\nkind = vhost\nlisten = {dir}/a.sock\n[port a]\nkind = tap\n", 4, "a"),
    "duplicate-key": ("[port a]\nkind = vhost\nlisten = {dir}/a.sock\nkind = tap\n", 4, "kind"),
    "duplicate-socket": (
        "[port a]\nkind = vhost\nlisten = {dir}/a.sock\n"
        "[port b]\nkind = vhost\nlisten = {dir}/a.sock\n", None, "a.sock"),
    "bad-value": ("[port a]\nkind = vhost\nqueues = many\nlisten = {dir}/a.sock\n", 3, "queues"),
    "no-equals": ("[switch]\nworkers\n", 2, ""),
    "key-outside": ("kind = tap\n", 1, ""),
    "missing-kind": ("[port a]\nlisten = {dir}/a.sock\n", None, "kind"),
    "workers": ("[switch]\nworkers = 9999\n", 2, "workers"),
    "poll": ("[switch]\npoll = sometimes\n", 2, "poll"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_bad_line_in_a_configuration_is_named_and_nothing_is_touched(switch, case):
    text, line, word = BAD_CONFIGS[case]
    good = "[port first]\nkind = vhost\nlisten = {dir}/first.sock\n"
    path = write_config(switch, text + good)
    place = f"{path}:{line}:" if line else f"{path}:"

    started = virtlaned("--config", path, "--socket", switch.path("second.sock"))
    assert started.returncode == USAGE, started
    assert place in started.stderr and word in started.stderr, started.stderr
    assert not os.path.exists(switch.path("first.sock"))
    assert not os.path.exists(switch.path("second.sock"))

    checked = virtlaned("--check", "--config", path)
    assert checked.returncode == USAGE and place in checked.stderr, checked

    fails(switch.cli("config", "check", path), USAGE, word)
    fails(switch.cli("config", "apply", path), USAGE, word)
    if line:
        assert f":{line}:" in switch.cli("config", "check", path).stderr
    assert names(switch) == []


def test_check_accepts_a_good_configuration_and_starts_nothing(switch):
    path = write_config(switch, GOOD)
    checked = virtlaned("--check", "--config", path)
    assert checked.returncode == DONE, checked
    succeeds(switch.cli("config", "check", path))
    assert not os.path.exists(switch.path("vm1.sock")) and names(switch) == []


def test_configuration_that_does_not_exist_ends_with_2(tmp_path):
    started = virtlaned("--config", tmp_path / "none.conf", "--socket", tmp_path / "s.sock")
    assert started.returncode == USAGE and "none.conf" in started.stderr


def test_apply_adds_changes_and_removes_and_is_idempotent(switch):
    succeeds(switch.cli("config", "apply", write_config(switch, GOOD)))
    assert names(switch) == ["vm1", "vm2"]
    succeeds(switch.cli("config", "apply", write_config(switch, GOOD)))
    changed = GOOD.replace("vlan = 10", "vlan = 20").replace("[port vm1]", "[port vm3]")
    changed = changed.replace("vm1.sock", "vm3.sock")
    succeeds(switch.cli("config", "apply", write_config(switch, changed)))
    assert names(switch) == ["vm2", "vm3"]
    assert str(switch.show("vm2")["settings"]["vlan"]) == "20"


def test_apply_leaves_ports_that_did_not_change_alone(switch):
    succeeds(switch.cli("config", "apply", write_config(switch, GOOD)))
    before = os.stat(switch.path("vm1.sock")).st_ino
    succeeds(switch.cli("config", "apply", write_config(switch, GOOD.replace("vlan = 10", "vlan = 11"))))
    assert os.stat(switch.path("vm1.sock")).st_ino == before


def test_apply_refuses_what_only_a_restart_can_change_and_changes_nothing(switch):
    path = write_config(switch, GOOD.replace("workers = auto", "mac-table-size = 1000"))
    fails(switch.cli("config", "apply", path), REFUSED, "mac-table-size", "restart")
    assert names(switch) == []


def test_apply_that_cannot_be_done_changes_nothing(switch, stack):
    succeeds(switch.cli("config", "apply", write_config(switch, GOOD)))
    owner = stack.enter_context(socket.socket(socket.AF_UNIX))
    owner.bind(switch.path("taken.sock"))
    owner.listen()
    impossible = "[port new]\nkind = vhost\nlisten = {dir}/new.sock\n" \
                 "[port bad]\nkind = vhost\nlisten = {dir}/taken.sock\n"
    result = switch.cli("config", "apply", write_config(switch, impossible))
    assert result.returncode == REFUSED and "taken.sock" in result.stderr, result
    assert names(switch) == ["vm1", "vm2"]
    assert not os.path.exists(switch.path("new.sock"))


def test_save_and_apply_make_the_same_switch(switch):
    succeeds(switch.cli("config", "apply", write_config(switch, GOOD)))
    saved = switch.directory / "saved.conf"
    succeeds(switch.cli("config", "save", saved))
    difference = succeeds(switch.cli("config", "diff", saved))
    assert not re.search(r"^[-+]", difference, re.M), difference
    assert virtlaned("--check", "--config", saved).returncode == DONE


def test_diff_says_what_apply_would_do_and_does_nothing(switch):
    succeeds(switch.cli("config", "apply", write_config(switch, GOOD)))
    path = write_config(switch, GOOD.replace("[port vm2]", "[port vm9]").replace("vm2.s", "vm9.s"))
    difference = switch.cli("config", "diff", path).stdout
    assert "vm2" in difference and "vm9" in difference
    assert names(switch) == ["vm1", "vm2"]


def test_hangup_applies_the_changed_file(stack):
    switch = stack.enter_context(virtlane.Switch(config="[switch]\n"))
    switch.config.write_text(GOOD.format(dir=switch.directory))
    os.kill(switch.pid, signal.SIGHUP)
    until(lambda: names(switch) == ["vm1", "vm2"], "the ports of the changed file")


def test_hangup_with_a_bad_file_changes_nothing_and_is_logged(stack):
    switch = stack.enter_context(virtlane.Switch(config="[switch]\n"))
    switch.add_vhost("vm1")
    switch.config.write_text("[switch]\ncolour = red\n")
    os.kill(switch.pid, signal.SIGHUP)
    until(lambda: "colour" in switch.log(), "the bad line in the log")
    assert names(switch) == ["vm1"]


# Start and end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_daemon_ends_cleanly_and_removes_its_sockets_and_taps(stack, number):
    switch = stack.enter_context(virtlane.Switch())
    namespace = stack.enter_context(Namespace("end"))
    switch.add_tap("t", namespace)
    path = switch.add_vhost("vm1")
    os.kill(switch.pid, number)
    assert switch.process.wait(10) == 0
    assert not os.path.exists(path) and not switch.control.exists()
    assert "eth0" not in namespace.run("ip link")


def test_second_daemon_on_the_same_socket_is_refused_and_the_first_goes_on(switch):
    second = virtlaned("--socket", switch.control)
    assert second.returncode != DONE and str(switch.control) in second.stderr
    assert switch.call("version")


def test_daemon_takes_over_the_control_socket_of_one_that_was_killed(stack):
    switch = stack.enter_context(virtlane.Switch())
    path = switch.add_vhost("vm1")
    switch.process.kill()
    switch.process.wait()
    switch.stop(check=False)
    switch.start()
    switch.add_vhost("vm1", listen=path)


def test_unknown_argument_of_the_daemon_ends_with_2():
    assert virtlaned("--colour").returncode == USAGE


def test_help_of_the_daemon_names_its_arguments():
    printed = virtlaned("--help").stdout
    for argument in ("--config", "--socket", "--log-level", "--check"):
        assert argument in printed


def test_idle_switch_with_ports_uses_hardly_any_cpu(switch, make_namespace, say):
    for number in range(4):
        switch.add_tap(f"t{number}", make_namespace(f"t{number}"))

    def ticks():
        with open(f"/proc/{switch.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    switch.at_rest()
    before = ticks()
    # Measuring a share of time takes time.
    subprocess.run(["sleep", "2"], check=True)
    percent = (ticks() - before) / 2
    say(f"{percent:.1f} % of a CPU over 2 s")
    assert percent < 10


def test_daemon_makes_the_directory_of_its_socket(tmp_path):
    path = tmp_path / "run" / "control.sock"
    process = subprocess.Popen([paths.program("virtlaned"), "--socket", str(path)])
    try:
        until(path.exists, "the control socket")
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_traffic_goes_on_while_configuration_is_applied(switch, make_namespace, say):
    a, b = make_namespace("a"), make_namespace("b")
    taps = "".join(
        f"[port {name}]\nkind = tap\nnetns = {ns}\ninterface = eth0\n"
        for name, ns in (("a", a), ("b", b))
    )
    succeeds(switch.cli("config", "apply", write_config(switch, taps)))
    for number, namespace in ((1, a), (2, b)):
        namespace.address("eth0", f"10.0.0.{number}/24")
    traffic.answers(a, "10.0.0.2", count=1)
    traffic.serve_iperf(b)
    client = subprocess.Popen(
        ["ip", "netns", "exec", a.name, "iperf3", "-J", "-c", "10.0.0.2", "-t", "2"],
        stdout=subprocess.PIPE, text=True,
    )
    rounds = 0
    while client.poll() is None:
        more = taps + "[port extra]\nkind = vhost\nlisten = {dir}/extra.sock\n"
        succeeds(switch.cli("config", "apply", write_config(switch, more)))
        succeeds(switch.cli("config", "apply", write_config(switch, taps)))
        rounds += 1
    rate = json.loads(client.stdout.read())["end"]["sum_received"]["bits_per_second"] / 1e9
    client.stdout.close()
    say(f"{rounds} rounds of adding and removing a port at {rate:.2f} Gbit/s")
    assert rate > 0.1 and rounds > 2
