/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hold SOCKET...: opens a driver on each vhost-user socket, prints "ready", and does nothing until
 * it is killed: connected ports without traffic.
 */
#include <stdio.h>
#include <unistd.h>

#include "virtlane/driver.h"

int main(int count, char **paths)
{
	for (int i = 1; i < count; i++) {
		const struct vl_driver_config config = {
			.size = sizeof(config),
			.path = paths[i],
			.queue_size = 16,
			.buffer_size = 256,
			.timeout_ms = 20000,
		};
		struct vl_driver *driver;
		struct vl_driver_error why;

		if (vl_driver_open(&config, &driver, &why) < 0) {
			(void)fprintf(stderr, "hold: %s\n", why.text);
			return 1;
		}
	}
	(void)puts("ready");
	(void)fflush(stdout);
	pause();
	return 0;
}
