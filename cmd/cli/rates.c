/* SPDX-License-Identifier: BSD-3-Clause */
/* Rates of ports, see rates.h. */
#include "cli/rates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const json_t *find_port(const json_t *stats, const char *name)
{
	const json_t *port;
	size_t i;

	json_array_foreach(json_object_get(stats, "ports"), i, port)
	{
		if (strcmp(json_text(port, "name"), name) == 0)
			return port;
	}
	return NULL;
}

/* A counter that went back belongs to a new port of the old name: no rate yet. */
static double rate_of(const json_t *before, const json_t *now, const char *key, double seconds)
{
	json_int_t difference = json_number(now, key) - json_number(before, key);

	return difference > 0 && seconds > 0 ? (double)difference / seconds : 0;
}

static const char *main_drop_reason(const json_t *before, const json_t *now)
{
	json_t *drops = json_object_get(now, "drops");
	const json_t *drops_before = json_object_get(before, "drops");
	json_int_t most = 0;
	const char *reason = "";
	const json_t *count;
	const char *name;

	json_object_foreach(drops, name, count)
	{
		json_int_t difference = json_integer_value(count) - json_number(drops_before, name);

		if (difference > most) {
			most = difference;
			reason = name;
		}
	}
	return reason;
}

struct port_rates *cli_rates(const json_t *before, const json_t *now, size_t *count)
{
	json_t *ports = json_object_get(now, "ports");
	double seconds = json_real_value(json_object_get(now, "time"))
			 - json_real_value(json_object_get(before, "time"));
	struct port_rates *rates = calloc(json_array_size(ports) + 1, sizeof(*rates));
	const json_t *port;
	size_t i;

	if (rates == NULL)
		abort();
	*count = json_array_size(ports);
	json_array_foreach(ports, i, port)
	{
		const json_t *old = find_port(before, json_text(port, "name"));

		rates[i].name = json_text(port, "name");
		rates[i].drop_reason = "";
		if (old == NULL)
			continue;
		rates[i].rx_frames = rate_of(old, port, "rx_frames", seconds);
		rates[i].rx_bits = 8 * rate_of(old, port, "rx_bytes", seconds);
		rates[i].tx_frames = rate_of(old, port, "tx_frames", seconds);
		rates[i].tx_bits = 8 * rate_of(old, port, "tx_bytes", seconds);
		rates[i].drops = rate_of(old, port, "drops_total", seconds);
		rates[i].drop_reason = main_drop_reason(old, port);
	}
	return rates;
}

struct port_rates cli_rates_total(const struct port_rates *rates, size_t count)
{
	struct port_rates total = {.name = "total", .drop_reason = ""};

	for (size_t i = 0; i < count; i++) {
		total.rx_frames += rates[i].rx_frames;
		total.rx_bits += rates[i].rx_bits;
		total.tx_frames += rates[i].tx_frames;
		total.tx_bits += rates[i].tx_bits;
		total.drops += rates[i].drops;
	}
	return total;
}

const char *cli_format_rate(double rate, char text[RATE_TEXT_SIZE])
{
	static const char units[] = " kMGTP";
	unsigned unit = 0;

	if (rate < 999.5) {
		(void)snprintf(text, RATE_TEXT_SIZE, "%.0f", rate);
		return text;
	}
	for (; rate >= 999.5 && unit + 2 < sizeof(units); unit++)
		rate /= 1000;
	(void)snprintf(
		text,
		RATE_TEXT_SIZE,
		"%.*f%c",
		rate < 9.995   ? 2
		: rate < 99.95 ? 1
			       : 0,
		rate,
		units[unit]
	);
	return text;
}
