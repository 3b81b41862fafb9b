/* SPDX-License-Identifier: BSD-3-Clause */
/* The MAC table, see mac_table.h. */
#include "switch/mac_table.h"

#include <errno.h>
#include <rte_prefetch.h>
#include <rte_spinlock.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "port/port.h"
#include "switch/mac_places.h"

enum {
	NONE = UINT32_MAX, /* a link that leads nowhere */
	WALK_CHUNK = 4096, /* places looked at under one hold of the lock */
	RESCAN_EVICTIONS = 64,
};

static_assert(
	(unsigned)PORT_NONE < MAC_PORT_FIXED + 0u, "a port and whether it is fixed are one word"
);

/* Neighbours in the list of an entry's port, by position. */
struct links {
	uint32_t newer, older;
};

struct port_list {
	uint32_t oldest, newest;
	uint32_t count; /* of learned entries: fixed ones are in the list, but cannot be given up */
};

struct mac_table {
	struct mac_places places; /* workers read */
	/* the lock's */
	rte_spinlock_t lock;
	uint32_t size, count;
	unsigned ports;
	struct port_list *lists;
	unsigned fullest;    /* port with the most entries, or that had them lately */
	unsigned evictions;  /* since `fullest` was last looked for */
	struct links *links; /* of each place */
};

struct mac_table *mac_table_create(uint32_t size, unsigned ports)
{
	struct mac_table *table = calloc(1, sizeof(*table));

	if (table == NULL)
		return NULL;
	rte_spinlock_init(&table->lock);
	table->size = size;
	table->ports = ports;
	table->lists = calloc(ports, sizeof(table->lists[0]));
	if (table->lists == NULL || mac_places_open(&table->places, size) < 0) {
		mac_table_destroy(table);
		return NULL;
	}
	table->links = calloc(mac_places_count(&table->places), sizeof(table->links[0]));
	if (table->links == NULL) {
		mac_table_destroy(table);
		return NULL;
	}
	for (unsigned i = 0; i < ports; i++)
		table->lists[i] = (struct port_list){.oldest = NONE, .newest = NONE};
	return table;
}

void mac_table_destroy(struct mac_table *table)
{
	if (table == NULL)
		return;
	mac_places_close(&table->places);
	free(table->lists);
	free(table->links);
	free(table);
}

/* ---- entries; under the lock ---- */

static bool entry_used(const struct mac_place *place)
{
	return atomic_load_explicit(&((struct mac_place *)place)->key, memory_order_relaxed) != 0;
}

static mac_key entry_key(const struct mac_place *place)
{
	return atomic_load_explicit(&((struct mac_place *)place)->key, memory_order_relaxed) - 1;
}

static bool entry_fixed(const struct mac_place *place)
{
	uint16_t port =
		atomic_load_explicit(&((struct mac_place *)place)->port, memory_order_relaxed);

	return port & MAC_PORT_FIXED;
}

static unsigned entry_port(const struct mac_place *place)
{
	uint16_t port =
		atomic_load_explicit(&((struct mac_place *)place)->port, memory_order_relaxed);

	return port & ~MAC_PORT_FIXED;
}

static uint32_t entry_seen(const struct mac_place *place)
{
	return atomic_load_explicit(&((struct mac_place *)place)->seen, memory_order_relaxed);
}

static int32_t find(const struct mac_table *table, mac_key key)
{
	return mac_places_find(&table->places, key, mac_bucket(&table->places, key));
}

static void list_append(struct mac_table *table, uint32_t position, unsigned port)
{
	struct port_list *list = &table->lists[port];
	struct links *links = &table->links[position];

	links->newer = NONE;
	links->older = list->newest;
	if (list->newest != NONE)
		table->links[list->newest].newer = position;
	else
		list->oldest = position;
	list->newest = position;
	list->count++;
	if (list->count > table->lists[table->fullest].count)
		table->fullest = port;
}

static void list_remove(struct mac_table *table, uint32_t position)
{
	const struct mac_place *entry = &table->places.places[position];
	const struct links *links = &table->links[position];
	struct port_list *list = &table->lists[entry_port(entry)];

	if (links->newer != NONE)
		table->links[links->newer].older = links->older;
	else
		list->newest = links->older;
	if (links->older != NONE)
		table->links[links->older].newer = links->newer;
	else
		list->oldest = links->newer;
	if (!entry_fixed(entry))
		list->count--;
}

static void entry_remove(struct mac_table *table, uint32_t position)
{
	list_remove(table, position);
	mac_places_remove(&table->places, position);
	table->count--;
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
	     i = table->links[i].newer) {
		if (!entry_fixed(&table->places.places[i])) {
			entry_remove(table, i);
			return true;
		}
	}
	return false;
}

/* Its position, or MAC_UNKNOWN if there is no room. */
static int32_t entry_add(struct mac_table *table, mac_key key, unsigned port, uint32_t now)
{
	if (table->count >= table->size && !evict(table))
		return MAC_UNKNOWN;
	uint32_t position = mac_places_add(&table->places, key, (uint16_t)port, now);
	list_append(table, position, port);
	table->count++;
	return (int32_t)position;
}

static void entry_move(struct mac_table *table, uint32_t position, unsigned port, uint32_t now)
{
	struct mac_place *entry = &table->places.places[position];

	list_remove(table, position);
	atomic_store_explicit(&entry->port, (uint16_t)port, memory_order_relaxed);
	atomic_store_explicit(&entry->seen, now, memory_order_relaxed);
	list_append(table, position, port);
}

/* ---- workers ---- */

void mac_table_lookup(
	const struct mac_table *table, const mac_key *keys, unsigned count, int32_t *positions
)
{
	const struct mac_places *places = &table->places;
	uint32_t buckets[MAC_BURST_MAX];

	/* All lines are asked for before the first is looked at: they come together. */
	for (unsigned i = 0; i < count; i++) {
		buckets[i] = mac_bucket(places, keys[i]);
		rte_prefetch0(&places->places[(uint64_t)buckets[i] * MAC_BUCKET]);
	}
	for (unsigned i = 0; i < count; i++)
		positions[i] = mac_places_find(places, keys[i], buckets[i]);
}

unsigned mac_table_port(const struct mac_table *table, mac_key key, int32_t position)
{
	int port = mac_places_port(&table->places, position, key);

	return port < 0 ? PORT_NONE : (unsigned)port & ~MAC_PORT_FIXED;
}

static void learn_slowly(struct mac_table *table, mac_key key, unsigned port, uint32_t now)
{
	rte_spinlock_lock(&table->lock);
	/* Somebody may have been faster. */
	int32_t position = find(table, key);
	if (position == MAC_UNKNOWN) {
		(void)entry_add(table, key, port, now);
	} else {
		const struct mac_place *entry = &table->places.places[position];

		if (!entry_fixed(entry) && entry_port(entry) != port)
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
	struct mac_place *entry = &table->places.places[position];
	int known = mac_places_port(&table->places, position, key);
	/* Somebody else's for good: not worth the lock, however often it is claimed. */
	if (known < 0 || ((unsigned)known != port && !(known & MAC_PORT_FIXED))) {
		learn_slowly(table, key, port, now);
		return;
	}
	/* A store for each frame would make this line travel between workers. */
	if (((unsigned)known & ~MAC_PORT_FIXED) == port
	    && atomic_load_explicit(&entry->seen, memory_order_relaxed) != now)
		atomic_store_explicit(&entry->seen, now, memory_order_relaxed);
}

/* ---- control ---- */

int mac_table_fix(struct mac_table *table, mac_key key, unsigned port, uint32_t now)
{
	int result = 0;

	rte_spinlock_lock(&table->lock);
	int32_t position = find(table, key);
	if (position == MAC_UNKNOWN)
		position = entry_add(table, key, port, now);
	struct mac_place *entry = position == MAC_UNKNOWN ? NULL : &table->places.places[position];
	if (entry == NULL) {
		result = -ENOSPC;
	} else if (entry_port(entry) != port) {
		if (entry_fixed(entry))
			result = -EEXIST;
		else
			entry_move(table, (uint32_t)position, port, now);
	}
	if (result == 0 && !entry_fixed(entry)) {
		atomic_store_explicit(
			&entry->port, (uint16_t)(port | MAC_PORT_FIXED), memory_order_relaxed
		);
		table->lists[port].count--;
	}
	rte_spinlock_unlock(&table->lock);
	return result;
}

/* Remove every used entry that `matches`, holding the lock for a chunk at a time. */
static size_t remove_matching(
	struct mac_table *table,
	bool (*matches)(const struct mac_place *entry, const void *criteria),
	const void *criteria
)
{
	const uint32_t count = mac_places_count(&table->places);
	size_t removed = 0;

	for (uint32_t start = 0; start < count; start += WALK_CHUNK) {
		uint32_t end = count - start < WALK_CHUNK ? count : start + WALK_CHUNK;

		rte_spinlock_lock(&table->lock);
		for (uint32_t i = start; i < end; i++) {
			const struct mac_place *entry = &table->places.places[i];

			if (entry_used(entry) && matches(entry, criteria)) {
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

static bool to_flush(const struct mac_place *entry, const void *context)
{
	const struct flush_criteria *criteria = context;

	return (criteria->port == PORT_NONE || criteria->port == entry_port(entry))
	       && (criteria->vlan < 0 || (uint64_t)criteria->vlan == entry_key(entry) >> 48)
	       && (criteria->fixed || !entry_fixed(entry));
}

size_t mac_table_flush(struct mac_table *table, unsigned port, int vlan, bool fixed)
{
	struct flush_criteria criteria = {port, vlan, fixed};

	return remove_matching(table, to_flush, &criteria);
}

static bool is_old(const struct mac_place *entry, const void *context)
{
	uint32_t oldest = *(const uint32_t *)context;

	return !entry_fixed(entry) && entry_seen(entry) < oldest;
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
	const uint32_t count = mac_places_count(&table->places);

	for (uint32_t i = 0; i < count; i++) {
		const struct mac_place *entry = &table->places.places[i];
		struct mac_entry_info info;

		if (!entry_used(entry))
			continue;
		rte_spinlock_lock(&table->lock);
		bool used = entry_used(entry);
		info = (struct mac_entry_info){
			.key = entry_key(entry),
			.port = entry_port(entry),
			.seen = entry_seen(entry),
			.fixed = entry_fixed(entry),
		};
		rte_spinlock_unlock(&table->lock);
		if (used)
			each(context, &info);
	}
}
