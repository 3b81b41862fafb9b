/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's data path: bursts out and in. Compiled once for each processor level (ring/isa.h);
 * in each, one body is specialised for every variant by constants.
 *
 * Nothing here is checked that comes from the application; all is that comes from the device.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "driver/driver.h"
#include "vhost/signal.h"

#define driver_ops_of ISA_NAME(driver_ops)

enum {
	/* Slots that are refilled together: less often is cheaper, later starves the device. */
	REFILL_MIN = 32,
	/* Sent frames that may wait before they are looked for. */
	TX_REAP_MIN = 32,
};

static void kick(struct driver_pair *pair, int fd)
{
	driver_count(&pair->counters.kicks, 1);
	vhost_signal(fd);
}

#include "driver/receive.h"
#include "driver/send.h"

/* ---- one table of functions a variant ---- */

#define VARIANT(name, ...)                                                                     \
	static const struct driver_variant name##_variant = {__VA_ARGS__};                     \
	static int name##_rx_burst(                                                            \
		struct driver_pair *pair, struct vl_driver_frame *frames, unsigned max         \
	)                                                                                      \
	{                                                                                      \
		return rx_burst(pair, frames, max, name##_variant);                            \
	}                                                                                      \
	static int name##_tx_burst(                                                            \
		struct driver_pair *pair, struct vl_driver_frame *frames, unsigned count       \
	)                                                                                      \
	{                                                                                      \
		return tx_burst(pair, frames, count, name##_variant);                          \
	}                                                                                      \
	static unsigned name##_rx_post(                                                        \
		struct driver_pair *pair, const struct vl_driver_frame *frames, unsigned count \
	)                                                                                      \
	{                                                                                      \
		return rx_post(pair, frames, count, name##_variant);                           \
	}                                                                                      \
	static void name##_refill(struct driver_pair *pair)                                    \
	{                                                                                      \
		refill(pair, name##_variant);                                                  \
	}                                                                                      \
	static void name##_tx_reap(struct driver_pair *pair)                                   \
	{                                                                                      \
		tx_reap(pair, name##_variant);                                                 \
	}                                                                                      \
	static const struct driver_ops name##_ops = {                                          \
		.rx_burst = name##_rx_burst,                                                   \
		.tx_burst = name##_tx_burst,                                                   \
		.rx_post = name##_rx_post,                                                     \
		.refill = name##_refill,                                                       \
		.tx_reap = name##_tx_reap,                                                     \
	};

/* packed, mergeable, foreign */
VARIANT(split, false, false, false)
VARIANT(split_mergeable, false, true, false)
VARIANT(packed, true, false, false)
VARIANT(packed_mergeable, true, true, false)
VARIANT(split_foreign, false, false, true)
VARIANT(split_mergeable_foreign, false, true, true)
VARIANT(packed_foreign, true, false, true)
VARIANT(packed_mergeable_foreign, true, true, true)

const struct driver_ops *driver_ops_of(const struct driver_variant *variant)
{
	static const struct {
		const struct driver_variant *variant;
		const struct driver_ops *ops;
	} all[] = {
		{&split_variant, &split_ops},
		{&split_mergeable_variant, &split_mergeable_ops},
		{&packed_variant, &packed_ops},
		{&packed_mergeable_variant, &packed_mergeable_ops},
		{&split_foreign_variant, &split_foreign_ops},
		{&split_mergeable_foreign_variant, &split_mergeable_foreign_ops},
		{&packed_foreign_variant, &packed_foreign_ops},
		{&packed_mergeable_foreign_variant, &packed_mergeable_foreign_ops},
	};

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct driver_variant *one = all[i].variant;

		if (one->packed == variant->packed && one->mergeable == variant->mergeable
		    && one->foreign == variant->foreign)
			return all[i].ops;
	}
	return NULL;
}
