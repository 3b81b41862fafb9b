/* SPDX-License-Identifier: BSD-3-Clause */
/* Parsers of the command line, see units.h. */
#include "pktgen/units.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum {
	SIZE_MIN = 60,	      /* IEEE 802.3: 64 with the FCS */
	SCHEDULE_MAX = 65536, /* elements */
	ITEMS_MAX = 64,	      /* of a list with weights */
	WEIGHT_MAX = 1000,
};

/* The mix that test equipment calls simple IMIX. */
#define IMIX "64:7,570:4,1518:1"

/* ---- numbers ---- */

/* A number without sign; strtod() alone takes more than people mean. */
static bool scan_real(const char **text, double *out)
{
	char *end;

	if (!isdigit((unsigned char)**text) && **text != '.')
		return false;
	*out = strtod(*text, &end);
	if (end == *text)
		return false;
	*text = end;
	return true;
}

bool units_parse_scaled(const char *text, double *out)
{
	static const struct {
		const char *name;
		double factor;
	} units[] = {{"", 1}, {"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}};

	if (!scan_real(&text, out) || *out <= 0 || *out > 1e12)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text, units[i].name) != 0)
			continue;
		*out *= units[i].factor;
		return true;
	}
	return false;
}

bool units_parse_seconds(const char *text, double *out)
{
	if (!scan_real(&text, out) || *out > 1e6)
		return false;
	if (strcmp(text, "ms") == 0) {
		*out /= 1000;
		return true;
	}
	return *text == '\0' || strcmp(text, "s") == 0;
}

static bool scan_number(const char **text, uint32_t max, uint32_t *out)
{
	uint64_t value = 0;

	if (!isdigit((unsigned char)**text))
		return false;
	for (; isdigit((unsigned char)**text); (*text)++) {
		value = value * 10 + (uint64_t)(**text - '0');
		if (value > max)
			return false;
	}
	*out = (uint32_t)value;
	return true;
}

/* ---- sizes ---- */

struct item {
	uint32_t first, last, step, weight;
	int64_t credit; /* while mixing */
};

static bool scan_item(const char **text, struct item *item)
{
	*item = (struct item){.step = 1, .weight = 1};
	if (!scan_number(text, FRAME_SIZE_MAX, &item->first))
		return false;
	item->last = item->first;
	if (**text == '-') {
		(*text)++;
		if (!scan_number(text, FRAME_SIZE_MAX, &item->last) || item->last < item->first)
			return false;
		if (**text != ':')
			return true;
		(*text)++;
		return scan_number(text, FRAME_SIZE_MAX, &item->step) && item->step > 0;
	}
	if (**text != ':')
		return true;
	(*text)++;
	return scan_number(text, WEIGHT_MAX, &item->weight) && item->weight > 0;
}

static bool append_size(struct frame_sizes *sizes, uint32_t size)
{
	if (sizes->count == SCHEDULE_MAX)
		return false;
	if (size < sizes->min)
		sizes->min = size;
	if (size > sizes->max)
		sizes->max = size;
	sizes->mean += size;
	sizes->schedule[sizes->count++] = size;
	return true;
}

static bool append_range(struct frame_sizes *sizes, const struct item *item)
{
	for (uint32_t size = item->first; size <= item->last; size += item->step) {
		if (!append_size(sizes, size))
			return false;
	}
	return true;
}

/* Each turn everybody gets its weight in credit, and the richest pays with all that was given: so
 * that the frames of a size are spread over the whole schedule. */
static bool append_mixed(struct frame_sizes *sizes, struct item *items, unsigned count)
{
	int64_t total = 0;

	for (unsigned i = 0; i < count; i++)
		total += items[i].weight;
	for (int64_t turn = 0; turn < total; turn++) {
		struct item *richest = items;

		for (unsigned i = 0; i < count; i++) {
			items[i].credit += items[i].weight;
			if (items[i].credit > richest->credit)
				richest = &items[i];
		}
		richest->credit -= total;
		if (!append_size(sizes, richest->first))
			return false;
	}
	return true;
}

static const char *fill_schedule(struct frame_sizes *sizes, struct item *items, unsigned count)
{
	static const char too_long[] = "it has too many sizes; use a larger step";
	bool weighted = false;

	for (unsigned i = 0; i < count; i++) {
		if (items[i].first < SIZE_MIN)
			return "a frame has at least 60 bytes";
		weighted |= items[i].weight > 1;
	}
	for (unsigned i = 0; weighted && i < count; i++) {
		if (items[i].last != items[i].first)
			return "ranges and weights do not go together";
	}
	if (weighted)
		return append_mixed(sizes, items, count) ? NULL : too_long;
	for (unsigned i = 0; i < count; i++) {
		if (!append_range(sizes, &items[i]))
			return too_long;
	}
	return NULL;
}

const char *units_parse_sizes(const char *text, struct frame_sizes *out)
{
	struct item items[ITEMS_MAX];
	unsigned count = 0;
	const char *wrong;

	if (strcmp(text, "imix") == 0)
		text = IMIX;
	for (;; text++) {
		if (count == ITEMS_MAX)
			return "it has too many elements";
		if (!scan_item(&text, &items[count++]) || (*text != ',' && *text != '\0'))
			return "give bytes (up to 65553) as 64, 64:7, 64-1518:8 or imix, several "
			       "with commas";
		if (*text == '\0')
			break;
	}
	*out = (struct frame_sizes){.min = UINT32_MAX};
	out->schedule = calloc(SCHEDULE_MAX, sizeof(*out->schedule));
	if (out->schedule == NULL)
		return "there is no memory for it";
	wrong = fill_schedule(out, items, count);
	if (wrong != NULL) {
		free(out->schedule);
		out->schedule = NULL;
		return wrong;
	}
	out->mean /= out->count;
	return NULL;
}
