/* SPDX-License-Identifier: BSD-3-Clause */
/* What a port is like when nothing is said. */
#include "port/settings.h"

void port_settings_default(struct port_settings *settings)
{
	*settings = (struct port_settings){
		.queues = 1,
		.policy = {.max_frame = PORT_FRAME_MAX, .trunk = true},
		.owner = (uid_t)-1,
		.group = (gid_t)-1,
		.mode = 0660,
	};
	for (unsigned i = 0; i < VLAN_COUNT / 64; i++)
		settings->policy.trunk_vlans[i] = UINT64_MAX;
}
