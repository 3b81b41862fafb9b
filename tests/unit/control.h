/* SPDX-License-Identifier: BSD-3-Clause */
/* A driver's control queue for tests (VIRTIO 1.3, 5.1.6.5). */
#pragma once

#include "front.h"

enum {
	CONTROL_OK = 0,
	CONTROL_ERROR = 1,
	CONTROL_NO_ANSWER = -1,
};

/* Send a command on the front's last ring and have the device serve it; its status. */
int control_command(
	struct front *front, uint8_t class, uint8_t command, const void *data, uint32_t size
);
/* The same, with class, command and data as they are (less than two bytes even), and the readable
 * part in pieces of `cut` bytes (0: one piece). */
int control_raw(struct front *front, const void *bytes, uint32_t size, uint32_t cut);

/* One table of MAC_TABLE_SET; returns its size. */
uint32_t control_mac_table(uint8_t *out, const uint8_t (*macs)[6], uint32_t count);
