/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For which processor the data path runs. The same sources are compiled once for each level; the
 * best that the processor has is taken, or the one that VIRTLANE_ISA names.
 */
#pragma once

enum isa {
	ISA_PORTABLE, /* x86-64-v2 (SSE 4.2) there; elsewhere what the compiler takes for granted */
	ISA_V3,	      /* x86-64-v3: AVX2 */
	ISA_V4,	      /* x86-64-v4: AVX-512 */
	ISA_COUNT,
};

/*
 * Names in sources that are compiled for each level: ISA_NAME(burst) is burst_v4 there. The build
 * gives ISA_LEVEL, v2 being the portable one.
 */
#define ISA_PASTE_(name, level) name##_##level
#define ISA_PASTE(name, level) ISA_PASTE_(name, level)
#define ISA_NAME(name) ISA_PASTE(name, ISA_LEVEL)

/* The level of that name ("v2", "v3", "v4", "portable"); NULL: what VIRTLANE_ISA says, or the best.
 * -EINVAL: there is none of that name; -ENOTSUP: the processor, or this build, lacks it. */
int isa_choose(const char *name);
/* A static string. */
const char *isa_name(enum isa isa);
