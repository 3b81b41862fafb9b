/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which port an address is behind: (VLAN, MAC) -> port.
 *
 * Readers (workers) take no lock and write nothing to what they share, except an entry's time,
 * and that at most once a second. Writers - a worker that learns, the control thread that ages
 * and flushes - take the table's lock. A position may become another entry's when its own is
 * removed, so who uses one says for which key, and what it says is never stale.
 *
 * Fairness: when the table is full, the port with the most entries gives up its oldest. A flood of
 * addresses so hurts its sender alone. For this the entries of a port form a list.
 */
#pragma once

#include <rte_byteorder.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct mac_table;

/* VLAN in bits 48..59, the address's six bytes below, first byte lowest. */
typedef uint64_t mac_key;

static inline mac_key mac_key_make(const uint8_t mac[6], uint16_t vlan)
{
	uint32_t low;
	uint16_t high;

	memcpy(&low, mac, sizeof(low));
	memcpy(&high, mac + sizeof(low), sizeof(high));
	return rte_le_to_cpu_32(low) | (uint64_t)rte_le_to_cpu_16(high) << 32
	       | (uint64_t)vlan << 48;
}

enum {
	MAC_UNKNOWN = -1, /* a position: no entry */
	MAC_BURST_MAX = 64,
};

/* A table for `size` entries of ports with ids below `ports`. NULL: no memory. */
struct mac_table *mac_table_create(uint32_t size, unsigned ports);
void mac_table_destroy(struct mac_table *table);

/* ---- workers ---- */

/* Positions of `count` keys (at most MAC_BURST_MAX). */
void mac_table_lookup(
	const struct mac_table *table, const mac_key *keys, unsigned count, int32_t *positions
);
/* The port of a key whose position was looked up (and is not MAC_UNKNOWN); PORT_NONE if it has been
 * removed since. */
unsigned mac_table_port(const struct mac_table *table, mac_key key, int32_t position);
/* A frame from `port` came from this address: notes the time `now` (seconds), or the new port, or
 * a new entry. `position` is the result of a lookup. */
void mac_table_learn(
	struct mac_table *table, mac_key key, int32_t position, unsigned port, uint32_t now
);

/* ---- control ---- */

/* An entry that neither ages nor moves; -EEXIST if another port has it fixed. */
int mac_table_fix(struct mac_table *table, mac_key key, unsigned port, uint32_t now);
/* Remove what matches: port PORT_NONE: any; vlan < 0: any; fixed ones only if asked. Returns how
 * many. */
size_t mac_table_flush(struct mac_table *table, unsigned port, int vlan, bool fixed);
/* Remove learned entries that were last seen before `oldest`. */
size_t mac_table_age(struct mac_table *table, uint32_t oldest);

struct mac_entry_info {
	mac_key key;
	unsigned port;
	uint32_t seen; /* second */
	bool fixed;
};
void mac_table_walk(
	struct mac_table *table,
	void (*each)(void *context, const struct mac_entry_info *info),
	void *context
);
