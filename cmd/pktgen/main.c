/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtlane-pktgen: sends frames through vhost-user sockets, receives them, and says what became of
 * them.
 *
 *	pktgen_options, _values, _units    what the user wants
 *	pktgen_session, _ports, _lead      ports and threads, led from phase to phase
 *	pktgen_worker, _loops, _rest       what the threads do
 *	pktgen_layout, _frames, _stream    frames that are sent
 *	pktgen_check, _histogram           frames that come
 *	pktgen_live, _result, _json, _table  what is said of all this
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
