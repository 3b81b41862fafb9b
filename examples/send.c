/* SPDX-License-Identifier: BSD-3-Clause */
/* A complete sender: `send SOCKET` sends 1000 broadcast frames through a vhost-user socket. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <virtlane/driver.h>

int main(int argc, char **argv)
{
	struct vl_driver_config config = {.size = sizeof(config), .path = argv[argc - 1]};
	struct vl_driver_error why = {"usage: send SOCKET"};
	struct vl_driver_frame frames[20];
	struct vl_driver_status status;
	struct vl_driver *driver;
	unsigned sent = 0, back = 0;

	if (argc != 2 || vl_driver_open(&config, &driver, &why) < 0)
		return fprintf(stderr, "send: %s\n", why.text), 1;
	while (sent < 1000) {
		unsigned count = vl_driver_alloc(driver, 0, frames, sent > 980 ? 1000 - sent : 20);
		for (unsigned i = 0; i < count; i++) {
			memset(frames[i].data, 0xff, 6);			 /* to everybody */
			memcpy(frames[i].data + 6, "\x02\0\0\0\0\1\x88\xb5", 8); /* from, type */
			memset(frames[i].data + 14, 0, 46);
			frames[i].length = 60;
		}
		int taken = vl_driver_tx_burst(driver, 0, frames, count);
		if (taken < 0)
			return fprintf(stderr, "send: the device broke the rules\n"), 1;
		vl_driver_free(driver, 0, frames + taken, count - (unsigned)taken);
		sent += (unsigned)taken;
	}
	/* A buffer comes back when the device has taken its frame: wait for all, at most 1 s. */
	vl_driver_status(driver, &status);
	for (int ms = 0; ms < 1000 && back < status.tx_slots; ms++, usleep(1000))
		back += vl_driver_alloc(driver, 0, frames, 20);
	printf("%u frames sent%s\n", sent, back < status.tx_slots ? ", not all taken" : "");
	vl_driver_close(driver);
	return 0;
}
