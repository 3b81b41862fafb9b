/* SPDX-License-Identifier: BSD-3-Clause */
/* Translations of a guest's IOMMU, see iotlb.h. */
#include "memory/iotlb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	IOMMU_PAGE = 4096,  /* bytes */
	ASKED_SLOTS = 1024, /* addresses that are not asked for again at once */
	PENDING_MAX = 1024, /* that the front end is asked for at a time */
	ASK_AGAIN_MS = 100, /* the front end does not answer to what it cannot translate */
};

/* Sorted by address, without overlaps; immutable once published. */
struct table {
	struct table *before; /* that it has replaced, until that is freed */
	unsigned count;
	struct iotlb_entry entries[];
};

struct miss {
	uint64_t iova;
	uint64_t access;
};

struct pending {
	struct miss miss;
	uint64_t until; /* ms of the monotonic clock; then it may be asked for again */
};

struct iotlb {
	_Atomic(struct table *) table;
	int attention;
	int misses[2]; /* pipe */
	unsigned evict;
	unsigned pending_count;
	struct pending pending[PENDING_MAX]; /* control's */
	struct {
		_Atomic uint64_t iova;
		_Atomic uint64_t until; /* ms of the monotonic clock */
	} asked[ASKED_SLOTS];
};

static struct table *table_new(unsigned count)
{
	struct table *table = malloc(sizeof(*table) + count * sizeof(table->entries[0]));

	if (table != NULL)
		*table = (struct table){.count = count};
	return table;
}

static struct table *current(const struct iotlb *iotlb)
{
	/* acquire: its content before the pointer to it */
	return atomic_load_explicit(&((struct iotlb *)iotlb)->table, memory_order_acquire);
}

struct iotlb *iotlb_create(int attention)
{
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));
	struct table *table = table_new(0);

	if (iotlb == NULL || table == NULL || pipe2(iotlb->misses, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(table);
		free(iotlb);
		return NULL;
	}
	iotlb->attention = attention;
	atomic_init(&iotlb->table, table);
	return iotlb;
}

void iotlb_destroy(struct iotlb *iotlb)
{
	if (iotlb == NULL)
		return;
	iotlb_settle(iotlb);
	free(current(iotlb));
	close(iotlb->misses[0]);
	close(iotlb->misses[1]);
	free(iotlb);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- control ---- */

static uint64_t last_of(uint64_t iova, uint64_t size)
{
	return size - 1 > UINT64_MAX - iova ? UINT64_MAX : iova + size - 1;
}

/* The first entry that ends at or behind an address. */
static unsigned lower(const struct table *table, uint64_t iova)
{
	unsigned low = 0, high = table->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct iotlb_entry *entry = &table->entries[middle];

		if (last_of(entry->iova, entry->size) < iova)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
look_up(const struct iotlb *iotlb,
	uint64_t iova,
	uint8_t access,
	uint64_t *user_address,
	uint64_t *run)
{
	const struct table *table = current(iotlb);
	unsigned i = lower(table, iova);
	const struct iotlb_entry *entry = &table->entries[i];

	if (i == table->count || entry->iova > iova || (entry->access & access) != access)
		return false;
	*user_address = entry->user_address + (iova - entry->iova);
	*run = entry->size - (iova - entry->iova);
	return true;
}

/* The entries from `first` on, *count of them, that lie in a range. */
static unsigned find_range(const struct table *table, uint64_t iova, uint64_t size, unsigned *count)
{
	unsigned first = lower(table, iova), end = first;

	while (end < table->count && table->entries[end].iova <= last_of(iova, size))
		end++;
	*count = end - first;
	return first;
}

bool iotlb_has(const struct iotlb *iotlb, const struct iotlb_entry *entry)
{
	const struct table *table = current(iotlb);
	unsigned count, first = find_range(table, entry->iova, entry->size, &count);
	const struct iotlb_entry *found = &table->entries[first];

	return count == 1 && found->iova == entry->iova && found->size == entry->size
	       && found->user_address == entry->user_address && found->access == entry->access;
}

bool iotlb_overlaps(const struct iotlb *iotlb, uint64_t iova, uint64_t size)
{
	unsigned count;

	(void)find_range(current(iotlb), iova, size, &count);
	return count > 0;
}

/* Put an entry (NULL: none) in the place of `count` from `first` on. */
static int
replace(struct iotlb *iotlb, unsigned first, unsigned count, const struct iotlb_entry *entry)
{
	struct table *old = current(iotlb);
	unsigned more = entry != NULL, behind = old->count - first - count;
	struct table *table = table_new(first + more + behind);

	if (table == NULL)
		return -ENOMEM;
	memcpy(table->entries, old->entries, first * sizeof(old->entries[0]));
	if (entry != NULL)
		table->entries[first] = *entry;
	memcpy(&table->entries[first + more],
	       &old->entries[first + count],
	       behind * sizeof(old->entries[0]));
	table->before = old;
	/* release: the table's content before the pointer to it */
	atomic_store_explicit(&iotlb->table, table, memory_order_release);
	return 0;
}

/* What has been answered may be taken back, and asked for again, at once. */
static void forget_asked(struct iotlb *iotlb, uint64_t from, uint64_t size)
{
	for (unsigned i = 0; i < ASKED_SLOTS; i++) {
		uint64_t iova = atomic_load_explicit(&iotlb->asked[i].iova, memory_order_relaxed);

		if (iova - from < size)
			atomic_store_explicit(&iotlb->asked[i].until, 0, memory_order_relaxed);
	}
	for (unsigned i = 0; i < iotlb->pending_count;) {
		if (iotlb->pending[i].miss.iova - from < size)
			iotlb->pending[i] = iotlb->pending[--iotlb->pending_count];
		else
			i++;
	}
}

int iotlb_insert(struct iotlb *iotlb, const struct iotlb_entry *entry)
{
	const struct table *table = current(iotlb);
	unsigned count, first = find_range(table, entry->iova, entry->size, &count);

	if (table->count - count >= IOTLB_ENTRIES_MAX) {
		/* Any may go: who needs it asks for it again. */
		int error = replace(iotlb, iotlb->evict++ % table->count, 1, NULL);

		if (error < 0)
			return error;
		first = find_range(current(iotlb), entry->iova, entry->size, &count);
	}
	int error = replace(iotlb, first, count, entry);
	/* After it can be found: who has just missed it may have asked in between. */
	if (error == 0)
		forget_asked(iotlb, entry->iova, entry->size);
	return error;
}

int iotlb_remove(struct iotlb *iotlb, uint64_t iova, uint64_t size)
{
	unsigned count, first = find_range(current(iotlb), iova, size, &count);

	forget_asked(iotlb, iova, size);
	return count == 0 ? 0 : replace(iotlb, first, count, NULL);
}

void iotlb_settle(struct iotlb *iotlb)
{
	struct table *table = current(iotlb);
	struct table *old = table->before;

	table->before = NULL;
	while (old != NULL) {
		struct table *before = old->before;

		free(old);
		old = before;
	}
}

/* Whether the front end has been asked already, and may still answer; if not, it is now. */
static bool is_pending(struct iotlb *iotlb, const struct miss *miss)
{
	uint64_t now = now_ms();

	for (unsigned i = 0; i < iotlb->pending_count; i++) {
		struct pending *pending = &iotlb->pending[i];

		if (pending->miss.iova != miss->iova || pending->miss.access != miss->access)
			continue;
		if (pending->until > now)
			return true;
		pending->until = now + ASK_AGAIN_MS;
		return false;
	}
	if (iotlb->pending_count == PENDING_MAX)
		iotlb->pending_count = 0; /* nobody answers; what is asked twice does no harm */
	iotlb->pending[iotlb->pending_count++] = (struct pending){*miss, now + ASK_AGAIN_MS};
	return false;
}

bool iotlb_next_miss(struct iotlb *iotlb, uint64_t *iova, uint8_t *access)
{
	struct miss miss;
	uint64_t user_address, run;

	while (read(iotlb->misses[0], &miss, sizeof(miss)) == sizeof(miss)) {
		*iova = miss.iova;
		*access = (uint8_t)miss.access;
		if (!look_up(iotlb, *iova, *access, &user_address, &run)
		    && !is_pending(iotlb, &miss))
			return true;
	}
	return false;
}

/* ---- data ---- */

/* Two that want the same at once may both ask: that does no harm. */
static void ask(struct iotlb *iotlb, uint64_t iova, uint8_t access)
{
	/* All of a page is asked for as one: the answer would be the same, and come when the first
	 * has been used, and taken back, maybe. */
	iova -= iova % IOMMU_PAGE;
	const struct miss miss = {iova, access};
	const uint64_t one = 1;
	unsigned slot = (unsigned)(iova / IOMMU_PAGE % ASKED_SLOTS);
	uint64_t now = now_ms();

	if (atomic_load_explicit(&iotlb->asked[slot].iova, memory_order_relaxed) == iova
	    && atomic_load_explicit(&iotlb->asked[slot].until, memory_order_relaxed) > now)
		return;
	/* First this: it may be answered before we come to the next line. */
	atomic_store_explicit(&iotlb->asked[slot].iova, iova, memory_order_relaxed);
	atomic_store_explicit(&iotlb->asked[slot].until, now + ASK_AGAIN_MS, memory_order_release);
	if (write(iotlb->misses[1], &miss, sizeof(miss)) != sizeof(miss)) {
		atomic_store_explicit(&iotlb->asked[slot].until, 0, memory_order_relaxed);
		return;
	}
	(void)!write(iotlb->attention, &one, sizeof(one));
}

bool iotlb_find(
	struct iotlb *iotlb, uint64_t iova, uint8_t access, uint64_t *user_address, uint64_t *run
)
{
	if (look_up(iotlb, iova, access, user_address, run))
		return true;
	ask(iotlb, iova, access);
	*run = IOMMU_PAGE - iova % IOMMU_PAGE;
	return false;
}
