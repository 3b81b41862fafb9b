/* SPDX-License-Identifier: BSD-3-Clause */
/* Values of virtlane-pktgen's options that are more than a number, see values.h. */
#include "pktgen/values.h"

#include <ctype.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "control/text.h"

static const char *const mode_names[] = {"send", "receive", "exchange", "reflect"};

const char *pktgen_mode_name(uint32_t mode)
{
	return mode_names[mode];
}

const char *value_mode(struct pktgen_options *options, const char *text)
{
	for (uint32_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
		if (strcmp(text, mode_names[i]) != 0)
			continue;
		options->mode = i;
		return NULL;
	}
	return "give send, receive, exchange or reflect";
}

const char *value_reflect(struct pktgen_options *options, const char *text)
{
	options->swap = strcmp(text, "swap") == 0;
	return options->swap || strcmp(text, "io") == 0 ? NULL : "give io or swap";
}

const char *value_size(struct pktgen_options *options, const char *text)
{
	free(options->sizes.schedule);
	options->sizes.schedule = NULL;
	options->size_text = text;
	return units_parse_sizes(text, &options->sizes);
}

const char *value_rate(struct pktgen_options *options, const char *text)
{
	options->rate = 0;
	if (strcmp(text, "max") == 0 || units_parse_scaled(text, &options->rate))
		return NULL;
	return "give frames a second, for example 10k or 1.5M, or max";
}

const char *value_bits(struct pktgen_options *options, const char *text)
{
	return units_parse_scaled(text, &options->bits) ? NULL
							: "give bits a second, for example 10G";
}

const char *value_frames(struct pktgen_options *options, const char *text)
{
	if (units_parse_scaled(text, &options->frames) && options->frames == floor(options->frames))
		return NULL;
	return "give a number of frames, for example 1000 or 10M";
}

const char *value_source(struct pktgen_options *options, const char *text)
{
	options->has_source = true;
	return text_parse_mac(text, options->source) ? NULL : "give it as 02:00:00:00:00:01";
}

const char *value_destination(struct pktgen_options *options, const char *text)
{
	options->has_destination = true;
	return text_parse_mac(text, options->destination) ? NULL : "give it as 02:00:00:00:00:01";
}

const char *value_max_loss(struct pktgen_options *options, const char *text)
{
	char *end;

	options->max_loss = strtod(text, &end);
	if (end != text && strcmp(end, *end == '%' ? "%" : "") == 0 && options->max_loss >= 0
	    && options->max_loss <= 100)
		return NULL;
	return "give a percentage, for example 0.1";
}

static bool add_cpus(void *context, uint32_t first, uint32_t last)
{
	struct pktgen_options *options = context;

	for (uint32_t cpu = first; cpu <= last; cpu++) {
		if (options->cpu_count == PKTGEN_CPUS_MAX)
			return false;
		options->cpus[options->cpu_count++] = (int)cpu;
	}
	return true;
}

const char *value_cpus(struct pktgen_options *options, const char *text)
{
	options->cpu_count = 0;
	if (text_parse_ranges(text, 0, CPU_SETSIZE - 1, add_cpus, options))
		return NULL;
	return "give CPUs as 2-3,5";
}

const char *value_rings(struct pktgen_options *options, const char *text)
{
	static const char *const names[] = {"any", "split", "packed"};

	for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		options->rings = i;
		return NULL;
	}
	return "give split, packed or any";
}

/* The next name of a list, upper case; false: the list has ended, or the name is too long. */
static bool next_name(const char **list, char name[32])
{
	size_t size = strcspn(*list, ",");

	if (size == 0 || size >= 32)
		return false;
	for (size_t i = 0; i < size; i++)
		name[i] = (char)toupper((unsigned char)(*list)[i]);
	name[size] = '\0';
	*list += size + ((*list)[size] == ',');
	return true;
}

static bool add_feature(struct vl_features *set, const char *name)
{
	for (unsigned bit = 0; bit < VL_FEATURE_COUNT; bit++) {
		const char *known = vl_feature_name(bit);

		if (known == NULL || strcmp(known, name) != 0)
			continue;
		vl_features_add(set, bit);
		return true;
	}
	return false;
}

static const char *parse_features(struct vl_features *set, const char *text)
{
	char name[32];

	do {
		if (!next_name(&text, name) || !add_feature(set, name))
			return "give features by the standard's names, for example "
			       "event_idx,in_order";
	} while (*text != '\0');
	return NULL;
}

const char *value_want(struct pktgen_options *options, const char *text)
{
	return parse_features(&options->wanted, text);
}

const char *value_withhold(struct pktgen_options *options, const char *text)
{
	return parse_features(&options->withheld, text);
}

/* Offloads in both directions: what is sent may come back. */
const char *value_offload(struct pktgen_options *options, const char *text)
{
	static const struct {
		const char *name;
		int bits[3];
	} offloads[] = {
		{"CSUM", {VL_F_CSUM, VL_F_GUEST_CSUM, -1}},
		{"TSO4", {VL_F_HOST_TSO4, VL_F_GUEST_TSO4, -1}},
		{"TSO6", {VL_F_HOST_TSO6, VL_F_GUEST_TSO6, -1}},
		{"ECN", {VL_F_HOST_ECN, VL_F_GUEST_ECN, -1}},
		{"UFO", {VL_F_HOST_UFO, VL_F_GUEST_UFO, -1}},
		{"USO", {VL_F_HOST_USO, VL_F_GUEST_USO4, VL_F_GUEST_USO6}},
	};
	char name[32];

	do {
		bool known = false;

		if (!next_name(&text, name))
			return "give a list of csum, tso4, tso6, ecn, ufo and uso";
		for (size_t i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++) {
			if (strcmp(offloads[i].name, name) != 0)
				continue;
			known = true;
			/* All the others stand on checksums. */
			vl_features_add(&options->wanted, VL_F_CSUM);
			vl_features_add(&options->wanted, VL_F_GUEST_CSUM);
			for (unsigned j = 0; j < 3 && offloads[i].bits[j] >= 0; j++)
				vl_features_add(&options->wanted, (unsigned)offloads[i].bits[j]);
		}
		if (!known)
			return "give a list of csum, tso4, tso6, ecn, ufo and uso";
	} while (*text != '\0');
	options->partial_sums = true;
	return NULL;
}

const char *value_mergeable(struct pktgen_options *options, const char *)
{
	vl_features_add(&options->wanted, VL_F_MRG_RXBUF);
	return NULL;
}

const char *value_time(struct pktgen_options *options, const char *text)
{
	options->time_given = true;
	return units_parse_seconds(text, &options->time) ? NULL : "give seconds, for example 0.5";
}

const char *value_live(struct pktgen_options *options, const char *text)
{
	options->live_given = true;
	if (units_parse_seconds(text, &options->live) && options->live >= 0.01)
		return NULL;
	return "give seconds, for example 0.5";
}
