/* SPDX-License-Identifier: BSD-3-Clause */
/* See offloads.h. */
#include "net/offloads.h"

#include "virtlane/features.h"
#include "virtlane/frame.h"

static const struct {
	uint32_t offload;
	uint64_t taken, sent; /* by a driver */
} offload_features[] = {
#define FEATURE(name) (UINT64_C(1) << VL_F_##name)
	{VL_OFFLOAD_CSUM, FEATURE(GUEST_CSUM), FEATURE(CSUM)},
	{VL_OFFLOAD_TSO4, FEATURE(GUEST_TSO4), FEATURE(HOST_TSO4)},
	{VL_OFFLOAD_TSO6, FEATURE(GUEST_TSO6), FEATURE(HOST_TSO6)},
	{VL_OFFLOAD_ECN, FEATURE(GUEST_ECN), FEATURE(HOST_ECN)},
	{VL_OFFLOAD_UFO, FEATURE(GUEST_UFO), FEATURE(HOST_UFO)},
	/* The two bits go together (5.1.3.1); the header does not tell them apart. */
	{VL_OFFLOAD_USO, FEATURE(GUEST_USO4) | FEATURE(GUEST_USO6), FEATURE(HOST_USO)},
#undef FEATURE
};

enum {
	OFFLOAD_COUNT = sizeof(offload_features) / sizeof(offload_features[0]),
};

uint32_t offloads_of_features(uint64_t features, bool driver_takes)
{
	uint32_t offloads = 0;

	for (unsigned i = 0; i < OFFLOAD_COUNT; i++) {
		uint64_t wanted =
			driver_takes ? offload_features[i].taken : offload_features[i].sent;

		if ((features & wanted) == wanted)
			offloads |= offload_features[i].offload;
	}
	/* Segmentation needs partial checksums (5.1.3.1). */
	return offloads & VL_OFFLOAD_CSUM ? offloads : 0;
}

uint64_t offloads_to_features(uint32_t offloads)
{
	uint64_t features = 0;

	for (unsigned i = 0; i < OFFLOAD_COUNT; i++) {
		if (offloads & offload_features[i].offload)
			features |= offload_features[i].taken | offload_features[i].sent;
	}
	return features;
}
