/* SPDX-License-Identifier: BSD-3-Clause */
/* Settings that are sets: VLANs, addresses and offloads of a port, CPUs of the workers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/setting_codecs.h"
#include "control/text.h"
#include "virtlane/frame.h"

/* ---- VLANs ---- */

/*
 * A policy knows one set of VLANs. What an operator says is two things, and that nothing is said
 * is a third:
 *	vlan and trunk none	every frame passes as it is: all VLANs, and VLAN 0 for untagged
 *frames vlan V, trunk none	no set trunk T			the set T, which never has VLAN 0 So
 *VLAN 0 tells the first from the last.
 */
enum {
	VLAN_MIN = 1,
	VLAN_MAX = VLAN_COUNT - 2, /* 4095 is reserved, IEEE 802.1Q table 9-2 */
};

static bool vlan_set_have(const struct port_policy *policy, uint32_t vlan)
{
	return policy->trunk && ((policy->trunk_vlans[vlan / 64] >> (vlan % 64)) & 1);
}

static bool vlan_set_add(void *context, uint32_t first, uint32_t last)
{
	struct port_policy *policy = context;

	for (uint32_t vlan = first; vlan <= last; vlan++)
		policy->trunk_vlans[vlan / 64] |= UINT64_C(1) << (vlan % 64);
	return true;
}

static bool has_trunk(const struct port_policy *policy)
{
	return policy->trunk && !vlan_set_have(policy, 0);
}

/* No trunk is said: whether anything passes then depends on the port's own VLAN. */
static void settle_without_trunk(struct port_policy *policy)
{
	policy->trunk = policy->vlan == 0;
	memset(policy->trunk_vlans, policy->trunk ? 0xff : 0, sizeof(policy->trunk_vlans));
}

static int
parse_vlan(const struct setting *setting, const char *text, void *field, struct error *error)
{
	struct port_policy *policy = field;
	uint32_t vlan = 0;

	if (strcmp(text, "none") != 0
	    && !text_parse_number(text, setting->min, setting->max, &vlan))
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: give a VLAN from %u to %u, or none",
			setting->name,
			text,
			setting->min,
			setting->max
		);
	policy->vlan = (uint16_t)vlan;
	if (!has_trunk(policy))
		settle_without_trunk(policy);
	return 0;
}

static char *format_vlan(const struct setting *, const void *field)
{
	const struct port_policy *policy = field;

	return policy->vlan == 0 ? text_format("none") : text_format("%u", policy->vlan);
}

const struct setting_codec codec_vlan = {SETTING_NUMBER, parse_vlan, format_vlan};

static int
parse_vlan_set(const struct setting *setting, const char *text, void *field, struct error *error)
{
	struct port_policy *policy = field;
	struct port_policy wanted = {.vlan = policy->vlan, .trunk = true};

	if (strcmp(text, "none") == 0) {
		settle_without_trunk(&wanted);
	} else if (strcmp(text, "all") == 0) {
		vlan_set_add(&wanted, VLAN_MIN, VLAN_MAX);
	} else if (!text_parse_ranges(text, VLAN_MIN, VLAN_MAX, vlan_set_add, &wanted)) {
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: give VLANs from %u to %u, for example 10,20-30, or all, or none",
			setting->name,
			text,
			VLAN_MIN,
			VLAN_MAX
		);
	}
	policy->trunk = wanted.trunk;
	memcpy(policy->trunk_vlans, wanted.trunk_vlans, sizeof(policy->trunk_vlans));
	return 0;
}

static char *format_vlan_ranges(const struct port_policy *policy)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		abort();
	for (uint32_t first = VLAN_MIN; first <= VLAN_MAX; first++) {
		uint32_t last = first;

		if (!vlan_set_have(policy, first))
			continue;
		while (last < VLAN_MAX && vlan_set_have(policy, last + 1))
			last++;
		(void)fprintf(out, "%s%u", ftell(out) > 0 ? "," : "", first);
		if (last > first)
			(void)fprintf(out, "-%u", last);
		first = last;
	}
	if (fclose(out) != 0)
		abort();
	return text;
}

static char *format_vlan_set(const struct setting *, const void *field)
{
	const struct port_policy *policy = field;

	if (!has_trunk(policy))
		return text_format("none");
	for (uint32_t vlan = VLAN_MIN; vlan <= VLAN_MAX; vlan++) {
		if (!vlan_set_have(policy, vlan))
			return format_vlan_ranges(policy);
	}
	return text_format("all");
}

const struct setting_codec codec_vlan_set = {SETTING_OTHER, parse_vlan_set, format_vlan_set};

/* ---- addresses ---- */

static int
add_mac(const struct setting *setting,
	const char *text,
	struct port_policy *policy,
	struct error *error)
{
	static const uint8_t zero[6];
	struct port_mac mac;

	if (!text_parse_mac(text, mac.bytes))
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: give an address such as 52:54:00:00:00:01",
			setting->name,
			text
		);
	if ((mac.bytes[0] & 1) || memcmp(mac.bytes, zero, sizeof(zero)) == 0)
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: a port's own address cannot be zero or a group address",
			setting->name,
			text
		);
	for (unsigned i = 0; i < policy->mac_count; i++) {
		if (memcmp(&policy->macs[i], &mac, sizeof(mac)) == 0)
			return error_set(
				error, -EINVAL, "%s: %.64s is there twice", setting->name, text
			);
	}
	if (policy->mac_count == PORT_MACS_MAX)
		return error_set(
			error, -EINVAL, "%s: at most %d addresses", setting->name, PORT_MACS_MAX
		);
	policy->macs[policy->mac_count++] = mac;
	return 0;
}

static int
parse_macs(const struct setting *setting, const char *text, void *field, struct error *error)
{
	struct port_policy *policy = field;
	struct port_policy wanted = {};
	char *words;
	char *rest;
	char *word;
	int status = 0;

	if (strcmp(text, "none") != 0) {
		rest = words = text_format("%s", text);
		while (status == 0 && (word = strsep(&rest, ",")) != NULL)
			status = add_mac(setting, word + strspn(word, " "), &wanted, error);
		free(words);
	}
	if (status != 0)
		return status;
	policy->mac_count = wanted.mac_count;
	memcpy(policy->macs, wanted.macs, sizeof(policy->macs));
	return 0;
}

static char *format_macs(const struct setting *, const void *field)
{
	const struct port_policy *policy = field;
	char text[PORT_MACS_MAX * MAC_TEXT_SIZE + 1] = "none";

	for (unsigned i = 0; i < policy->mac_count; i++) {
		char *at = text + (size_t)i * MAC_TEXT_SIZE;

		text_format_mac(policy->macs[i].bytes, at);
		if (i + 1 < policy->mac_count)
			at[MAC_TEXT_SIZE - 1] = ',';
	}
	return text_format("%s", text);
}

const struct setting_codec codec_macs = {SETTING_OTHER, parse_macs, format_macs};

/* ---- offloads ---- */

static bool add_offload(const char *name, uint32_t *offloads)
{
	for (unsigned i = 0; i < PORT_OFFLOAD_COUNT; i++) {
		if (strcmp(port_offload_names[i], name) != 0 || (*offloads >> i) & 1)
			continue;
		*offloads |= UINT32_C(1) << i;
		return true;
	}
	return false;
}

static int
parse_offloads(const struct setting *setting, const char *text, void *field, struct error *error)
{
	uint32_t offloads = strcmp(text, "all") == 0 ? VL_OFFLOADS_ALL : 0;
	bool good = true;
	char *words, *rest, *word;

	if (offloads == 0 && strcmp(text, "none") != 0) {
		rest = words = text_format("%s", text);
		while (good && (word = strsep(&rest, ",")) != NULL)
			good = add_offload(word + strspn(word, " "), &offloads);
		free(words);
	}
	if (!good)
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: give some of csum,tso4,tso6,ecn,ufo,uso, each once, or all, or "
			"none",
			setting->name,
			text
		);
	/* VIRTIO 1.3, 5.1.3.1 */
	if (offloads != 0 && !(offloads & VL_OFFLOAD_CSUM))
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: a large frame has a partial checksum; add csum",
			setting->name,
			text
		);
	if ((offloads & VL_OFFLOAD_ECN) && !(offloads & (VL_OFFLOAD_TSO4 | VL_OFFLOAD_TSO6)))
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: ecn is about large TCP frames; add tso4 or tso6",
			setting->name,
			text
		);
	memcpy(field, &offloads, sizeof(offloads));
	return 0;
}

static char *format_offloads(const struct setting *, const void *field)
{
	char text[64] = "";
	uint32_t offloads;

	memcpy(&offloads, field, sizeof(offloads));
	if (offloads == 0 || offloads == VL_OFFLOADS_ALL)
		return text_format(offloads == 0 ? "none" : "all");
	for (unsigned i = 0; i < PORT_OFFLOAD_COUNT; i++) {
		if (!((offloads >> i) & 1))
			continue;
		if (text[0] != '\0')
			strcat(text, ",");
		strcat(text, port_offload_names[i]);
	}
	return text_format("%s", text);
}

const struct setting_codec codec_offloads = {SETTING_OTHER, parse_offloads, format_offloads};

/* ---- CPUs of the workers ---- */

enum {
	CPU_MAX = 1023, /* of cpu_set_t */
};

static bool cpu_list_have(const struct switch_settings *settings, int cpu)
{
	for (unsigned i = 0; i < settings->worker_count; i++) {
		if (settings->worker_cpus[i] == cpu)
			return true;
	}
	return false;
}

static bool cpu_list_add(void *context, uint32_t first, uint32_t last)
{
	struct switch_settings *settings = context;

	for (uint32_t cpu = first; cpu <= last; cpu++) {
		if (settings->worker_count == WORKERS_MAX || cpu_list_have(settings, (int)cpu))
			return false;
		settings->worker_cpus[settings->worker_count++] = (int)cpu;
	}
	return true;
}

static int
parse_cpus(const struct setting *setting, const char *text, void *field, struct error *error)
{
	struct switch_settings *settings = field;
	struct switch_settings wanted = {};

	if (strcmp(text, "auto") == 0) {
		wanted.worker_count = 1;
		wanted.worker_cpus[0] = -1;
	} else if (!text_parse_ranges(text, 0, CPU_MAX, cpu_list_add, &wanted)) {
		return error_set(
			error,
			-EINVAL,
			"%s=%.64s: give up to %d different CPUs, for example 2-3, or auto",
			setting->name,
			text,
			WORKERS_MAX
		);
	}
	settings->worker_count = wanted.worker_count;
	memcpy(settings->worker_cpus, wanted.worker_cpus, sizeof(settings->worker_cpus));
	return 0;
}

/* Workers are numbered in the order given, so the order is kept: no sorting, no ranges across it.
 */
static char *format_cpus(const struct setting *, const void *field)
{
	const struct switch_settings *settings = field;
	char *text = NULL;
	size_t size;
	FILE *out;

	if (settings->worker_count == 1 && settings->worker_cpus[0] < 0)
		return text_format("auto");
	out = open_memstream(&text, &size);
	if (out == NULL)
		abort();
	for (unsigned first = 0, last; first < settings->worker_count; first = last + 1) {
		const int *cpus = settings->worker_cpus;

		for (last = first;
		     last + 1 < settings->worker_count && cpus[last + 1] == cpus[last] + 1;
		     last++)
			continue;
		(void)fprintf(out, "%s%d", first > 0 ? "," : "", cpus[first]);
		if (last > first)
			(void)fprintf(out, "-%d", cpus[last]);
	}
	if (fclose(out) != 0)
		abort();
	return text;
}

const struct setting_codec codec_cpus = {SETTING_OTHER, parse_cpus, format_cpus};
