/* SPDX-License-Identifier: BSD-3-Clause */
/* What a port is like when nothing is said. */
#include "port/settings.h"

#include <assert.h>

#include "virtlane/frame.h"

const char *const port_offload_names[PORT_OFFLOAD_COUNT] = {
	"csum", "tso4", "tso6", "ecn", "ufo", "uso"};

static_assert(VL_OFFLOADS_ALL == (1 << PORT_OFFLOAD_COUNT) - 1, "each offload has its name");

void port_settings_default(struct port_settings *settings)
{
	*settings = (struct port_settings){
		.queues = 1,
		.policy =
			{
				.offloads = VL_OFFLOADS_ALL,
				.max_frame = PORT_FRAME_MAX,
				.trunk = true,
			},
		.owner = (uid_t)-1,
		.group = (gid_t)-1,
		.mode = 0660,
		.postcopy = true,
	};
	for (unsigned i = 0; i < VLAN_COUNT / 64; i++)
		settings->policy.trunk_vlans[i] = UINT64_MAX;
}
