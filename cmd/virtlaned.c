/* SPDX-License-Identifier: BSD-3-Clause */
/* virtlaned: the switch. Arguments here, everything else in src/control/daemon.c. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "control/daemon.h"
#include "control/control_socket.h"

static const char help_text[] =
	"Usage: virtlaned [OPTION...]\n"
	"The virtlane switch: carries frames between virtual machines, containers and the kernel.\n"
	"It stays in the foreground and logs to standard error.\n"
	"\n"
	"  -c, --config FILE      make the ports of FILE, see virtlane.conf(5)\n"
	"  -s, --socket PATH      control socket [" CONTROL_SOCKET_DEFAULT "]\n"
	"  -l, --log-level LEVEL  error, warning, info or debug [info]\n"
	"      --check            check the file of --config and start nothing\n"
	"  -V, --version          print the version\n"
	"  -h, --help             print this\n"
	"\n"
	"Exit: 0 ended as told, 1 could not start, 2 wrong usage or configuration.\n"
	"Ports are added to the running switch with virtlane(1).\n";

enum {
	OPTION_CHECK = 256,
	OPTION_TAKE_OVER, /* for upgrades alone, not for people: see control/upgrade.h */
};

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"socket", required_argument, NULL, 's'},
	{"log-level", required_argument, NULL, 'l'},
	{"take-over", required_argument, NULL, OPTION_TAKE_OVER},
	{"check", no_argument, NULL, OPTION_CHECK},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{},
};

static void set_log_level(const char *text)
{
	enum log_level level;

	if (!log_level_parse(text, &level)) {
		(void)fprintf(
			stderr,
			"virtlaned: there is no log level '%s'; use error, warning, info or "
			"debug\n",
			text
		);
		exit(DAEMON_BAD_CONFIG);
	}
	log_set_level(LOG_SUBJECT_COUNT, level);
}

int main(int argc, char **argv)
{
	struct daemon_options options = {.socket = CONTROL_SOCKET_DEFAULT, .take_over = -1};
	bool check = false;
	int option;

	while ((option = getopt_long(argc, argv, "c:s:l:Vh", long_options, NULL)) != -1) {
		switch (option) {
		case 'c':
			options.config = optarg;
			break;
		case 's':
			options.socket = optarg;
			break;
		case 'l':
			set_log_level(optarg);
			break;
		case OPTION_TAKE_OVER:
			options.take_over = atoi(optarg);
			break;
		case OPTION_CHECK:
			check = true;
			break;
		case 'V':
			(void)puts("virtlaned " VIRTLANE_VERSION);
			return DAEMON_OK;
		case 'h':
			(void)fputs(help_text, stdout);
			return DAEMON_OK;
		default:
			(void)fputs("virtlaned: see `virtlaned --help`\n", stderr);
			return DAEMON_BAD_CONFIG;
		}
	}
	if (optind < argc) {
		(void
		)fprintf(stderr, "virtlaned: unexpected argument '%s'; see --help\n", argv[optind]);
		return DAEMON_BAD_CONFIG;
	}
	if (check && options.config == NULL) {
		(void)fputs("virtlaned: --check needs a file; add --config FILE\n", stderr);
		return DAEMON_BAD_CONFIG;
	}
	return check ? daemon_check(options.config) : daemon_run(&options);
}
