/* SPDX-License-Identifier: BSD-3-Clause */
/* A complete sender: `send SOCKET` sends 1000 broadcast frames through a vhost-user socket. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <virtlane/driver.h>

int main(int argc, char **argv)
{
	struct vl_driver_config config = {.size = sizeof(config), .path = argv[argc - 1]};
	struct vl_driver_error why;
	struct vl_driver_frame frames[32];
	struct vl_driver_stats stats = {};
	struct vl_driver *driver;
	int taken = 0;

	if (argc != 2 || vl_driver_open(&config, &driver, &why) < 0) {
		fprintf(stderr, "send: %s\n", argc == 2 ? why.text : "usage: send SOCKET");
		return 1;
	}
	for (unsigned sent = 0; sent < 1000 && taken >= 0; sent += (unsigned)taken) {
		unsigned room = 1000 - sent < 32 ? 1000 - sent : 32;
		unsigned count = vl_driver_alloc(driver, 0, frames, room);

		for (unsigned i = 0; i < count; i++) {
			memset(frames[i].data, 0, 60);
			memset(frames[i].data, 0xff, 6);			 /* to everybody */
			memcpy(frames[i].data + 6, "\x02\0\0\0\0\1\x88\xb5", 8); /* from, type */
			frames[i].length = 60;
		}
		taken = vl_driver_tx_burst(driver, 0, frames, count);
		vl_driver_free(driver, 0, frames + taken, taken < 0 ? 0 : count - (unsigned)taken);
	}
	usleep(100000); /* frames that the device has not taken yet are lost when we leave */
	vl_driver_stats(driver, 0, &stats);
	printf("%llu frames sent\n", (unsigned long long)stats.tx_frames);
	vl_driver_close(driver);
	return taken < 0;
}
