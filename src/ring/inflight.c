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
static_assert(
	offsetof(struct inflight_packed, used_idx) + offsetof(struct ring_place, odd)
		< offsetof(struct inflight_packed, padding) + 7,
	"in the padding"
);

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

/* The driver may have made it available again since. */
static bool was_used(const struct ring_config *config, struct place place)
{
	uint16_t flags = flags_at(config, place.slot);

	return is_used(flags, place.wrap) || packed_is_available(flags, !place.wrap);
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

static struct place place_after(struct place place, uint32_t size, uint32_t count)
{
	packed_advance(&place.slot, &place.wrap, size, count);
	return place;
}

static bool same_place(struct place a, struct place b)
{
	return a.slot == b.slot && a.wrap == b.wrap;
}

/* The chain at a place: how many descriptors it has, and its id; 0: it never ends. */
static uint32_t chain_at(const struct ring_config *config, struct place place, uint16_t *id)
{
	const struct vring_packed_desc *desc = config->desc;

	for (uint32_t count = 1; count <= config->size; count++) {
		*id = __atomic_load_n(&desc[place.slot].id, __ATOMIC_RELAXED);
		if (!(flags_at(config, place.slot) & VRING_DESC_F_NEXT))
			return count;
		place = place_after(place, config->size, 1);
	}
	return 0;
}

static struct place place_before(struct place place, uint32_t size)
{
	if (place.slot > 0)
		return (struct place){(uint16_t)(place.slot - 1), place.wrap};
	return (struct place){(uint16_t)(size - 1), !place.wrap};
}

/* Behind the used chains that stand from `from` on, at most up to `end`. The driver's words are
 * gone from their first descriptors, so how many each one has is told by ids: what is left of a
 * chain ends with the id of that chain, and no other chain does while that is not reaped. */
static struct place
end_of_used(const struct ring_config *config, struct place from, struct place end)
{
	const struct vring_packed_desc *desc = config->desc;

	for (uint32_t n = 0; n < config->size && !same_place(from, end); n++) {
		uint16_t used_id, id;

		if (!is_used(flags_at(config, from.slot), from.wrap))
			break;
		used_id = __atomic_load_n(&desc[from.slot].id, __ATOMIC_RELAXED);
		from = place_after(from, config->size, 1);
		if (same_place(from, end) || is_used(flags_at(config, from.slot), from.wrap))
			continue;
		uint32_t rest = chain_at(config, from, &id);
		if (rest > 0 && rest < config->size && id == used_id)
			from = place_after(from, config->size, rest);
	}
	return from;
}

/*
 * Make used descriptors from `from` to `end` available again, which had one receive buffer each.
 * How large that is we know no more, but what was written to it fits, and so does a header
 * (5.1.6.3.1). From the last on: a half-done undoing looks like a burst of which less had been
 * written.
 */
static void undo_used(const struct ring_config *config, struct place from, struct place end)
{
	enum {
		HEADER_SIZE = 12,
	};
	struct vring_packed_desc *desc = config->desc;

	while (!same_place(from, end)) {
		end = place_before(end, config->size);
		if (__atomic_load_n(&desc[end.slot].len, __ATOMIC_RELAXED) < HEADER_SIZE)
			__atomic_store_n(&desc[end.slot].len, HEADER_SIZE, __ATOMIC_RELAXED);
		__atomic_store_n(
			&desc[end.slot].flags,
			(end.wrap ? PACKED_AVAIL : PACKED_USED) | VRING_DESC_F_WRITE,
			__ATOMIC_RELEASE
		);
	}
}

static ring_word word_of(struct place used, struct place old)
{
	return used.slot | (ring_word)old.slot << 16 | (ring_word)used.wrap << 32
	       | (ring_word)old.wrap << 40;
}

/*
 * A burst from `from` to `end` whose first descriptor was not written: the driver has seen nothing
 * of it. *end becomes where the ring goes on.
 */
static bool mend_burst(
	const struct ring_config *config,
	struct ring_place *place,
	struct place from,
	struct place *end
)
{
	struct vring_packed_desc *desc = config->desc;
	const uint32_t written =
		config->read_only ? 0 : __atomic_load_n(&place->written, __ATOMIC_RELAXED);
	const bool single =
		!(flags_at(config, from.slot) & (VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT));
	uint16_t id;
	uint32_t count = chain_at(config, from, &id);

	if (count == 0)
		return false;
	struct place next = place_after(from, config->size, count);
	struct place done = count == config->size ? next : end_of_used(config, next, *end);
	if (same_place(next, done)) {
		*end = from; /* as if it had not been taken */
		return true;
	}
	/* Of a frame in several buffers all are to be seen together. */
	if (config->mergeable && single && !place->odd) {
		undo_used(config, next, done);
		*end = from;
		return true;
	}
	/* What was written counts: what is not there yet is done again. */
	__atomic_store_n(&place->word, word_of(done, from), __ATOMIC_RELEASE);
	packed_store_used(
		&desc[from.slot], (struct ring_held){.id = id, .written = written}, from.wrap
	);
	*end = done;
	return true;
}

/* The two positions of a word; false: they are outside the ring. */
static bool
decode_word(const struct ring_config *config, ring_word word, struct place *used, struct place *old)
{
	*used = (struct place){(uint16_t)word, (word >> 32) & 1};
	*old = (struct place){(uint16_t)(word >> 16), (word >> 40) & 1};
	return used->slot < config->size && old->slot < config->size;
}

/* What place->word said, and was checked. */
static bool resume_between(
	struct ring_place *place, struct ring_config *config, struct place used, struct place old
)
{
	/* One that was used looks like this, too, at the beginning of each other lap. */
	if (is_new(config)) {
		if (!is_start(used) && !is_start(old))
			return false;
		used = old = (struct place){0, true};
	}
	if (!same_place(used, old) && !was_used(config, old)
	    && (!packed_is_available(flags_at(config, old.slot), old.wrap)
		|| !mend_burst(config, place, old, &used)))
		return false;
	config->position = (struct ring_position){used.slot, used.slot, used.wrap, used.wrap};
	return true;
}

bool inflight_resume_place(struct ring_place *place, struct ring_config *config)
{
	ring_word word = __atomic_load_n(&place->word, __ATOMIC_RELAXED);
	struct place used, old;

	return decode_word(config, word, &used, &old) && resume_between(place, config, used, old);
}

void inflight_begin_place(struct ring_place *place, const struct ring_config *config)
{
	const struct place at = {config->position.used_next, config->position.used_wrap};

	__atomic_store_n(&place->word, word_of(at, at), __ATOMIC_RELEASE);
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
	for (uint32_t i = 0; i < config->size; i++) {
		part->desc[i].inflight = 0;
		part->desc[i].next = (uint16_t)(i + 1);
	}
	part->features = 0;
	part->desc_num = (uint16_t)config->size;
	part->free_head = part->old_free_head = 0;
	inflight_begin_place(inflight_place(part), config);
	/* release: the rest before what says that it is valid */
	__atomic_store_n(&part->version, INFLIGHT_VERSION, __ATOMIC_RELEASE);
}

/*
 * Whether the front end's own place is better than what the region says: a driver that has read its
 * rings, and finished a burst of which only a part had been written, stands in the middle of it.
 */
static bool knows_better(const struct ring_config *config, struct place at, struct place end)
{
	struct place said = {config->position.used_next, config->position.used_wrap};

	if (!was_used(config, at))
		return false;
	/* Strictly inside; at its ends the descriptor at the beginning tells. */
	for (uint32_t n = 0; n < config->size; n++) {
		at = place_after(at, config->size, 1);
		if (same_place(at, end))
			return false;
		if (same_place(at, said))
			return packed_is_available(flags_at(config, said.slot), said.wrap);
	}
	return false;
}

static int packed_resume(struct inflight_packed *part, struct ring_config *config, const char **why)
{
	struct ring_place *place = inflight_place(part);
	ring_word word = __atomic_load_n(&place->word, __ATOMIC_RELAXED);
	struct place used, old;

	if (!decode_word(config, word, &used, &old)
	    || (word & (UINT64_C(0xfefe) << 32)) != 0) { /* wrap counters are 0 or 1 */
		*why = "a position in the in-flight region is outside the ring";
		return -EINVAL;
	}
	/* If it is not of this ring, as a driver may make one anew in the same place, it says
	 * nothing; the front end does. */
	bool resumed = (!config->old_position && knows_better(config, old, used))
		       || resume_between(place, config, used, old);
	struct place at = {config->position.used_next, config->position.used_wrap};
	if (resumed && !packed_takes_over(part, config, at)) {
		*why = "the in-flight region has chains that are not the next ones of the ring";
		return -EINVAL;
	}
	packed_set_up(part, config);
	return resumed;
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

static void
split_set_up(struct inflight_split *part, const struct ring_config *config, uint16_t used)
{
	for (uint32_t i = 0; i < config->size; i++)
		part->desc[i].inflight = 0;
	part->features = 0;
	part->desc_num = (uint16_t)config->size;
	part->last_batch_head = 0;
	part->used_idx = used;
	/* release: as above */
	__atomic_store_n(&part->version, INFLIGHT_VERSION, __ATOMIC_RELEASE);
}

static uint16_t split_used(const struct ring_config *config)
{
	const struct vring_used *used = config->device;

	return __atomic_load_n(&used->idx, __ATOMIC_RELAXED);
}

static int split_resume(struct inflight_split *part, struct ring_config *config, const char **why)
{
	uint16_t used = split_used(config);

	if (!split_takes_over(part, config, used)) {
		*why = "the in-flight region has chains that are not the next ones of the ring";
		return -EINVAL;
	}
	split_set_up(part, config, used);
	config->position.next = used;
	return 1;
}

/* ---- both ---- */

void inflight_begin(void *part, const struct ring_config *config)
{
	if (config->packed)
		packed_set_up(part, config);
	else
		split_set_up(part, config, split_used(config));
}

int inflight_resume(void *part, struct ring_config *config, const char **why)
{
	struct inflight_packed *packed = part;
	struct inflight_split *split = part;
	/* Both begin alike. */
	uint16_t version = __atomic_load_n(&split->version, __ATOMIC_ACQUIRE);

	if (version == 0) {
		inflight_begin(part, config);
		return 0;
	}
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
