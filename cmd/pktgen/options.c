/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line of virtlane-pktgen. One table says what options there are, where their values go
 * and what the help says of them; what belongs together is checked when all have been read.
 */
#include "pktgen/options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/text.h"
#include "pktgen/values.h"

enum pktgen_exit pktgen_fail(enum pktgen_exit code, const char *format, ...)
{
	va_list arguments;

	(void)fflush(stdout);
	(void)fputs("virtlane-pktgen: ", stderr);
	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fputc('\n', stderr);
	return code;
}

/* ---- the table ---- */

enum option_kind {
	KIND_HEADING,
	KIND_FLAG,
	KIND_NUMBER, /* uint32_t */
	KIND_SECONDS,
	KIND_TEXT,
	KIND_PARSED, /* by a function */
};

struct option_row {
	const char *name;
	const char *argument;
	const char *help;
	value_parser *parse;
	size_t offset;
	uint32_t min, max;
	enum option_kind kind;
	char letter;
};

#define HEADING(text)                                \
	{                                            \
		.name = (text), .kind = KIND_HEADING \
	}
#define AT(field) .offset = offsetof(struct pktgen_options, field)
#define FLAG(letter_, name_, field, help_)                                          \
	{                                                                           \
		.name = (name_), .letter = (letter_), .kind = KIND_FLAG, AT(field), \
		.help = (help_)                                                     \
	}
#define NUMBER(letter_, name_, field, min_, max_, help_)                                    \
	{                                                                                   \
		.name = (name_), .letter = (letter_), .argument = "N", .kind = KIND_NUMBER, \
		AT(field), .min = (min_), .max = (max_), .help = (help_)                    \
	}
#define SECONDS(name_, field, help_)                                                               \
	{                                                                                          \
		.name = (name_), .argument = "S", .kind = KIND_SECONDS, AT(field), .help = (help_) \
	}
#define TEXT(name_, argument_, field, help_)                                            \
	{                                                                               \
		.name = (name_), .argument = (argument_), .kind = KIND_TEXT, AT(field), \
		.help = (help_)                                                         \
	}
#define PARSED(letter_, name_, argument_, parse_, help_)                       \
	{                                                                      \
		.name = (name_), .letter = (letter_), .argument = (argument_), \
		.kind = KIND_PARSED, .parse = (parse_), .help = (help_)        \
	}

static const struct option_row rows[] = {
	HEADING("What to do"),
	PARSED('m', "mode", "MODE", value_mode, "send, receive, exchange or reflect [send]"),
	FLAG(0, "both-ways", both_ways, "with two ports: each sends to the other"),
	PARSED(0,
	       "reflect",
	       "HOW",
	       value_reflect,
	       "reflect: io changes nothing, swap exchanges MACs [io]"),
	NUMBER(0,
	       "in-flight",
	       in_flight,
	       0,
	       32768,
	       "reflect: first send N frames from each queue [0]"),
	PARSED('n', "frames", "N", value_frames, "end after N frames of each port, for example 10M"
	),
	PARSED('t',
	       "time",
	       "S",
	       value_time,
	       "end after S seconds; 0: never [10 for send and exchange]"),
	SECONDS("delay", delay, "seconds between connecting and the first frame [0]"),
	SECONDS("warmup", warmup, "seconds at the start that do not count [0]"),
	SECONDS("drain", drain, "wait at most S seconds for frames on their way at the end [1]"),
	SECONDS("reconnect", reconnect, "a back end that goes may come back within S seconds [0]"),

	HEADING("Frames"),
	PARSED('s',
	       "size",
	       "LIST",
	       value_size,
	       "bytes without FCS: 64, 64-1518:8, 64:7,570:4 or imix [64]"),
	PARSED('r', "rate", "RATE", value_rate, "frames a second and port: 10k, 1.5M, max [max]"),
	PARSED('b', "bits", "RATE", value_bits, "the same in bits of frames: 10G"),
	NUMBER('f', "flows", flows, 1, PKTGEN_FLOWS_MAX, "UDP flows of a port [1 a queue]"),
	NUMBER(0, "macs", macs, 1, PKTGEN_FLOWS_MAX, "MACs of a port, flow after flow in turn [1]"),
	FLAG('6', "ip6", ip6, "IPv6 in place of IPv4"),
	NUMBER(0, "vlan", vlan, 1, 4094, "send with an 802.1Q tag"),
	PARSED(0, "src-mac", "MAC", value_source, "of the first port [the device's]"),
	PARSED(0,
	       "dst-mac",
	       "MAC",
	       value_destination,
	       "of the first port's frames [the second port's]"),
	NUMBER(0, "tso", tso, 64, 65000, "TCP frames to be cut into segments of N bytes of payload"
	),

	HEADING("What to find out"),
	FLAG('l', "latency", latency, "stamp frames; percentiles of their way in ns"),
	FLAG(0, "verify", verify, "check each byte, loss, duplicates and order within flows"),
	PARSED(0,
	       "max-loss",
	       "PERCENT",
	       value_max_loss,
	       "fail if more is lost [0 with --verify, else 100]"),
	NUMBER(0, "seed", seed, 0, UINT32_MAX, "of what frames are filled with [1]"),

	HEADING("Threads"),
	NUMBER('q', "queues", queues, 1, PKTGEN_QUEUES_MAX, "queue pairs of each port [1]"),
	NUMBER(0,
	       "threads",
	       threads,
	       1,
	       PKTGEN_CPUS_MAX,
	       "threads for all pairs [one for the n-th pair of all ports]"),
	PARSED('c', "cpus", "LIST", value_cpus, "pin the threads to these: 2-3,5 [not pinned]"),
	NUMBER(0, "burst", burst, 1, VL_DRIVER_BURST_MAX, "frames a call [64]"),
	FLAG(0, "no-poll", no_poll, "sleep when there is nothing to do"),

	HEADING("The driver"),
	PARSED(0, "rings", "LAYOUT", value_rings, "split, packed or any [any]"),
	TEXT("ring",
	     "NAME",
	     ring,
	     "variant of the layout: split, split-in-order, packed, packed-in-order"),
	TEXT("isa", "NAME", isa, "v2, v3, v4 or portable [the best there is]"),
	NUMBER(0, "queue-size", queue_size, 8, 32768, "descriptors, a power of two [1024]"),
	NUMBER(0, "buffer-size", buffer_size, 128, 131072, "bytes [2048, or the largest frame]"),
	PARSED(0, "mergeable", NULL, value_mergeable, "let a received frame take several buffers"),
	PARSED(0,
	       "offload",
	       "LIST",
	       value_offload,
	       "csum, tso4, tso6, ecn, ufo, uso; sends partial sums"),
	PARSED(0, "want", "LIST", value_want, "take more features, by name: ctrl_rx,guest_announce"
	),
	PARSED(0, "withhold", "LIST", value_withhold, "do without features: event_idx,in_order"),
	SECONDS("timeout", timeout, "of connecting and of each answer [5]"),
	FLAG(0, "no-announce", no_announce, "two ports: do not make their addresses known first"),

	HEADING("Output"),
	FLAG('j', "json", json, "one JSON object at the end"),
	PARSED(0,
	       "live",
	       "S",
	       value_live,
	       "a line each S seconds on standard error [1 on a terminal]"),
	FLAG(0, "quiet", quiet, "no such line"),
};

enum {
	ROW_COUNT = sizeof(rows) / sizeof(rows[0]),
	HELP_COLUMN = 26,
};

static void print_help(void)
{
	(void
	)printf("Usage: virtlane-pktgen [OPTION...] [listen:]PORT [[listen:]PORT]\n"
		"Send and receive frames through vhost-user sockets, and say how that went.\n"
		"\n"
		"PORT is the path of a socket; listen: waits there for the back end instead.\n"
		"One port: what it sends may come back to it (--mode exchange). Two ports: the\n"
		"first sends to the second. End it at any time with ^C.\n");
	for (unsigned i = 0; i < ROW_COUNT; i++) {
		const struct option_row *row = &rows[i];
		char name[64];

		if (row->kind == KIND_HEADING) {
			(void)printf("\n%s:\n", row->name);
			continue;
		}
		(void)snprintf(
			name,
			sizeof(name),
			"--%s%s%s",
			row->name,
			row->argument != NULL ? " " : "",
			row->argument != NULL ? row->argument : ""
		);
		if (row->letter != 0)
			(void)printf("  -%c, ", row->letter);
		else
			(void)printf("      ");
		(void)printf("%-*s%s\n", HELP_COLUMN - 6, name, row->help);
	}
	(void)printf("  -V, %-*sprint the version\n", HELP_COLUMN - 6, "--version");
	(void)printf("  -h, %-*sprint this\n", HELP_COLUMN - 6, "--help");
	(void)printf("\nExit: 0 done, 1 failed (frames lost or wrong beyond what is allowed, or "
		     "the back\n"
		     "end gave up), 2 wrong usage, 3 a port could not be opened. See "
		     "virtlane-pktgen(1).\n");
}

static const char *take_number(const struct option_row *row, uint32_t *field, const char *text)
{
	static char expected[64];

	if (text_parse_number(text, row->min, row->max, field))
		return NULL;
	(void
	)snprintf(expected, sizeof(expected), "give a number from %u to %u", row->min, row->max);
	return expected;
}

/* NULL, or what should have been given. */
static const char *
take_value(struct pktgen_options *options, const struct option_row *row, const char *text)
{
	void *field = (char *)options + row->offset;

	switch (row->kind) {
	case KIND_FLAG:
		*(bool *)field = true;
		return NULL;
	case KIND_NUMBER:
		return take_number(row, field, text);
	case KIND_SECONDS:
		return units_parse_seconds(text, field) ? NULL : "give seconds, for example 0.5";
	case KIND_TEXT:
		*(const char **)field = text;
		return NULL;
	case KIND_PARSED:
		return row->parse(options, text);
	case KIND_HEADING:
		break;
	}
	return NULL;
}

enum {
	OPTION_FIRST = 256, /* what getopt_long() returns for rows[0] */
};

/* In the form of getopt(3); the row's number is what it returns. */
static void make_getopt(struct option long_options[ROW_COUNT + 3], char letters[2 * ROW_COUNT + 4])
{
	unsigned count = 0;
	char *letter = letters;

	for (unsigned i = 0; i < ROW_COUNT; i++) {
		if (rows[i].kind == KIND_HEADING)
			continue;
		long_options[count++] = (struct option){
			.name = rows[i].name,
			.has_arg = rows[i].argument != NULL,
			.val = OPTION_FIRST + (int)i,
		};
		if (rows[i].letter == 0)
			continue;
		*letter++ = rows[i].letter;
		if (rows[i].argument != NULL)
			*letter++ = ':';
	}
	long_options[count++] = (struct option){.name = "version", .val = 'V'};
	long_options[count++] = (struct option){.name = "help", .val = 'h'};
	long_options[count] = (struct option){};
	memcpy(letter, "Vh", sizeof("Vh"));
}

static const struct option_row *find_row(int option)
{
	if (option >= OPTION_FIRST)
		return &rows[option - OPTION_FIRST];
	for (unsigned i = 0; i < ROW_COUNT; i++) {
		if (rows[i].letter != 0 && rows[i].letter == option)
			return &rows[i];
	}
	return NULL;
}

/* ---- what belongs together ---- */

bool pktgen_port_sends(const struct pktgen_options *options, unsigned port)
{
	if (options->mode == MODE_RECEIVE)
		return false;
	return port == 0 || options->mode != MODE_SEND || options->both_ways;
}

bool pktgen_port_receives(const struct pktgen_options *options, unsigned port)
{
	if (options->mode != MODE_SEND)
		return true;
	return options->port_count == 2 && (port == 1 || options->both_ways);
}

int pktgen_port_opposite(const struct pktgen_options *options, unsigned port)
{
	int opposite = options->port_count == 2 ? 1 - (int)port : 0;

	return pktgen_port_receives(options, (unsigned)opposite) ? opposite : -1;
}

/* NULL, or what does not go together. */
static const char *check_together(const struct pktgen_options *options)
{
	bool probes = options->latency || options->verify;

	if (options->rate > 0 && options->bits > 0)
		return "--rate and --bits say the same; give one of them";
	if (options->both_ways && (options->port_count < 2 || options->mode == MODE_REFLECT))
		return "--both-ways needs two ports and --mode send or exchange";
	if (options->in_flight > 0 && options->mode != MODE_REFLECT)
		return "--in-flight is for --mode reflect";
	if (probes && options->mode == MODE_REFLECT)
		return "a reflector looks at no frame; give --latency and --verify to the one who "
		       "sends";
	if (probes && options->mode == MODE_SEND && options->port_count < 2)
		return "nothing is received; add a second port, or --mode exchange if frames come "
		       "back";
	if (options->queue_size & (options->queue_size - 1))
		return "--queue-size has to be a power of two";
	if (options->threads > options->queues * options->port_count)
		return "there are more threads than queue pairs; give fewer --threads";
	if (options->cpu_count > 0 && options->cpu_count < options->threads)
		return "there are more threads than CPUs in --cpus";
	if (options->flows < options->queues)
		return "--flows has to be at least the number of queues";
	if (options->flows < options->macs)
		return "--flows has to be at least --macs";
	return NULL;
}

static enum pktgen_exit take_ports(struct pktgen_options *options, int count, char **words)
{
	static const char prefix[] = "listen:";

	if (count < 1 || count > PKTGEN_PORTS_MAX)
		return pktgen_fail(
			PKTGEN_USAGE, "give one or two sockets; see `virtlane-pktgen --help`"
		);
	options->port_count = (unsigned)count;
	for (int i = 0; i < count; i++) {
		struct pktgen_port_name *port = &options->ports[i];

		port->listen = strncmp(words[i], prefix, sizeof(prefix) - 1) == 0;
		port->path = words[i] + (port->listen ? sizeof(prefix) - 1 : 0);
		if (*port->path == '\0')
			return pktgen_fail(PKTGEN_USAGE, "a socket's path is empty");
	}
	return PKTGEN_OK;
}

/* Defaults that depend on other options. */
static void complete(struct pktgen_options *options)
{
	if (options->queues == 0)
		options->queues = 1;
	if (options->threads == 0)
		options->threads = options->queues;
	if (options->flows == 0)
		options->flows = options->queues > options->macs ? options->queues : options->macs;
	if (options->max_loss < 0 && options->verify)
		options->max_loss = 0;
	if (!options->time_given && options->frames == 0 && pktgen_port_sends(options, 0)
	    && options->mode != MODE_REFLECT)
		options->time = 10;
	if (options->tso > 0) {
		(void)value_offload(options, options->ip6 ? "tso6" : "tso4");
		if (options->queue_size == 0)
			options->queue_size = 256; /* of 64 KiB each: enough */
	}
}

static const char *read_options(struct pktgen_options *out, int argc, char **argv, int *special)
{
	static char wrong[512];
	struct option long_options[ROW_COUNT + 3];
	char letters[2 * ROW_COUNT + 4];
	int option;

	make_getopt(long_options, letters);
	while ((option = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		const struct option_row *row = find_row(option);
		const char *expected;

		*special = option;
		if (row == NULL)
			return NULL;
		expected = take_value(out, row, optarg);
		if (expected == NULL)
			continue;
		(void
		)snprintf(wrong, sizeof(wrong), "--%s %.200s: %s", row->name, optarg, expected);
		return wrong;
	}
	*special = 0;
	return NULL;
}

bool pktgen_options_parse(
	int argc, char **argv, struct pktgen_options *out, enum pktgen_exit *status
)
{
	const char *wrong;
	int special;

	*out = (struct pktgen_options
	){.drain = 1, .live = 1, .timeout = 5, .max_loss = -1, .burst = 64, .macs = 1, .seed = 1};
	(void)value_size(out, "64");
	*status = PKTGEN_USAGE;
	wrong = read_options(out, argc, argv, &special);
	if (wrong == NULL && special == 'V') {
		(void)puts("virtlane-pktgen " VIRTLANE_VERSION);
		*status = PKTGEN_OK;
	} else if (wrong == NULL && special == 'h') {
		print_help();
		*status = PKTGEN_OK;
	} else if (wrong == NULL && special != 0) {
		(void)fputs("virtlane-pktgen: see `virtlane-pktgen --help`\n", stderr);
	} else if (wrong == NULL) {
		*status = take_ports(out, argc - optind, argv + optind);
		if (*status != PKTGEN_OK)
			return false;
		complete(out);
		wrong = check_together(out);
		if (out->bits > 0)
			out->rate = out->bits / 8 / out->sizes.mean;
		if (wrong == NULL)
			return true;
	}
	if (wrong != NULL)
		*status = pktgen_fail(PKTGEN_USAGE, "%s", wrong);
	return false;
}
