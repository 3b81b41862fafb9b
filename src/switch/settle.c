/* SPDX-License-Identifier: BSD-3-Clause */
/* A switch that takes no frames yet, see switch.h: after a start it waits for peers to come back.
 */
#include <event2/event.h>

#include "base/log.h"
#include "switch/state.h"

enum {
	SETTLE_MS = 500, /* longer than QEMU usually pauses between tries */
	SETTLE_LOOK_MS = 2,
};

static unsigned expected_ports(const struct switch_state *sw)
{
	unsigned count = 0;

	for (unsigned i = 0; i < switch_port_count(sw); i++) {
		const struct port *port = switch_port_at(sw, i);

		count += port->ops->expects != NULL && port->ops->expects(port);
	}
	return count;
}

static void on_settle(evutil_socket_t, short, void *context)
{
	static const struct timeval pause = {.tv_usec = SETTLE_LOOK_MS * 1000};
	struct switch_state *sw = context;
	unsigned missing = expected_ports(sw);

	if (!sw->holding)
		return; /* it could not wait */
	if (missing > 0 && sw->settle_looks-- > 0) {
		event_add(sw->settle_timer, &pause);
		return;
	}
	if (missing > 0)
		log_info(LOG_SWITCH, "%u peers have not come back; frames flow", missing);
	switch_go_on(sw);
}

void switch_settle(struct switch_state *sw)
{
	unsigned missing = expected_ports(sw);

	sw->settle_timer = evtimer_new(sw->hooks.base, on_settle, sw);
	sw->settle_looks = SETTLE_MS / SETTLE_LOOK_MS;
	if (missing > 0)
		log_info(LOG_SWITCH, "waiting for %u peers to come back", missing);
	if (sw->settle_timer == NULL)
		switch_go_on(sw);
	else
		on_settle(-1, 0, sw);
}

void switch_hold(struct switch_state *sw)
{
	sw->holding = true;
}
