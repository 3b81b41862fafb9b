/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device knows of the translations of a guest's IOMMU: from I/O virtual addresses to user
 * addresses (vhost-user, "IOMMU support"). The front end tells those that the device asks for, and
 * takes them back.
 *
 * Threads: iotlb_find() is for data threads, any number of them; all others are control's. What
 * was in the table before a change may be used until all data calls have returned that were
 * running: then iotlb_settle() forgets it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct iotlb;

enum {
	IOTLB_READ = 1, /* by the device: what linux/vhost_types.h has as VHOST_ACCESS_RO */
	IOTLB_WRITE = 2,
	IOTLB_ENTRIES_MAX = 4096, /* then others have to go */
};

struct iotlb_entry {
	uint64_t iova, size, user_address; /* size: bytes, at least 1 */
	uint8_t access;			   /* IOTLB_READ, IOTLB_WRITE */
};

/* `attention`: an eventfd to be signalled when iotlb_next_miss() has something; borrowed. */
struct iotlb *iotlb_create(int attention);
/* No data thread may see it. NULL is fine. */
void iotlb_destroy(struct iotlb *iotlb);

/* Whether an entry is there, just as it is. */
bool iotlb_has(const struct iotlb *iotlb, const struct iotlb_entry *entry);
/* Whether any entry lies in the range, if only in part. */
bool iotlb_overlaps(const struct iotlb *iotlb, uint64_t iova, uint64_t size);
/* Add an entry in the place of all that it overlaps; -ENOMEM. */
int iotlb_insert(struct iotlb *iotlb, const struct iotlb_entry *entry);
/* Forget all entries that lie in the range, if only in part; -ENOMEM. */
int iotlb_remove(struct iotlb *iotlb, uint64_t iova, uint64_t size);
/* Free what was replaced. */
void iotlb_settle(struct iotlb *iotlb);

/* The next address that was looked for in vain; false: there is none. */
bool iotlb_next_miss(struct iotlb *iotlb, uint64_t *iova, uint8_t *access);

/* The user address of an I/O virtual address that may be accessed so, and how many bytes from there
 * on. False: it is not known, and will be asked for, *run bytes of it. */
bool iotlb_find(
	struct iotlb *iotlb, uint64_t iova, uint8_t access, uint64_t *user_address, uint64_t *run
);
