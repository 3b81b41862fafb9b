/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Settings and configuration: reading, errors with their lines, writing, differences, and applying
 * them to a switch. The switch here is a list of ports that can be told to refuse one.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/config_apply.h"
#include "control/text.h"

/* ---- a switch without workers ---- */

enum {
	PORTS_MAX = 16,
};

struct switch_state {
	struct switch_settings settings;
	unsigned port_count;
	struct port_settings ports[PORTS_MAX];
	const char *refuse; /* a port of this name cannot be added */
	char calls[512];    /* what was done, a word each */
};

static struct switch_state fake;

static void note_call(struct switch_state *sw, const char *call, const char *port)
{
	size_t size = strlen(sw->calls);

	(void)snprintf(sw->calls + size, sizeof(sw->calls) - size, "%s:%s ", call, port);
}

const struct switch_settings *switch_settings(const struct switch_state *sw)
{
	return &sw->settings;
}

void switch_set_mac_age(struct switch_state *sw, uint32_t age)
{
	sw->settings.mac_age = age;
	note_call(sw, "set", "mac-age");
}

const struct port_settings *switch_port_find(const struct switch_state *sw, const char *name)
{
	for (unsigned i = 0; i < sw->port_count; i++) {
		if (strcmp(sw->ports[i].name, name) == 0)
			return &sw->ports[i];
	}
	return NULL;
}

const struct port_settings *switch_port_next(const struct switch_state *sw, unsigned *cursor)
{
	return *cursor < sw->port_count ? &sw->ports[(*cursor)++] : NULL;
}

int switch_port_add(
	struct switch_state *sw, const struct port_settings *settings, struct error *error
)
{
	note_call(sw, "add", settings->name);
	if (sw->refuse != NULL && strcmp(settings->name, sw->refuse) == 0)
		return error_set(error, -EBUSY, "its interface is in use; choose another");
	assert_in_range(sw->port_count, 0, PORTS_MAX - 1);
	sw->ports[sw->port_count++] = *settings;
	return 0;
}

int switch_port_delete(struct switch_state *sw, const char *name, struct error *)
{
	struct port_settings *port = (struct port_settings *)switch_port_find(sw, name);

	note_call(sw, "delete", name);
	assert_non_null(port);
	*port = sw->ports[--sw->port_count];
	return 0;
}

int switch_port_set_policy(
	struct switch_state *sw,
	const char *name,
	const struct port_policy *policy,
	struct error *error
)
{
	struct port_settings *port = (struct port_settings *)switch_port_find(sw, name);

	note_call(sw, "set", name);
	assert_non_null(port);
	assert_non_null(error);
	port->policy = *policy;
	return 0;
}

/* ---- helpers ---- */

static struct config_errors errors;

static struct config *parse_good(const char *text)
{
	struct config *config = config_parse(text, &errors);

	if (config == NULL) {
		char *complaint = config_errors_format(&errors, "text");

		print_error("%s\n", complaint);
		free(complaint);
	}
	assert_non_null(config);
	return config;
}

/* The text is wrong in `line`, and what is said about it has `part` in it. */
static void expect_error(const char *text, unsigned line, const char *part)
{
	assert_null(config_parse(text, &errors));
	for (size_t i = 0; i < errors.count; i++) {
		if (errors.list[i].line == line && strstr(errors.list[i].error.text, part) != NULL)
			return;
	}
	char *complaint = config_errors_format(&errors, "text");

	print_error("expected '%s' in line %u, but got\n%s\n", part, line, complaint);
	free(complaint);
	fail();
}

static void expect_text(const struct setting *setting, const void *settings, const char *text)
{
	char *found = setting_format(setting, settings);

	assert_string_equal(found, text);
	free(found);
}

static const struct setting *port_setting(const char *name)
{
	const struct setting *setting = setting_find(port_setting_table, name);

	assert_non_null(setting);
	return setting;
}

/* The value is taken and written as `canonical`. */
static void expect_canonical(const char *name, const char *text, const char *canonical)
{
	struct settings_given given = {};
	struct port_settings settings;
	struct error error = {};

	port_settings_default(&settings);
	if (settings_parse(port_setting_table, name, text, &settings, &given, &error) != 0)
		fail_msg("%s=%s: %s", name, text, error.text);
	assert_true(settings_given_have(&given, name));
	expect_text(port_setting(name), &settings, canonical);
}

/* The value is refused, the sentence names the setting, and nothing was changed. */
static void expect_refused(const char *name, const char *text)
{
	struct settings_given given = {};
	struct port_settings settings;
	struct port_settings before;
	struct error error = {};

	port_settings_default(&settings);
	before = settings;
	if (settings_parse(port_setting_table, name, text, &settings, &given, &error) == 0)
		fail_msg("%s=%s was taken", name, text);
	assert_non_null(strstr(error.text, name));
	assert_memory_equal(&settings, &before, sizeof(settings));
}

static int reset_fake(void **)
{
	fake = (struct switch_state){};
	switch_settings_default(&fake.settings);
	return 0;
}

/* Make the fake run with this configuration. */
static void run_config(const char *text)
{
	struct config *config = parse_good(text);

	reset_fake(NULL);
	for (size_t i = 0; i < config->port_count; i++)
		fake.ports[fake.port_count++] = config->ports[i].settings;
	config_free(config);
}

static int apply(const char *text, struct error *error)
{
	struct config_plan *plan = config_plan_new(&fake, text);
	int status;

	assert_non_null(plan->wanted);
	status = config_plan_apply(plan, &fake, "file", error);
	config_plan_free(plan);
	return status;
}

/* What the fake runs with, as text; malloc()ed. */
static char *running_text(void)
{
	struct config *config = config_of_switch(&fake);
	char *text = config_format(config);

	config_free(config);
	return text;
}

/* ---- settings ---- */

static void defaults_are_as_documented(void **)
{
	struct switch_settings sw;
	struct port_settings port;

	switch_settings_default(&sw);
	port_settings_default(&port);
	for (const struct setting *s = switch_setting_table; s->name != NULL; s++)
		expect_text(s, &sw, s->preset);
	for (const struct setting *s = port_setting_table; s->name != NULL; s++) {
		if (s->preset != NULL)
			expect_text(s, &port, s->preset);
	}
}

static void values_have_one_canonical_form(void **)
{
	expect_canonical("queues", "128", "128");
	expect_canonical("mtu", "none", "none");
	expect_canonical("mac-lock", "true", "yes");
	expect_canonical("mac-lock", "off", "no");
	expect_canonical("vlan", "4094", "4094");
	expect_canonical("trunk", "20-22,10,23", "10,20-23");
	expect_canonical("trunk", "1-4094", "all");
	expect_canonical("trunk", "none", "none");
	expect_canonical(
		"mac", "52:54:00:AB:cd:01, 02:00:00:00:00:01", "52:54:00:ab:cd:01,02:00:00:00:00:01"
	);
	expect_canonical("mode", "600", "0600");
	expect_canonical("owner", "0", "root");
	expect_canonical("group", "root", "root");
	expect_canonical("listen", "/run/a b.sock", "/run/a b.sock");
	expect_canonical("offloads", "tso4, csum,ecn", "csum,tso4,ecn");
	expect_canonical("offloads", "csum,tso4,tso6,ecn,ufo,uso", "all");
	expect_canonical("offloads", "none", "none");
	expect_canonical("device", "net_pcap0,rx_pcap=/a.pcap", "net_pcap0,rx_pcap=/a.pcap");
}

static void bad_values_are_refused_and_change_nothing(void **)
{
	static const char *const bad[][2] = {
		{"kind", "vdpa"},
		{"queues", "0"},
		{"queues", "129"},
		{"queues", "-1"},
		{"queues", "1x"},
		{"queues", "99999999999999999999"},
		{"queues", ""},
		{"queues", "none"},
		{"mtu", "67"},
		{"max-frame", "65551"},
		{"mac", "52:54:00:00:00"},
		{"mac", "01:00:00:00:00:01"},
		{"mac", "00:00:00:00:00:00"},
		{"mac", "52:54:00:00:00:01,52:54:00:00:00:01"},
		{"mac", "52:54:00:00:00:01,"},
		{"mac-lock", "maybe"},
		{"vlan", "4095"},
		{"vlan", "0"},
		{"trunk", "10-"},
		{"trunk", "20-10"},
		{"trunk", "1,,2"},
		{"trunk", "4095"},
		{"isolate", "65536"},
		{"cross-connect", "a/b"},
		{"cross-connect", "a-name-that-is-longer-than-31-characters"},
		{"owner", "no-such-user-here"},
		{"mode", "0888"},
		{"mode", "1777"},
		{"listen", "vm1.sock"},
		{"listen", "/run/"},
		{"listen", "/run/a;b"},
		{"listen", "/run/a\tb"},
		{"interface", "an-interface-name"},
		{"interface", "a/b"},
		{"interface", "tap%d"},
		{"offloads", "tso4"},
		{"offloads", "csum,ecn"},
		{"offloads", "csum,csum"},
		{"offloads", "csum,"},
		{"offloads", "CSUM"},
		{"offloads", "all,csum"},
		{"device", "net_pcap0, rx_iface=eth0"},
		{"device", "net_pcap0;a"},
		{"netns", "../web"},
		{"netns", ".."},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_refused(bad[i][0], bad[i][1]);
}

/* Take the values on one port and compare what the data path will look at. */
static void expect_vlans(const char *vlan, const char *trunk, bool any, bool tagged_10)
{
	struct settings_given given = {};
	struct port_settings settings;
	const struct port_policy *policy = &settings.policy;

	port_settings_default(&settings);
	if (trunk != NULL)
		assert_int_equal(
			settings_parse(port_setting_table, "trunk", trunk, &settings, &given, NULL),
			0
		);
	if (vlan != NULL)
		assert_int_equal(
			settings_parse(port_setting_table, "vlan", vlan, &settings, &given, NULL), 0
		);
	assert_int_equal(policy->trunk && (policy->trunk_vlans[0] & 1), any);
	assert_int_equal(policy->trunk && (policy->trunk_vlans[0] >> 10 & 1), tagged_10);
	expect_text(port_setting("vlan"), &settings, vlan != NULL ? vlan : "none");
	expect_text(port_setting("trunk"), &settings, trunk != NULL ? trunk : "none");
}

static void vlan_and_trunk_make_access_and_trunk_ports(void **)
{
	expect_vlans(NULL, NULL, true, true);
	expect_vlans("10", NULL, false, false);
	expect_vlans("10", "none", false, false);
	expect_vlans(NULL, "10-12", false, true);
	expect_vlans("5", "10-12", false, true);
	expect_vlans("none", "11", false, false);
	expect_vlans("none", "none", true, true);
	expect_vlans(NULL, "all", false, true);
}

static void every_second_vlan_fits(void **)
{
	char text[16384] = "2";
	size_t size = 1;

	for (unsigned vlan = 4; vlan <= 4094; vlan += 2)
		size += (size_t)snprintf(text + size, sizeof(text) - size, ",%u", vlan);
	expect_canonical("trunk", text, text);
}

static void port_names_are_checked(void **)
{
	char name[PORT_NAME_SIZE];

	assert_int_equal(port_name_parse("Vm_1.eth-0", name, NULL), 0);
	assert_string_equal(name, "Vm_1.eth-0");
	assert_int_equal(port_name_parse("1234567890123456789012345678901", name, NULL), 0);
	assert_int_equal(port_name_parse("12345678901234567890123456789012", name, NULL), -EINVAL);
	assert_int_equal(port_name_parse("", name, NULL), -EINVAL);
	assert_int_equal(port_name_parse("a b", name, NULL), -EINVAL);
	assert_int_equal(port_name_parse("a/b", name, NULL), -EINVAL);
}

static void long_socket_paths_need_their_directory(void **)
{
	struct port_settings settings;
	struct error error;
	char padding[100];

	port_settings_default(&settings);
	memset(padding, 'd', sizeof(padding));
	(void)snprintf(settings.listen, sizeof(settings.listen), "/tmp/%.99s", padding);
	assert_int_equal(port_settings_check_host(&settings, &error), 0);
	/* through directories that exist, however long the path is */
	(void)snprintf(settings.listen, sizeof(settings.listen), "/tmp/%0100d/../vm1.sock", 0);
	assert_int_equal(port_settings_check_host(&settings, &error), -ENOENT);
	(void)snprintf(settings.listen, sizeof(settings.listen), "%s", "/tmp");
	for (int i = 0; i < 60; i++)
		strcat(settings.listen, "/.");
	strcat(settings.listen, "/vm1.sock");
	assert_int_equal(port_settings_check_host(&settings, &error), 0);
	/* unless its last part leaves no room for the way around */
	(void)snprintf(settings.listen, sizeof(settings.listen), "/tmp/././././%.99s", padding);
	assert_int_equal(port_settings_check_host(&settings, &error), -ENAMETOOLONG);
}

/* ---- reading ---- */

static const char example[] = "; the example of the manual\n"
			      "[switch]\n"
			      "workers = 2-3          ; CPUs\n"
			      "poll = always\n"
			      "\n"
			      "[port vm1]\n"
			      "kind = vhost\n"
			      "  listen = /run/virtlane/vm1.sock\n"
			      "queues: 2\n"
			      "\n"
			      "# a tap\n"
			      "[port web]\n"
			      "kind = tap\n"
			      "netns = web\n"
			      "interface = eth0";

static void example_is_read(void **)
{
	struct config *config = parse_good(example);
	const struct port_settings *vm1 = &config->ports[0].settings;
	const struct port_settings *web = &config->ports[1].settings;

	assert_int_equal(config->sw.worker_count, 2);
	assert_int_equal(config->sw.worker_cpus[1], 3);
	assert_true(config->sw.poll_always);
	assert_int_equal(config->sw.mac_age, 300);
	assert_int_equal(config->port_count, 2);
	assert_string_equal(vm1->name, "vm1");
	assert_int_equal(vm1->kind, PORT_VHOST);
	assert_string_equal(vm1->listen, "/run/virtlane/vm1.sock");
	assert_int_equal(vm1->queues, 2);
	assert_int_equal(config->ports[0].line, 6);
	assert_int_equal(web->kind, PORT_TAP);
	assert_string_equal(web->netns, "web");
	assert_string_equal(web->interface, "eth0");
	config_free(config);
}

static void empty_file_is_a_switch_without_ports(void **)
{
	struct config *config = parse_good("");

	assert_int_equal(config->port_count, 0);
	assert_int_equal(config->sw.worker_count, 1);
	assert_int_equal(config->sw.worker_cpus[0], -1);
	config_free(config);
}

static void errors_name_their_line(void **)
{
	expect_error("queues = 1\n", 1, "before the first section");
	expect_error("[switch]\nfoo = 1\n", 2, "unknown setting 'foo'");
	expect_error("[switch]\n\nworkers = x\n", 3, "workers=x");
	expect_error("[switch]\n[switch]\n", 2, "twice");
	expect_error("[worker]\n", 1, "unknown section [worker]");
	expect_error("[port a/b]\n", 1, "port name");
	expect_error("[port ]\n", 1, "port name");
	expect_error("[port a\nkind = tap\n", 1, "section");
	expect_error("[port a]\nkind = tap\nwords\n", 3, "cannot read this line");
	expect_error("[port a]\nkind = tap\nkind = tap\n", 3, "twice");
	expect_error("[port a]\nkind = tap\n\n[port a]\nkind = tap\n", 4, "first in line 1");
	expect_error("[port a]\nkind = tap\nvlan =\n", 3, "no value");
	expect_error("[port a]\nkind = tap\nlisten = /run/a\n", 1, "does not apply");
	expect_error("[port a]\nkind = vhost\n", 1, "listen or connect is missing");
	expect_error("[port a]\nkind = vhost\nlisten = /a\nconnect = /b\n", 1, "both");
	expect_error("[port a]\nkind = vhost\nconnect = /b\nmode = 0600\n", 1, "mode");
	expect_error("[port a]\nkind = tap\nmac-lock = yes\n", 1, "mac-lock=yes needs");
	expect_error("[port a]\nkind = tap\nmtu = 9000\nmax-frame = 1518\n", 1, "max-frame");
	expect_error("[port a-name-of-sixteen]\nkind = tap\n", 1, "interface=NAME");
	expect_error("[port a]\nkind = ethdev\n", 1, "device is missing");
	expect_error("[port a]\nkind = tap\ndevice = net_null0\n", 1, "does not apply");
}

static void empty_section_is_noticed(void **)
{
	expect_error("[port a]\n[port b]\nkind = tap\n", 1, "kind is missing");
	expect_error("[port b]\nkind = tap\n[port a]", 3, "kind is missing");
}

static void clashes_between_ports_are_errors(void **)
{
	expect_error(
		"[port a]\nkind = vhost\nlisten = /s\n[port b]\nkind = vhost\nconnect = /s\n",
		4,
		"already used by port 'a' (line 1)"
	);
	expect_error(
		"[port a]\nkind = tap\n[port b]\nkind = tap\ninterface = a\n", 3, "already used"
	);
	config_free(
		parse_good("[port a]\nkind = tap\n[port b]\nkind = tap\ninterface = a\nnetns = x\n")
	);
}

static void all_errors_are_reported_in_order(void **)
{
	char *text;

	assert_null(config_parse(
		"[port a]\nlisten = /a\n[port b]\nkind = x\n[port b]\nfoo = 1\n[nonsense]\n",
		&errors
	));
	text = config_errors_format(&errors, "f");
	assert_int_equal(errors.count, 4);
	assert_int_equal(strncmp(text, "f:1: kind is missing", 20), 0);
	assert_non_null(strstr(text, "\nf:4: kind=x"));
	assert_non_null(strstr(text, "\nf:5: port 'b' is there twice"));
	assert_non_null(strstr(text, "\nf:7: unknown section [nonsense]"));
	free(text);
}

static void long_lines_are_refused(void **)
{
	char *text = text_format("[port a]\nkind = vhost\nlisten = /%020000d\n", 0);

	expect_error(text, 3, "longer than");
	free(text);
}

/* ---- writing ---- */

static void saved_text_reads_back_the_same(void **)
{
	static const char all[] =
		"[switch]\nworkers = 7,1-3\npoll = always\nmac-table-size = 1000\nmac-age = 0\n\n"
		"[port vm1]\nkind = vhost\nlisten = /run/vm 1.sock\nqueues = 4\nmtu = 9000\n"
		"max-frame = 9014\nmac = 52:54:00:00:00:01,52:54:00:00:00:02\nmac-lock = yes\n"
		"vlan = 10\ntrunk = 20-30,40\nisolate = 3\nstorm-limit = 1000\nowner = root\n"
		"group = root\nmode = 0600\n\n"
		"[port vm2]\nkind = vhost\nconnect = /run/vm2.sock\n\n"
		"[port web]\nkind = tap\ninterface = eth0\nnetns = web\n";
	struct config *config = parse_good(all);
	char *text = config_format(config);

	assert_string_equal(text, all);
	config_free(config);
	free(text);
}

/* ---- differences ---- */

static void expect_changes(const char *from, const char *to, const char *const *texts)
{
	struct config *running = parse_good(from);
	struct config *wanted = parse_good(to);
	struct config_diff *diff = config_diff_new(running, wanted);

	for (size_t i = 0; i < diff->count; i++) {
		assert_non_null(texts[i]);
		assert_string_equal(diff->changes[i].text, texts[i]);
	}
	assert_null(texts[diff->count]);
	config_diff_free(diff);
	config_free(running);
	config_free(wanted);
}

static void equal_configurations_differ_in_nothing(void **)
{
	static const char *const none[] = {NULL};

	expect_changes(example, example, none);
	/* order, and what is the default anyway, are no difference */
	expect_changes(
		"[port a]\nkind = tap\n[port b]\nkind = tap\n",
		"[switch]\nworkers = auto\n[port b]\nkind = tap\nqueues = 1\n[port a]\nkind = "
		"tap\n",
		none
	);
}

static void changes_are_told_apart(void **)
{
	static const char *const changes[] = {
		"restart virtlaned for the switch: mac-table-size 65536 -> 1000",
		"set port live: vlan none -> 10, isolate none -> 2",
		"replace port dead: queues 1 -> 2, vlan none -> 10",
		"delete port old",
		"add port new of kind tap",
		NULL,
	};

	expect_changes(
		"[port live]\nkind = tap\n[port dead]\nkind = tap\n[port same]\nkind = tap\n"
		"[port old]\nkind = tap\n",
		"[switch]\nmac-table-size = 1000\n[port new]\nkind = tap\n[port same]\n"
		"kind = tap\n"
		"[port live]\nkind = tap\nvlan = 10\nisolate = 2\n"
		"[port dead]\nkind = tap\nqueues = 2\nvlan = 10\n",
		changes
	);
}

/* ---- applying ---- */

static void applying_deletes_then_sets_then_adds(void **)
{
	struct error error;
	char *text;

	run_config("[port a]\nkind = tap\n[port b]\nkind = tap\n[port c]\nkind = tap\n");
	assert_int_equal(
		apply("[port d]\nkind = tap\ninterface = a\n[port b]\nkind = tap\nvlan = 1\n"
		      "[port c]\nkind = tap\nqueues = 2\n",
		      &error),
		0
	);
	assert_string_equal(fake.calls, "delete:a delete:c set:b add:c add:d ");
	assert_int_equal(switch_port_find(&fake, "b")->policy.vlan, 1);
	assert_int_equal(switch_port_find(&fake, "c")->queues, 2);
	text = running_text();
	fake.calls[0] = '\0';
	assert_int_equal(apply(text, &error), 0);
	assert_string_equal(fake.calls, "");
	free(text);
}

static void age_of_addresses_changes_while_the_switch_runs(void **)
{
	struct error error;

	run_config("");
	assert_int_equal(apply("[switch]\nmac-age = 60\n", &error), 0);
	assert_string_equal(fake.calls, "set:mac-age ");
	assert_int_equal(fake.settings.mac_age, 60);
}

static void failed_apply_leaves_everything_as_it_was(void **)
{
	struct error error;
	struct config *before;
	struct config *after;
	struct config_diff *diff;

	run_config("[port a]\nkind = tap\n[port b]\nkind = tap\n[port c]\nkind = tap\n");
	before = config_of_switch(&fake);
	fake.refuse = "z";
	assert_int_equal(
		apply("[port b]\nkind = tap\nvlan = 1\n[port c]\nkind = tap\nqueues = 2\n"
		      "[port d]\nkind = tap\n[port z]\nkind = tap\n",
		      &error),
		-EBUSY
	);
	assert_string_equal(
		error.text, "file:9: its interface is in use; choose another (nothing was changed)"
	);
	after = config_of_switch(&fake);
	diff = config_diff_new(before, after);
	assert_int_equal(diff->count, 0);
	assert_int_equal(after->port_count, before->port_count);
	config_diff_free(diff);
	config_free(before);
	config_free(after);
}

static void port_that_cannot_come_back_is_named(void **)
{
	struct error error;

	run_config("[port a]\nkind = tap\n");
	fake.refuse = "a";
	assert_int_equal(apply("[port a]\nkind = tap\nqueues = 2\n", &error), -EBUSY);
	assert_non_null(strstr(error.text, "port 'a' could not be put back"));
}

static void settings_of_the_switch_need_a_restart(void **)
{
	struct error error;

	run_config("[port a]\nkind = tap\n");
	assert_int_equal(apply("[switch]\npoll = always\n", &error), -EBUSY);
	assert_non_null(strstr(error.text, "poll adaptive -> always"));
	assert_string_equal(fake.calls, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_as_documented),
		cmocka_unit_test(values_have_one_canonical_form),
		cmocka_unit_test(bad_values_are_refused_and_change_nothing),
		cmocka_unit_test(vlan_and_trunk_make_access_and_trunk_ports),
		cmocka_unit_test(every_second_vlan_fits),
		cmocka_unit_test(port_names_are_checked),
		cmocka_unit_test(long_socket_paths_need_their_directory),
		cmocka_unit_test(example_is_read),
		cmocka_unit_test(empty_file_is_a_switch_without_ports),
		cmocka_unit_test(errors_name_their_line),
		cmocka_unit_test(empty_section_is_noticed),
		cmocka_unit_test(clashes_between_ports_are_errors),
		cmocka_unit_test(all_errors_are_reported_in_order),
		cmocka_unit_test(long_lines_are_refused),
		cmocka_unit_test(saved_text_reads_back_the_same),
		cmocka_unit_test(equal_configurations_differ_in_nothing),
		cmocka_unit_test(changes_are_told_apart),
		cmocka_unit_test_setup(applying_deletes_then_sets_then_adds, reset_fake),
		cmocka_unit_test_setup(age_of_addresses_changes_while_the_switch_runs, reset_fake),
		cmocka_unit_test_setup(failed_apply_leaves_everything_as_it_was, reset_fake),
		cmocka_unit_test_setup(port_that_cannot_come_back_is_named, reset_fake),
		cmocka_unit_test_setup(settings_of_the_switch_need_a_restart, reset_fake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
