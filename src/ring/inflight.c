/* SPDX-License-Identifier: BSD-3-Clause */
/* Going on where a device before us was, see inflight.h. */
#include "ring/inflight.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

static_assert(sizeof(struct inflight_split_chain) == 16, "DescStateSplit");
static_assert(offsetof(struct inflight_split, desc) == 16, "QueueRegionSplit");
static_assert(sizeof(struct inflight_packed_chain) == 32, "DescStatePacked");
static_assert(offsetof(struct inflight_packed, desc) == 32, "QueueRegionPacked");
static_assert(offsetof(struct inflight_packed, used_idx) % sizeof(ring_word) == 0, "one word");

uint64_t inflight_queue_bytes(bool packed, uint32_t size)
{
	uint64_t bytes = packed ? sizeof(struct inflight_packed)
					  + (uint64_t)size * sizeof(struct inflight_packed_chain)
				: sizeof(struct inflight_split)
					  + (uint64_t)size * sizeof(struct inflight_split_chain);

	return (bytes + INFLIGHT_ALIGNMENT - 1) / INFLIGHT_ALIGNMENT * INFLIGHT_ALIGNMENT;
}

/* ---- packed ---- */

/* A place in a packed ring. */
struct place {
	uint16_t slot;
	bool wrap;
};

static uint16_t flags_at(const struct ring_config *config, uint16_t slot)
{
	const struct vring_packed_desc *desc = config->desc;

	return __atomic_load_n(&desc[slot].flags, __ATOMIC_ACQUIRE);
}

static bool is_used(uint16_t flags, bool wrap)
{
	return !!(flags & PACKED_AVAIL) == wrap && !!(flags & PACKED_USED) == wrap;
}

static bool is_start(struct place place)
{
	return place.slot == 0 && place.wrap;
}

/* Whether no device has used anything in the ring. */
static bool is_new(const struct ring_config *config)
{
	for (uint32_t slot = 0; slot < config->size; slot++) {
		if (flags_at(config, (uint16_t)slot) & PACKED_USED)
			return false;
	}
	return true;
}

bool inflight_resume_place(const ring_word *from, struct ring_config *config)
{
	ring_word word = __atomic_load_n(from, __ATOMIC_RELAXED);
	struct place used = {(uint16_t)word, (word >> 32) & 1};
	struct place old = {(uint16_t)(word >> 16), (word >> 40) & 1};

	if (used.slot >= config->size || old.slot >= config->size)
		return false;
	/* One that was used looks like this, too, at the beginning of each other lap. */
	if (is_new(config)) {
		if (!is_start(used) && !is_start(old))
			return false;
		used = old = (struct place){0, true};
	}
	/* The first descriptor of the last burst is what shows it to the driver, who may have made
	 * it available again since. If it was not written, it is as if nothing had been taken. */
	uint16_t flags = flags_at(config, old.slot);
	bool same = used.slot == old.slot && used.wrap == old.wrap;
	bool written = is_used(flags, old.wrap) || packed_is_available(flags, !old.wrap);
	if (!same && !written) {
		if (!packed_is_available(flags, old.wrap))
			return false;
		used = old;
	}
	config->position = (struct ring_position){used.slot, used.slot, used.wrap, used.wrap};
	return true;
}

/* What one before us has marked: as many chains as come next in the ring, or it completed out of
 * order, which we could not go on with. */
static bool packed_takes_over(
	const struct inflight_packed *part, const struct ring_config *config, struct place place
)
{
	const struct vring_packed_desc *desc = config->desc;
	uint32_t marked = 0, descriptors = 0;

	for (uint32_t i = 0; i < config->size; i++)
		marked += __atomic_load_n(&part->desc[i].inflight, __ATOMIC_RELAXED) == 1;
	while (marked > 0 && descriptors++ < config->size) {
		uint16_t flags = __atomic_load_n(&desc[place.slot].flags, __ATOMIC_ACQUIRE);

		if (!packed_is_available(flags, place.wrap))
			return false;
		marked -= !(flags & VRING_DESC_F_NEXT);
		packed_advance(&place.slot, &place.wrap, config->size, 1);
	}
	return marked == 0;
}

static void packed_set_up(struct inflight_packed *part, const struct ring_config *config)
{
	const struct ring_position *at = &config->position;

	for (uint32_t i = 0; i < config->size; i++) {
		part->desc[i].inflight = 0;
		part->desc[i].next = (uint16_t)(i + 1);
	}
	part->features = 0;
	part->desc_num = (uint16_t)config->size;
	part->free_head = part->old_free_head = 0;
	part->used_idx = part->old_used_idx = at->used_next;
	part->used_wrap_counter = part->old_used_wrap_counter = at->used_wrap;
	/* release: the rest before what says that it is valid */
	__atomic_store_n(&part->version, INFLIGHT_VERSION, __ATOMIC_RELEASE);
}

static int packed_resume(struct inflight_packed *part, struct ring_config *config, const char **why)
{
	const ring_word *place = inflight_place(part);

	if (part->used_idx >= config->size || part->old_used_idx >= config->size
	    || part->used_wrap_counter > 1 || part->old_used_wrap_counter > 1) {
		*why = "a position in the in-flight region is outside the ring";
		return -EINVAL;
	}
	if (!inflight_resume_place(place, config)) {
		*why = "the in-flight region is not of this ring";
		return -EINVAL;
	}
	struct place at = {config->position.used_next, config->position.used_wrap};
	if (!packed_takes_over(part, config, at)) {
		*why = "the in-flight region has chains that are not the next ones of the ring";
		return -EINVAL;
	}
	packed_set_up(part, config);
	return 1;
}

/* ---- split ---- */

static bool
split_takes_over(const struct inflight_split *part, const struct ring_config *config, uint16_t used)
{
	const struct vring_avail *avail = config->driver;
	uint32_t marked = 0;

	/* The last one to be completed, if it was completed and could not be said so any more. */
	uint16_t last = part->used_idx == used ? UINT16_MAX : part->last_batch_head;
	for (uint32_t i = 0; i < config->size; i++)
		marked += i != last
			  && __atomic_load_n(&part->desc[i].inflight, __ATOMIC_RELAXED) == 1;
	for (uint32_t n = 0; n < marked; n++) {
		uint16_t head = __atomic_load_n(
			&avail->ring[(uint16_t)(used + n) & (config->size - 1)], __ATOMIC_RELAXED
		);

		if (head >= config->size || part->desc[head].inflight != 1)
			return false;
	}
	return true;
}

static int split_resume(struct inflight_split *part, struct ring_config *config, const char **why)
{
	const struct vring_used *ring = config->device;
	uint16_t used = __atomic_load_n(&ring->idx, __ATOMIC_RELAXED);

	if (!split_takes_over(part, config, used)) {
		*why = "the in-flight region has chains that are not the next ones of the ring";
		return -EINVAL;
	}
	for (uint32_t i = 0; i < config->size; i++)
		part->desc[i].inflight = 0;
	part->used_idx = used;
	config->position.next = used;
	return 1;
}

static void split_set_up(struct inflight_split *part, const struct ring_config *config)
{
	const struct vring_used *ring = config->device;

	for (uint32_t i = 0; i < config->size; i++)
		part->desc[i].inflight = 0;
	part->features = 0;
	part->desc_num = (uint16_t)config->size;
	part->last_batch_head = 0;
	part->used_idx = __atomic_load_n(&ring->idx, __ATOMIC_RELAXED);
	/* release: as above */
	__atomic_store_n(&part->version, INFLIGHT_VERSION, __ATOMIC_RELEASE);
}

/* ---- both ---- */

int inflight_begin(void *part, const struct ring_config *config)
{
	if (config->packed)
		packed_set_up(part, config);
	else
		split_set_up(part, config);
	return 0;
}

int inflight_resume(void *part, struct ring_config *config, const char **why)
{
	struct inflight_packed *packed = part;
	struct inflight_split *split = part;
	/* Both begin alike. */
	uint16_t version = __atomic_load_n(&split->version, __ATOMIC_ACQUIRE);

	if (version == 0)
		return inflight_begin(part, config);
	if (version != INFLIGHT_VERSION || split->features != 0) {
		*why = "the in-flight region is of a version that is not known here";
		return -EINVAL;
	}
	if (split->desc_num != config->size) {
		*why = "the in-flight region is for rings of another size";
		return -EINVAL;
	}
	return config->packed ? packed_resume(packed, config, why)
			      : split_resume(split, config, why);
}
