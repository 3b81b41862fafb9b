/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver side of each layout of a virtqueue. Called by guest.c, which has counted the free
 * descriptors. */
#pragma once

#include "guest.h"

void split_start(struct guest_ring *ring);
void split_add(
	struct guest_ring *ring,
	const struct guest_piece *pieces,
	unsigned count,
	enum guest_form form,
	uint32_t cookie
);
bool split_reap(struct guest_ring *ring, struct guest_used *used);
bool split_must_kick(struct guest_ring *ring);
void split_calls_off(struct guest_ring *ring);
void split_calls_on(struct guest_ring *ring, uint32_t after);

void packed_start(struct guest_ring *ring);
void packed_add(
	struct guest_ring *ring,
	const struct guest_piece *pieces,
	unsigned count,
	enum guest_form form,
	uint32_t cookie
);
bool packed_reap(struct guest_ring *ring, struct guest_used *used);
bool packed_must_kick(struct guest_ring *ring);
void packed_calls_off(struct guest_ring *ring);
void packed_calls_on(struct guest_ring *ring, uint32_t after);
