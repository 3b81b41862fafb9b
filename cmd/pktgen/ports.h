/* SPDX-License-Identifier: BSD-3-Clause */
/* The ports of virtlane-pktgen: opening their devices, their addresses. */
#pragma once

#include <stdint.h>

#include "virtlane/driver.h"

#include "pktgen/options.h"

struct port {
	const char *path;
	struct vl_driver *driver;
	struct vl_driver_status status; /* when it was opened */
	/* what its frames carry */
	uint8_t source[6], destination[6];
};

/* Open all ports, choose their addresses, and make these known. What goes wrong is said. */
enum pktgen_exit ports_open(struct port *ports, const struct pktgen_options *options);
/* Let a switch know where the port's addresses are. One that takes nothing is not waited for. */
void port_announce(const struct port *port, const struct pktgen_options *options);
void ports_close(struct port *ports, const struct pktgen_options *options);
