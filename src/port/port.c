/* SPDX-License-Identifier: BSD-3-Clause */
/* What all kinds of port have in common, see port.h. */
#include "port/port.h"

#include <errno.h>
#include <stdlib.h>

static const char *const drop_names[DROP_COUNT] = {
#define DROP_REASON(id, name, text) [DROP_##id] = name,
#include "port/drop_reasons.h"
#undef DROP_REASON
};
static const char *const drop_texts[DROP_COUNT] = {
#define DROP_REASON(id, name, text) [DROP_##id] = text,
#include "port/drop_reasons.h"
#undef DROP_REASON
};

const char *drop_reason_name(enum drop_reason reason)
{
	return drop_names[reason];
}

const char *drop_reason_text(enum drop_reason reason)
{
	return drop_texts[reason];
}

const char *port_state_name(enum port_state state)
{
	static const char *const names[] = {
		[PORT_WAITING] = "waiting",
		[PORT_CONNECTED] = "connected",
		[PORT_UP] = "up",
		[PORT_ERROR] = "error",
	};

	return names[state];
}

void port_counters_add(struct port_counters *to, const struct port_counters *from)
{
	to->rx_frames += from->rx_frames;
	to->rx_bytes += from->rx_bytes;
	to->tx_frames += from->tx_frames;
	to->tx_bytes += from->tx_bytes;
	to->rx_replicated += from->rx_replicated;
	to->tx_cut += from->tx_cut;
	to->tx_merged += from->tx_merged;
	for (unsigned i = 0; i < DROP_COUNT; i++)
		to->drops[i] += from->drops[i];
}

int port_init(
	struct port *port,
	const struct port_ops *ops,
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks
)
{
	struct port_policy *policy = malloc(sizeof(*policy));

	if (policy == NULL)
		return -ENOMEM;
	*policy = settings->policy;
	port->ops = ops;
	port->hooks = hooks;
	port->settings = *settings;
	port->id = id;
	atomic_init(&port->policy, policy);
	for (unsigned i = 0; i < PORT_QUEUES_MAX; i++) {
		rte_spinlock_init(&port->tx_locks[i]);
		port->watch_fds[i] = -1;
	}
	return 0;
}

void port_fini(struct port *port)
{
	free(atomic_load_explicit(&port->policy, memory_order_relaxed));
}

void port_watch(struct port *port, unsigned queue, int fd)
{
	int old = port->watch_fds[queue];

	port->watch_fds[queue] = fd;
	port->hooks->watch(port->hooks->context, port, queue, old);
}

int port_create(
	const struct port_settings *settings,
	unsigned id,
	const struct port_hooks *hooks,
	struct port_legacy *legacy,
	struct port **out,
	struct error *error
)
{
	switch (settings->kind) {
	case PORT_VHOST:
		return port_vhost_create(settings, id, hooks, legacy, out, error);
	case PORT_ETHDEV:
		return port_ethdev_create(settings, id, hooks, legacy, out, error);
	case PORT_VIRTIO:
		return port_virtio_create(settings, id, hooks, legacy, out, error);
	case PORT_TAP:
		return port_tap_create(settings, id, hooks, legacy, out, error);
	}
	return error_set(error, -EINVAL, "unknown kind of port");
}

void port_destroy(struct port *port)
{
	port->ops->destroy(port);
}
