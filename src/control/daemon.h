/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtlaned from start to end: configuration, control socket, switch, signals. SIGTERM and SIGINT
 * end it; SIGHUP reads the configuration file again and applies what differs.
 */
#pragma once

enum {
	DAEMON_OK = 0,
	DAEMON_FAILED = 1,
	DAEMON_BAD_CONFIG = 2, /* or bad arguments */
};

struct daemon_options {
	const char *config; /* path; NULL: no ports at the start */
	const char *socket; /* path of the control socket */
	/* A socket to a daemon that is to be replaced (control/upgrade.h); -1: none, this is the
	 * first. */
	int take_over;
};

/* Run until told to end. Returns the process's exit status; complaints went to standard error. */
int daemon_run(const struct daemon_options *options);
/* Check the configuration file and say what is wrong with it; starts nothing. */
int daemon_check(const char *config);
