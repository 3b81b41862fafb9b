/* SPDX-License-Identifier: BSD-3-Clause */
/* What a switch is like when nothing is said. */
#include "switch/switch.h"

void switch_settings_default(struct switch_settings *settings)
{
	*settings = (struct switch_settings){
		.worker_count = 1,
		.rebalance = true,
		.dma_least = 16384,
		.mac_table_size = 65536,
		.mac_age = 300,
	};
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		settings->worker_cpus[i] = -1;
}
