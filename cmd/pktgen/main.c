/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtlane-pktgen: sends frames through vhost-user sockets, receives them, and says what became of
 * them.
 *
 *	options, values, units       what the user wants
 *	session, ports, lead         ports and threads, led from phase to phase
 *	worker, loops, rest          what the threads do
 *	layout, frames, stream       frames that are sent
 *	check, histogram             frames that come
 *	live, result, json, table    what is said of all this
 */
#include <stdio.h>
#include <stdlib.h>

#include "pktgen/options.h"
#include "pktgen/result.h"
#include "pktgen/session.h"

static enum pktgen_exit report(struct session *session)
{
	struct results *results = results_collect(session);

	if (results == NULL)
		return pktgen_fail(PKTGEN_FAILED, "there is no memory for the results");
	if (session->options->json)
		results_print_json(session, results);
	else
		results_print_tables(session, results);
	results_free(results);
	if (fflush(stdout) != 0)
		return pktgen_fail(PKTGEN_FAILED, "cannot write the results: %m");
	for (unsigned i = 0; i < session->failure_count; i++)
		(void)pktgen_fail(PKTGEN_FAILED, "%s", session->failures[i]);
	return session->failure_count > 0 ? PKTGEN_FAILED : PKTGEN_OK;
}

int main(int argc, char **argv)
{
	static struct session session;
	struct pktgen_options options;
	enum pktgen_exit status;

	if (pktgen_options_parse(argc, argv, &options, &status)) {
		status = session_open(&session, &options);
		if (status == PKTGEN_OK)
			status = session_run(&session);
		if (status == PKTGEN_OK)
			status = report(&session);
		session_close(&session);
	}
	free(options.sizes.schedule);
	return (int)status;
}
