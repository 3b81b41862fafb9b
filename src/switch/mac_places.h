/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the entries of the MAC table lie: a hash table made so that a lookup costs one cache line,
 * however many entries there are.
 *
 * Idea: four entries are a bucket, a bucket is a line, and what a lookup wants to know (the key,
 * the port, when it was last seen) is in the line. An entry that finds its bucket full goes to the
 * next one that has a free place. Each bucket that it passed counts it (`passed`), so a lookup goes
 * on only from a bucket that somebody passed: an absent key costs a line, too, and nothing has to
 * be left behind where an entry was removed.
 *
 * Threads: one writer at a time (the table's lock). Readers take no lock. An entry never moves to
 * another place, so one that stays is always found. A place may become another entry's at any
 * moment: a reader that kept a position has to ask for the port together with the key.
 *
 * The hash is seeded, so that a peer cannot know which addresses share a bucket.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	MAC_BUCKET = 4,		     /* places */
	MAC_PORT_FIXED = 1 << 15,    /* in mac_place.port: it neither moves nor ages */
	MAC_PASSED_MAX = UINT16_MAX, /* so many or more: it is not counted down any more */
};

struct mac_place {
	_Atomic uint64_t key; /* and 1, so that memory full of zeros is free; 0: free */
	_Atomic uint32_t seen;
	_Atomic uint16_t port;	 /* with MAC_PORT_FIXED */
	_Atomic uint16_t passed; /* of the bucket, in its first place: entries that went on */
};

struct mac_places {
	struct mac_place *places;
	uint32_t bucket_count;
	uint64_t seeds[2]; /* odd */
	void *mapping;
	uint64_t mapping_size; /* bytes */
};

/* For `entries` at once. -ENOMEM. */
int mac_places_open(struct mac_places *places, uint32_t entries);
void mac_places_close(struct mac_places *places);

static inline uint32_t mac_places_count(const struct mac_places *places)
{
	return places->bucket_count * MAC_BUCKET;
}

/* The bucket that a key belongs to. Multiplying carries what differs to the top, twice since the
 * lowest bits of a key differ as well as its highest. */
static inline uint32_t mac_bucket(const struct mac_places *places, uint64_t key)
{
	uint64_t hash = key * places->seeds[0];

	hash ^= hash >> 32;
	hash *= places->seeds[1];
	return (uint32_t)((hash >> 32) * places->bucket_count >> 32);
}

/* The position of a key, or -1; `bucket` is the key's. */
static inline int32_t
mac_places_find(const struct mac_places *places, uint64_t key, uint32_t bucket)
{
	for (uint32_t tried = 0; tried < places->bucket_count; tried++) {
		struct mac_place *first = &places->places[(uint64_t)bucket * MAC_BUCKET];
		unsigned found = 0;

		/* acquire: port and time are those of the key */
		for (unsigned i = 0; i < MAC_BUCKET; i++)
			found |= (unsigned
				 )(atomic_load_explicit(&first[i].key, memory_order_acquire)
				   == key + 1)
				 << i;
		if (found != 0)
			return (int32_t)(bucket * MAC_BUCKET) + __builtin_ctz(found);
		if (atomic_load_explicit(&first->passed, memory_order_relaxed) == 0)
			return -1;
		bucket = bucket + 1 < places->bucket_count ? bucket + 1 : 0;
	}
	return -1;
}

/* The port of the entry at a position, with MAC_PORT_FIXED; -1 if it is no longer this key's. */
static inline int mac_places_port(const struct mac_places *places, int32_t position, uint64_t key)
{
	struct mac_place *place = &places->places[position];
	uint16_t port = atomic_load_explicit(&place->port, memory_order_relaxed);

	/* acquire: if the port is that of the next owner, so is the key */
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&place->key, memory_order_relaxed) == key + 1 ? port : -1;
}

/* ---- the writer ---- */

/* A place for a key that has none. There has to be a free one. */
uint32_t mac_places_add(struct mac_places *places, uint64_t key, uint16_t port, uint32_t now);
void mac_places_remove(struct mac_places *places, uint32_t position);
