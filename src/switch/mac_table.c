/* SPDX-License-Identifier: BSD-3-Clause */
/* The MAC table, see mac_table.h. */
#include "switch/mac_table.h"

#include <errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_spinlock.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "port/port.h"

enum {
	NONE = UINT32_MAX, /* a link that leads nowhere */
	WALK_CHUNK = 4096, /* entries looked at under one hold of the lock */
	RESCAN_EVICTIONS = 64,
};

struct entry {
	/* workers read */
	_Atomic uint32_t port;
	_Atomic uint32_t seen;
	/* the lock's */
	mac_key key;
	uint32_t newer, older; /* neighbours in the port's list */
	bool used;
	atomic_bool fixed; /* workers read it, too */
};

struct port_list {
	uint32_t oldest, newest;
	uint32_t count; /* of learned entries: fixed ones are in the list, but cannot be given up */
};

struct mac_table {
	struct rte_hash *hash;
	rte_spinlock_t lock;
	uint32_t size, count;
	uint32_t entry_count; /* elements of entries: every position the hash may give out */
	unsigned ports;
	struct port_list *lists;
	unsigned fullest;   /* port with the most entries, or that had them lately */
	unsigned evictions; /* since `fullest` was last looked for */
	struct entry *entries;
	/* Entries removed so far, and one: what workers have cached is older or not. */
	_Atomic uint64_t removals;
};

static uint32_t hash_key(const void *key, uint32_t, uint32_t initial)
{
	return rte_hash_crc_8byte(*(const uint64_t *)key, initial);
}

/* As memcmp(), without a call through libc for each key. */
static int compare_keys(const void *a, const void *b, size_t)
{
	return *(const uint64_t *)a != *(const uint64_t *)b;
}

struct mac_table *mac_table_create(uint32_t size, unsigned ports, struct rte_rcu_qsbr *qsbr)
{
	/* Removed entries keep their place until workers have moved on: room for those. */
	uint32_t room = size + size / 4 + 64;
	struct rte_hash_parameters parameters = {
		.name = "virtlane-mac",
		.entries = room,
		.key_len = sizeof(mac_key),
		.hash_func = hash_key,
		.extra_flag =
			RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF | RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};
	struct rte_hash_rcu_config rcu = {.v = qsbr, .mode = RTE_HASH_QSBR_MODE_DQ};
	struct mac_table *table = calloc(1, sizeof(*table));

	if (table == NULL)
		return NULL;
	rte_spinlock_init(&table->lock);
	atomic_init(&table->removals, 1);
	table->size = size;
	table->ports = ports;
	table->entry_count = room + 1;
	table->entries = calloc(table->entry_count, sizeof(table->entries[0]));
	table->lists = calloc(ports, sizeof(table->lists[0]));
	table->hash = rte_hash_create(&parameters);
	if (table->entries == NULL || table->lists == NULL || table->hash == NULL
	    || rte_hash_rcu_qsbr_add(table->hash, &rcu) != 0) {
		mac_table_destroy(table);
		return NULL;
	}
	rte_hash_set_cmp_func(table->hash, compare_keys);
	for (unsigned i = 0; i < ports; i++)
		table->lists[i] = (struct port_list){.oldest = NONE, .newest = NONE};
	return table;
}

void mac_table_destroy(struct mac_table *table)
{
	if (table == NULL)
		return;
	rte_hash_free(table->hash);
	free(table->lists);
	free(table->entries);
	free(table);
}

/* ---- lists; under the lock ---- */

static void list_append(struct mac_table *table, uint32_t position, unsigned port)
{
	struct port_list *list = &table->lists[port];
	struct entry *entry = &table->entries[position];

	entry->newer = NONE;
	entry->older = list->newest;
	if (list->newest != NONE)
		table->entries[list->newest].newer = position;
	else
		list->oldest = position;
	list->newest = position;
	list->count++;
	if (list->count > table->lists[table->fullest].count)
		table->fullest = port;
	atomic_store_explicit(&entry->port, port, memory_order_relaxed);
}

static void list_remove(struct mac_table *table, uint32_t position)
{
	struct entry *entry = &table->entries[position];
	struct port_list *list =
		&table->lists[atomic_load_explicit(&entry->port, memory_order_relaxed)];

	if (entry->newer != NONE)
		table->entries[entry->newer].older = entry->older;
	else
		list->newest = entry->older;
	if (entry->older != NONE)
		table->entries[entry->older].newer = entry->newer;
	else
		list->oldest = entry->newer;
	if (!entry->fixed)
		list->count--;
}

static void entry_remove(struct mac_table *table, uint32_t position)
{
	struct entry *entry = &table->entries[position];

	list_remove(table, position);
	entry->used = false;
	entry->fixed = false;
	table->count--;
	(void)rte_hash_del_key(table->hash, &entry->key);
	/* release, after the removal: a worker that sees this count no longer finds the key, and
	 * one that found it sees another count at its next burst. Only after that, at a quiescent
	 * state, may the position be somebody else's. */
	atomic_fetch_add_explicit(&table->removals, 1, memory_order_release);
}

/* Make room: the port with the most entries loses its oldest learned one. */
static bool evict(struct mac_table *table)
{
	/* Its count falls with what is evicted and flushed: look again now and then. */
	if (table->evictions++ % RESCAN_EVICTIONS == 0 || table->lists[table->fullest].count == 0) {
		for (unsigned i = 0; i < table->ports; i++) {
			if (table->lists[i].count > table->lists[table->fullest].count)
				table->fullest = i;
		}
	}
	for (uint32_t i = table->lists[table->fullest].oldest; i != NONE;
	     i = table->entries[i].newer) {
		if (!table->entries[i].fixed) {
			entry_remove(table, i);
			return true;
		}
	}
	return false;
}

static struct entry *entry_add(struct mac_table *table, mac_key key, unsigned port, uint32_t now)
{
	if (table->count >= table->size && !evict(table))
		return NULL;
	/* Until the hash has the key nobody can see the entry; afterwards it must be whole. The
	 * position is not known before, so a reader may for a moment find the entry of before: its
	 * old port. That is as if the frame had come a moment earlier. */
	int32_t position = rte_hash_add_key(table->hash, &key);
	if (position < 0)
		return NULL;
	struct entry *entry = &table->entries[position];
	entry->key = key;
	entry->used = true;
	entry->fixed = false;
	atomic_store_explicit(&entry->seen, now, memory_order_relaxed);
	list_append(table, (uint32_t)position, port);
	table->count++;
	return entry;
}

static void entry_move(struct mac_table *table, uint32_t position, unsigned port, uint32_t now)
{
	list_remove(table, position);
	list_append(table, position, port);
	atomic_store_explicit(&table->entries[position].seen, now, memory_order_relaxed);
}

/* ---- workers ---- */

static unsigned cache_slot(mac_key key)
{
	/* Fibonacci hashing: the top bits depend on all bits below. */
	return (unsigned)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (MAC_CACHE_SIZE - 1);
}

/* Look up what the cache did not have: keys[missing[i]]. */
static void lookup_missing(
	struct mac_table *table,
	struct mac_cache *cache,
	const mac_key *keys,
	const uint8_t *missing,
	unsigned count,
	int32_t *positions
)
{
	const void *pointers[MAC_BURST_MAX];
	int32_t found[MAC_BURST_MAX];

	for (unsigned i = 0; i < count; i++)
		pointers[i] = &keys[missing[i]];
	if (rte_hash_lookup_bulk(table->hash, pointers, count, found) < 0)
		count = 0;
	for (unsigned i = 0; i < count; i++) {
		mac_key key = keys[missing[i]];

		positions[missing[i]] = found[i] < 0 ? MAC_UNKNOWN : found[i];
		if (found[i] < 0)
			continue; /* it may be learned at any moment */
		cache->entries[cache_slot(key)].key = key;
		cache->entries[cache_slot(key)].position = found[i];
	}
}

void mac_table_lookup(
	struct mac_table *table,
	struct mac_cache *cache,
	const mac_key *keys,
	unsigned count,
	int32_t *positions
)
{
	uint64_t removals = atomic_load_explicit(&table->removals, memory_order_acquire);
	uint8_t missing[MAC_BURST_MAX];
	unsigned missing_count = 0;

	if (cache->removals != removals) {
		memset(cache->entries, 0xff, sizeof(cache->entries));
		cache->removals = removals;
	}
	for (unsigned i = 0; i < count; i++) {
		unsigned slot = cache_slot(keys[i]);

		positions[i] = cache->entries[slot].position;
		if (cache->entries[slot].key == keys[i])
			continue;
		positions[i] = MAC_UNKNOWN;
		missing[missing_count++] = (uint8_t)i;
	}
	if (missing_count > 0)
		lookup_missing(table, cache, keys, missing, missing_count, positions);
}

unsigned mac_table_port(const struct mac_table *table, int32_t position)
{
	return atomic_load_explicit(&table->entries[position].port, memory_order_relaxed);
}

static void learn_slowly(struct mac_table *table, mac_key key, unsigned port, uint32_t now)
{
	rte_spinlock_lock(&table->lock);
	/* Somebody may have been faster. */
	int32_t position = rte_hash_lookup(table->hash, &key);
	if (position < 0) {
		(void)entry_add(table, key, port, now);
	} else {
		struct entry *entry = &table->entries[position];

		if (!entry->fixed
		    && atomic_load_explicit(&entry->port, memory_order_relaxed) != port)
			entry_move(table, (uint32_t)position, port, now);
	}
	rte_spinlock_unlock(&table->lock);
}

void mac_table_learn(
	struct mac_table *table, mac_key key, int32_t position, unsigned port, uint32_t now
)
{
	if (position == MAC_UNKNOWN) {
		learn_slowly(table, key, port, now);
		return;
	}
	struct entry *entry = &table->entries[position];
	if (atomic_load_explicit(&entry->port, memory_order_relaxed) != port) {
		/* Somebody else's for good: not worth the lock, however often it is claimed. */
		if (!atomic_load_explicit(&entry->fixed, memory_order_relaxed))
			learn_slowly(table, key, port, now);
		return;
	}
	/* A store for each frame would make this line travel between workers. */
	if (atomic_load_explicit(&entry->seen, memory_order_relaxed) != now)
		atomic_store_explicit(&entry->seen, now, memory_order_relaxed);
}

/* ---- control ---- */

int mac_table_fix(struct mac_table *table, mac_key key, unsigned port, uint32_t now)
{
	int result = 0;

	rte_spinlock_lock(&table->lock);
	int32_t position = rte_hash_lookup(table->hash, &key);
	struct entry *entry =
		position < 0 ? entry_add(table, key, port, now) : &table->entries[position];
	if (entry == NULL) {
		result = -ENOSPC;
	} else if (atomic_load_explicit(&entry->port, memory_order_relaxed) != port) {
		if (entry->fixed)
			result = -EEXIST;
		else
			entry_move(table, (uint32_t)position, port, now);
	}
	if (result == 0 && !entry->fixed) {
		entry->fixed = true;
		table->lists[port].count--;
	}
	rte_spinlock_unlock(&table->lock);
	return result;
}

/* Remove every used entry that `matches`, holding the lock for a chunk at a time. */
static size_t remove_matching(
	struct mac_table *table,
	bool (*matches)(const struct entry *entry, const void *criteria),
	const void *criteria
)
{
	size_t removed = 0;

	for (uint32_t start = 0; start < table->entry_count; start += WALK_CHUNK) {
		uint32_t end = table->entry_count - start < WALK_CHUNK ? table->entry_count
								       : start + WALK_CHUNK;

		rte_spinlock_lock(&table->lock);
		for (uint32_t i = start; i < end; i++) {
			if (table->entries[i].used && matches(&table->entries[i], criteria)) {
				entry_remove(table, i);
				removed++;
			}
		}
		rte_spinlock_unlock(&table->lock);
	}
	return removed;
}

struct flush_criteria {
	unsigned port;
	int vlan;
	bool fixed;
};

static bool to_flush(const struct entry *entry, const void *context)
{
	const struct flush_criteria *criteria = context;
	unsigned port = atomic_load_explicit(&entry->port, memory_order_relaxed);

	return (criteria->port == PORT_NONE || criteria->port == port)
	       && (criteria->vlan < 0 || (uint64_t)criteria->vlan == entry->key >> 48)
	       && (criteria->fixed || !entry->fixed);
}

size_t mac_table_flush(struct mac_table *table, unsigned port, int vlan, bool fixed)
{
	struct flush_criteria criteria = {port, vlan, fixed};

	return remove_matching(table, to_flush, &criteria);
}

static bool is_old(const struct entry *entry, const void *context)
{
	uint32_t oldest = *(const uint32_t *)context;

	return !entry->fixed && atomic_load_explicit(&entry->seen, memory_order_relaxed) < oldest;
}

size_t mac_table_age(struct mac_table *table, uint32_t oldest)
{
	return remove_matching(table, is_old, &oldest);
}

void mac_table_walk(
	struct mac_table *table,
	void (*each)(void *context, const struct mac_entry_info *info),
	void *context
)
{
	for (uint32_t i = 0; i < table->entry_count; i++) {
		struct mac_entry_info info;

		rte_spinlock_lock(&table->lock);
		const struct entry *entry = &table->entries[i];
		bool used = entry->used;
		info = (struct mac_entry_info){
			.key = entry->key,
			.port = atomic_load_explicit(&entry->port, memory_order_relaxed),
			.seen = atomic_load_explicit(&entry->seen, memory_order_relaxed),
			.fixed = entry->fixed,
		};
		rte_spinlock_unlock(&table->lock);
		if (used)
			each(context, &info);
	}
}
