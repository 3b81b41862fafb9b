/* SPDX-License-Identifier: BSD-3-Clause */
/* Places of the MAC table, see mac_places.h. */
#include "switch/mac_places.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/random.h>

static_assert(sizeof(struct mac_place) * MAC_BUCKET == 64, "a bucket is a cache line");

enum {
	HUGE_PAGE = 2 << 20,
};

/* Address space, which becomes memory as entries come. In huge pages where the kernel has them: a
 * lookup in a large table would else miss the TLB as well. */
static int map_places(struct mac_places *places)
{
	uint64_t size = (uint64_t)places->bucket_count * MAC_BUCKET * sizeof(struct mac_place);

	places->mapping_size = size + HUGE_PAGE;
	places->mapping =
		mmap(NULL,
		     places->mapping_size,
		     PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1,
		     0);
	if (places->mapping == MAP_FAILED) {
		places->mapping = NULL;
		return -ENOMEM;
	}
	places->places =
		(void *)(((uintptr_t)places->mapping + HUGE_PAGE - 1) & ~((uintptr_t)HUGE_PAGE - 1));
	if (size >= HUGE_PAGE)
		(void)madvise(places->places, size, MADV_HUGEPAGE);
	return 0;
}

int mac_places_open(struct mac_places *places, uint32_t entries)
{
	/* Two thirds full at most: then one entry in fourteen passes a bucket. */
	*places = (struct mac_places){
		.bucket_count = (uint32_t)(((uint64_t)entries * 3 / 2 + MAC_BUCKET) / MAC_BUCKET),
	};
	/* Before the system has collected any chance, which a switch that starts at boot must not
	 * wait for, the address of the stack has some. */
	if (getrandom(places->seeds, sizeof(places->seeds), GRND_NONBLOCK)
	    != sizeof(places->seeds)) {
		places->seeds[0] = (uintptr_t)&entries * UINT64_C(0x9e3779b97f4a7c15);
		places->seeds[1] = UINT64_C(0xbf58476d1ce4e5b9);
	}
	places->seeds[0] |= 1;
	places->seeds[1] |= 1;
	return map_places(places);
}

void mac_places_close(struct mac_places *places)
{
	if (places->mapping != NULL)
		munmap(places->mapping, places->mapping_size);
	places->mapping = NULL;
}

static uint32_t next_bucket(const struct mac_places *places, uint32_t bucket)
{
	return bucket + 1 < places->bucket_count ? bucket + 1 : 0;
}

static void count_passed(struct mac_place *first, int change)
{
	uint16_t passed = atomic_load_explicit(&first->passed, memory_order_relaxed);

	if (passed != MAC_PASSED_MAX)
		atomic_store_explicit(
			&first->passed, (uint16_t)(passed + change), memory_order_relaxed
		);
}

uint32_t mac_places_add(struct mac_places *places, uint64_t key, uint16_t port, uint32_t now)
{
	for (uint32_t bucket = mac_bucket(places, key);; bucket = next_bucket(places, bucket)) {
		uint32_t position = bucket * MAC_BUCKET;
		struct mac_place *first = &places->places[position];

		for (unsigned i = 0; i < MAC_BUCKET; i++) {
			if (atomic_load_explicit(&first[i].key, memory_order_relaxed) != 0)
				continue;
			atomic_store_explicit(&first[i].port, port, memory_order_relaxed);
			atomic_store_explicit(&first[i].seen, now, memory_order_relaxed);
			/* release: what belongs to the key before it */
			atomic_store_explicit(&first[i].key, key + 1, memory_order_release);
			return position + i;
		}
		count_passed(first, 1);
	}
}

void mac_places_remove(struct mac_places *places, uint32_t position)
{
	struct mac_place *place = &places->places[position];
	uint64_t key = atomic_load_explicit(&place->key, memory_order_relaxed) - 1;

	atomic_store_explicit(&place->key, 0, memory_order_relaxed);
	/* release: who sees what the next owner stores here sees that the key is gone */
	atomic_thread_fence(memory_order_release);
	for (uint32_t bucket = mac_bucket(places, key); bucket != position / MAC_BUCKET;
	     bucket = next_bucket(places, bucket))
		count_passed(&places->places[bucket * MAC_BUCKET], -1);
}
