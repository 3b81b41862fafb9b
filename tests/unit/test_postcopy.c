/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that runs while its pages arrive. Pages that have not come are holes in the files that
 * the guest's memory is; the front end brings a page by writing it, and wakes who waits for it.
 * Nobody may wait but the device's fetcher: a call that did would never return here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/arrivals.h"
#include "process.h"
#include "traffic.h"
#include "variants.h"

enum {
	RX = 0,
	TX = 1,
	OTHER_TX = 3,
	PAGE = 4096,
	HEADER = 12,
	FRAME_SIZE = 100,
	PATIENCE_MS = 10000,
	PACKED_START = 0x80008000,
	SKIPPED = 77, /* what meson takes for that */
};

struct rig {
	struct front front;
	const struct variant *variant;
	int fault_fd;
	uint64_t fault_address[GUEST_REGION_COUNT]; /* of each region's first byte */
};

/* A page of the guest's that is away. */
struct page {
	uint64_t address; /* guest */
	uint8_t content[PAGE];
};

/* ---- messages ---- */

static int advise(struct front *front)
{
	struct vhost_message message = {.header = {VHOST_USER_POSTCOPY_ADVISE, VHOST_VERSION, 0}};
	struct vhost_message reply;

	assert_int_equal(front_send(front, &message), 0);
	assert_true(front_reply(front, &reply));
	assert_int_equal(reply.header.size, 0);
	return reply.fd_count == 1 ? reply.fds[0] : -1;
}

static int listen_for_faults(struct front *front)
{
	return front_request(front, VHOST_USER_POSTCOPY_LISTEN, NULL, 0, NULL, 0);
}

/* By SET_MEM_TABLE, or region by region; what is told is noted, and not yet that it was. */
static void share(struct rig *rig, bool by_table)
{
	struct guest *guest = &rig->front.guest;
	struct vhost_message reply, message = {.header.flags = VHOST_VERSION};
	struct vhost_region *regions = message.payload.table.regions;

	for (unsigned i = 0; i < guest->region_count; i++) {
		unsigned at = by_table ? i : 0;

		if (!by_table)
			regions = &message.payload.region.region;
		regions[at] = (struct vhost_region){
			.guest_address = guest->regions[i].guest_address,
			.size = guest->regions[i].size,
			.user_address = guest->regions[i].user_address,
		};
		message.fds[at] = guest->regions[i].fd;
		message.fd_count = at + 1;
		message.header.request =
			by_table ? VHOST_USER_SET_MEM_TABLE : VHOST_USER_ADD_MEM_REG;
		message.header.size = 8 + 32 * (at + 1);
		if (by_table)
			message.payload.table.count = at + 1;
		if (by_table && i + 1 < guest->region_count)
			continue;
		assert_int_equal(front_send(&rig->front, &message), 0);
		assert_true(front_reply(&rig->front, &reply));
		assert_int_equal(reply.header.request, message.header.request);
		assert_int_equal(reply.header.size, message.header.size);
		for (unsigned n = 0; n <= at; n++) {
			const struct vhost_region *told = by_table ? &reply.payload.table.regions[n]
								   : &reply.payload.region.region;

			assert_int_equal(told->guest_address, regions[n].guest_address);
			rig->fault_address[by_table ? n : i] = told->user_address;
		}
	}
}

static int acknowledge(struct rig *rig, bool by_table, uint64_t status)
{
	struct vhost_message reply, message = {
					    .header =
						    {
							    by_table ? VHOST_USER_SET_MEM_TABLE
								     : VHOST_USER_ADD_MEM_REG,
							    VHOST_VERSION,
							    8,
						    },
					    .payload.u64 = status,
				    };
	int result = front_send(&rig->front, &message);

	assert_false(front_reply(&rig->front, &reply));
	return result;
}

static int end(struct rig *rig)
{
	return front_request(&rig->front, VHOST_USER_POSTCOPY_END, NULL, 0, NULL, 0);
}

/* ---- the rig ---- */

static struct front_options options_of(const struct variant *variant)
{
	return (struct front_options){
		.pairs = 2,
		.ring_size = 16,
		.features = variant_features(variant) | BIT(VL_F_MQ) | BIT(VL_F_MRG_RXBUF),
		.postcopy = true,
	};
}

static void connect_rig(struct rig *rig, const struct variant *variant)
{
	struct front_options options = options_of(variant);

	*rig = (struct rig){.variant = variant};
	front_attach(&rig->front, &options);
	front_negotiate(&rig->front, options.features | BIT(VL_F_VERSION_1));
	rig->fault_fd = advise(&rig->front);
	assert_true(rig->fault_fd >= 0);
	assert_int_equal(listen_for_faults(&rig->front), 0);
}

/* With messages sent twice, as QEMU does for two pairs. */
static void open_rig(struct rig *rig, const struct variant *variant)
{
	struct front_options options = options_of(variant);

	connect_rig(rig, variant);
	int again = advise(&rig->front);
	assert_true(again >= 0);
	close(again);
	assert_int_equal(listen_for_faults(&rig->front), 0);
	share(rig, variant->event_idx);
	assert_int_equal(acknowledge(rig, variant->event_idx, 0), 0);
	front_start(&rig->front, &options);
	assert_int_equal(front_status(&rig->front).pairs_up, 2);
	assert_true(front_status(&rig->front).memory_arrives);
}

static void close_rig(struct rig *rig)
{
	front_close(&rig->front);
	assert_int_equal(rig->front.callbacks.attention_fd, -1);
	close(rig->fault_fd);
}

static struct guest_region *region_of(struct rig *rig, uint64_t address, unsigned *index)
{
	for (unsigned i = 0; i < GUEST_REGION_COUNT; i++) {
		struct guest_region *region = &rig->front.guest.regions[i];

		*index = i;
		if (address - region->guest_address < region->size)
			return region;
	}
	fail();
	return NULL;
}

static void take_away(struct rig *rig, struct page *page, uint64_t address)
{
	unsigned index;
	struct guest_region *region = region_of(rig, address, &index);
	int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	page->address = address / PAGE * PAGE;
	memcpy(page->content, guest_at(&rig->front.guest, page->address), PAGE);
	uint64_t offset = page->address - region->guest_address;
	assert_int_equal(fallocate(region->fd, how, (off_t)offset, PAGE), 0);
}

static bool is_away(struct rig *rig, const struct page *page)
{
	unsigned index;
	struct guest_region *region = region_of(rig, page->address, &index);
	off_t offset = (off_t)(page->address - region->guest_address);

	return lseek(region->fd, offset, SEEK_DATA) != offset;
}

/* Wait until the page is asked for. */
static void expect_request(struct rig *rig, const struct page *page)
{
	struct pollfd poll_fd = {.fd = rig->fault_fd, .events = POLLIN};
	struct uffd_msg event;
	unsigned index;
	struct guest_region *region = region_of(rig, page->address, &index);

	assert_int_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
	assert_int_equal(read(rig->fault_fd, &event, sizeof(event)), sizeof(event));
	assert_int_equal(event.event, UFFD_EVENT_PAGEFAULT);
	assert_int_equal(
		event.arg.pagefault.address / PAGE * PAGE,
		rig->fault_address[index] + page->address - region->guest_address
	);
}

/* What the front end does. */
static void serve(struct rig *rig, const struct page *page)
{
	unsigned index;
	struct guest_region *region = region_of(rig, page->address, &index);
	struct uffdio_range range = {
		rig->fault_address[index] + page->address - region->guest_address, PAGE};

	memcpy(guest_at(&rig->front.guest, page->address), page->content, PAGE);
	assert_int_equal(ioctl(rig->fault_fd, UFFDIO_WAKE, &range), 0);
}

static void expect_attention(struct rig *rig)
{
	struct pollfd poll_fd = {.fd = rig->front.callbacks.attention_fd, .events = POLLIN};

	assert_int_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
}

static void bring(struct rig *rig, const struct page *page)
{
	serve(rig, page);
	expect_attention(rig);
	assert_int_equal(vl_device_attend(rig->front.device), 0);
}

/* It has been killed, and how long it takes to end is not ours. */
static void expect_no_fetcher(struct rig *rig)
{
	int64_t end = now_ms() + PATIENCE_MS;
	pid_t fetcher;

	do
		vl_device_retry(rig->front.device);
	while (children(&fetcher) > 0 && now_ms() < end);
	assert_int_equal(children(&fetcher), 0);
}

/* ---- frames ---- */

/* A buffer at a place of a new page (and the next one, if it does not fit), of `size` bytes. */
static uint64_t new_buffer(struct rig *rig, uint32_t offset)
{
	return guest_alloc_in(&rig->front.guest, GUEST_LOW, 2 * PAGE, PAGE) + offset;
}

static void add(struct rig *rig, unsigned ring, uint64_t address, uint32_t size, bool writable)
{
	traffic_add(&rig->front, ring, address, size, writable, rig->variant->form);
}

static uint64_t add_frame(struct rig *rig, unsigned ring, uint32_t offset, uint8_t mark)
{
	uint64_t address = new_buffer(rig, offset);

	memset(guest_at(&rig->front.guest, address) + HEADER, mark, FRAME_SIZE);
	add(rig, ring, address, HEADER + FRAME_SIZE, false);
	return address;
}

/* ---- what arrives ---- */

static void a_frame_waits_for_its_page_and_others_do_not(void **state)
{
	struct page page;
	struct rig rig;

	open_rig(&rig, *state);
	uint64_t address = add_frame(&rig, TX, 0, 1);
	take_away(&rig, &page, address);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	(void)add_frame(&rig, OTHER_TX, 0, 2);
	assert_int_equal(traffic_take_marked(&rig.front, 1, FRAME_SIZE), 2);
	expect_request(&rig, &page);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	/* Nobody needs to look before it comes. */
	assert_true(vl_device_sleep(rig.front.device, 0));
	unsigned changed = rig.front.callbacks.changed;
	bring(&rig, &page);
	assert_true(rig.front.callbacks.changed > changed);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 1);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	close_rig(&rig);
}

static void a_frame_may_wait_for_two_pages(void **state)
{
	struct page pages[2];
	struct rig rig;

	open_rig(&rig, *state);
	uint64_t address = add_frame(&rig, TX, PAGE - HEADER - FRAME_SIZE / 2, 3);
	take_away(&rig, &pages[0], address);
	take_away(&rig, &pages[1], address + PAGE);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	/* Both were asked for at the first look. */
	expect_request(&rig, &pages[0]);
	bring(&rig, &pages[0]);
	expect_request(&rig, &pages[1]);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	bring(&rig, &pages[1]);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 3);
	close_rig(&rig);
}

static void frames_behind_one_that_waits_are_asked_for_with_it(void **state)
{
	enum { FRAMES = 4 };
	struct page pages[FRAMES];
	struct rig rig;

	open_rig(&rig, *state);
	for (unsigned i = 0; i < FRAMES; i++)
		take_away(&rig, &pages[i], add_frame(&rig, TX, 0, (uint8_t)(i + 1)));
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	for (unsigned i = 0; i < FRAMES; i++) {
		expect_request(&rig, &pages[i]);
		bring(&rig, &pages[i]);
	}
	struct vl_frame frames[FRAMES];
	assert_int_equal(vl_device_borrow(rig.front.device, 0, frames, FRAMES), FRAMES);
	for (unsigned i = 0; i < FRAMES; i++)
		assert_int_equal(frames[i].head[0], i + 1);
	vl_device_give_back(rig.front.device, 0, FRAMES);
	close_rig(&rig);
}

static void a_table_of_descriptors_may_be_missing(void **state)
{
	const struct variant *variant = *state;
	struct page page;
	struct rig rig;

	if (variant->form != GUEST_INDIRECT)
		return;
	open_rig(&rig, variant);
	/* What the guest allocates next is the table. */
	uint64_t buffer = new_buffer(&rig, 0);
	uint64_t table = guest_alloc_in(&rig.front.guest, GUEST_LOW, 16, PAGE) + 16;
	memset(guest_at(&rig.front.guest, buffer) + HEADER, 7, FRAME_SIZE);
	add(&rig, TX, buffer, HEADER + FRAME_SIZE, false);
	take_away(&rig, &page, table);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	expect_request(&rig, &page);
	bring(&rig, &page);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 7);
	close_rig(&rig);
}

static void a_receive_buffer_that_is_missing_is_none(void **state)
{
	uint8_t bytes[FRAME_SIZE];
	struct built_frame built;
	struct guest_used used;
	struct page page;
	struct rig rig;

	open_rig(&rig, *state);
	memset(bytes, 5, sizeof(bytes));
	frame_build(&built, bytes, sizeof(bytes), 64, NULL);
	uint64_t address = new_buffer(&rig, 0);
	add(&rig, RX, address, 1024, true);
	take_away(&rig, &page, address);
	assert_int_equal(traffic_deliver(&rig.front, 0, &built), -1);
	expect_request(&rig, &page);
	bring(&rig, &page);
	assert_int_equal(traffic_deliver(&rig.front, 0, &built), VL_DELIVERED);
	assert_true(guest_ring_reap(&rig.front.rings[RX], &used));
	assert_int_equal(used.written, HEADER + FRAME_SIZE);
	assert_memory_equal(guest_at(&rig.front.guest, address) + HEADER, bytes, FRAME_SIZE);
	close_rig(&rig);
}

static void a_ring_starts_when_its_own_memory_has_come(void **state)
{
	const struct variant *variant = *state;
	struct front_options options = options_of(variant);
	struct guest_ring_options ring_options = {
		.size = options.ring_size,
		.packed = variant->packed,
		.event_idx = variant->event_idx,
		.start_wrap = true,
	};
	struct page page;
	struct rig rig;

	connect_rig(&rig, variant);
	/* A page that has all of it. */
	(void)guest_alloc_in(&rig.front.guest, GUEST_HIGH, 16, PAGE);
	guest_ring_open(&rig.front.rings[TX], &rig.front.guest, &ring_options);
	share(&rig, true);
	(void)add_frame(&rig, TX, 0, 9);
	take_away(&rig, &page, rig.front.rings[TX].desc_address);
	front_start_ring_at(
		&rig.front, TX, &rig.front.rings[TX], variant->packed ? PACKED_START : 0
	);
	front_enable_ring(&rig.front, TX, true);
	assert_true(front_queue(&rig.front, TX).started);
	assert_false(vl_device_ready(rig.front.device, 0, false));
	assert_int_equal(acknowledge(&rig, true, 0), 0);
	assert_false(vl_device_ready(rig.front.device, 0, false));
	expect_request(&rig, &page);
	bring(&rig, &page);
	assert_true(vl_device_ready(rig.front.device, 0, false));
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 9);
	close_rig(&rig);
}

/* ---- ends ---- */

static void when_all_is_here_it_is_as_if_it_had_always_been(void **state)
{
	unsigned descriptors = open_descriptors(), mappings = guest_mappings();
	pid_t fetcher;
	struct rig rig;

	open_rig(&rig, *state);
	assert_int_equal(children(&fetcher), 1);
	assert_int_equal(end(&rig), 0);
	assert_int_equal(end(&rig), 0);
	expect_no_fetcher(&rig);
	assert_false(front_status(&rig.front).memory_arrives);
	(void)add_frame(&rig, TX, 0, 1);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 1);
	/* A page that the guest gives away later is one of zeros, and no error. */
	struct page page;
	uint64_t address = add_frame(&rig, TX, 0, 2);
	take_away(&rig, &page, address);
	struct vl_frame frames[1];
	assert_int_equal(vl_device_borrow(rig.front.device, 0, frames, 1), 1);
	assert_int_equal(frames[0].head[0], 0);
	vl_device_give_back(rig.front.device, 0, 1);
	close_rig(&rig);
	assert_int_equal(open_descriptors(), descriptors);
	assert_int_equal(guest_mappings(), mappings);
}

static void a_session_may_end_while_a_page_is_waited_for(void **state)
{
	unsigned descriptors = open_descriptors();
	struct page page;
	struct rig rig;

	open_rig(&rig, *state);
	take_away(&rig, &page, add_frame(&rig, TX, 0, 1));
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	expect_request(&rig, &page);
	vl_device_detach(rig.front.device);
	/* It is still to come, and nothing may be in its place. */
	assert_true(is_away(&rig, &page));
	close_rig(&rig);
	assert_int_equal(open_descriptors(), descriptors);
}

/* ---- misdeeds ---- */

static void a_page_that_goes_again_is_asked_for_again_and_not_at_once(void **state)
{
	struct page page;
	struct rig rig;

	open_rig(&rig, *state);
	uint64_t address = add_frame(&rig, TX, 0, 1);
	take_away(&rig, &page, address);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	expect_request(&rig, &page);
	serve(&rig, &page);
	expect_attention(&rig);
	take_away(&rig, &page, address);
	assert_int_equal(vl_device_attend(rig.front.device), 0);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	struct pollfd requests = {.fd = rig.fault_fd, .events = POLLIN};
	assert_int_equal(poll(&requests, 1, 20), 0);
	vl_device_retry(rig.front.device);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	expect_request(&rig, &page);
	bring(&rig, &page);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 1);
	close_rig(&rig);
}

/* It would be a handle on all of our memory. */
static void the_userfaultfd_is_of_another_address_space(void **state)
{
	struct rig rig;
	uint8_t *ours = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register all = {
		.range = {(uintptr_t)ours, PAGE},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	open_rig(&rig, *state);
	assert_int_equal(ioctl(rig.fault_fd, UFFDIO_REGISTER, &all), -1);
	assert_int_equal(ours[0], 0);
	munmap(ours, PAGE);
	close_rig(&rig);
}

static void the_fetcher_can_do_nothing_else(void **state)
{
	char path[64], line[128];
	unsigned confined = 0;
	pid_t fetcher;
	struct rig rig;

	open_rig(&rig, *state);
	assert_int_equal(children(&fetcher), 1);
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)fetcher);
	FILE *status = fopen(path, "r");
	assert_non_null(status);
	while (fgets(line, sizeof(line), status) != NULL)
		confined +=
			strcmp(line, "Seccomp:\t2\n") == 0 || strcmp(line, "NoNewPrivs:\t1\n") == 0;
	fclose(status);
	assert_int_equal(confined, 2);
	close_rig(&rig);
}

static void without_the_fetcher_pages_come_when_they_come(void **state)
{
	struct page page;
	pid_t fetcher;
	struct rig rig;

	open_rig(&rig, *state);
	take_away(&rig, &page, add_frame(&rig, TX, 0, 1));
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	expect_request(&rig, &page);
	assert_int_equal(children(&fetcher), 1);
	kill(fetcher, SIGKILL);
	expect_attention(&rig);
	assert_int_equal(vl_device_attend(rig.front.device), 0);
	assert_non_null(strstr(vl_device_reason(rig.front.device), "has ended"));
	assert_true(is_away(&rig, &page));
	vl_device_retry(rig.front.device);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 0);
	assert_true(is_away(&rig, &page));
	struct pollfd attention = {.fd = rig.front.callbacks.attention_fd, .events = POLLIN};
	(void)vl_device_attend(rig.front.device);
	assert_int_equal(poll(&attention, 1, 0), 0);
	memcpy(guest_at(&rig.front.guest, page.address), page.content, PAGE);
	vl_device_retry(rig.front.device);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 1);
	assert_int_equal(end(&rig), 0);
	expect_no_fetcher(&rig);
	close_rig(&rig);
}

static void messages_in_another_order_are_refused(void **state)
{
	struct front_options options = options_of(*state);
	struct rig rig = {.variant = *state};
	struct front *front = &rig.front;

	front_attach(front, &options);
	assert_int_equal(advise(front), -1); /* not negotiated */
	front_negotiate(front, options.features | BIT(VL_F_VERSION_1));
	assert_int_equal(end(&rig), 0); /* nothing is left to be ended */
	assert_int_equal(listen_for_faults(front), 1);
	assert_non_null(strstr(vl_device_reason(front->device), "ADVISE"));
	rig.fault_fd = advise(front);
	assert_true(rig.fault_fd >= 0);
	assert_int_equal(front_share_memory(front), 0);
	assert_int_equal(listen_for_faults(front), 1);
	assert_non_null(strstr(vl_device_reason(front->device), "ADVISE"));
	front_start(front, &options);
	(void)add_frame(&rig, TX, 0, 1);
	assert_int_equal(traffic_take_marked(&rig.front, 0, FRAME_SIZE), 1);
	close_rig(&rig);
}

static void a_process_is_started_once_a_session_and_for_memory_to_come(void **state)
{
	struct front_options options = options_of(*state);
	struct rig rig = {.variant = *state};
	pid_t fetcher;

	front_attach(&rig.front, &options);
	front_negotiate(&rig.front, options.features | BIT(VL_F_VERSION_1));
	rig.fault_fd = advise(&rig.front);
	assert_true(rig.fault_fd >= 0);
	assert_int_equal(children(&fetcher), 1);
	/* The guest did not need it. */
	assert_int_equal(front_share_memory(&rig.front), 0);
	expect_no_fetcher(&rig);
	assert_int_equal(advise(&rig.front), -1);
	assert_non_null(strstr(vl_device_reason(rig.front.device), "ADVISE"));
	assert_int_equal(children(&fetcher), 0);
	close_rig(&rig);
}

static void who_cannot_serve_faults_has_no_session(void **state)
{
	struct rig rig;

	connect_rig(&rig, *state);
	share(&rig, true);
	assert_int_equal(acknowledge(&rig, true, 1), -EPROTO);
	close_rig(&rig);
}

static void a_guest_on_its_way_is_not_handed_over(void **state)
{
	struct vl_device_state saved;
	struct rig rig;

	open_rig(&rig, *state);
	assert_int_equal(vl_device_save(rig.front.device, &saved), -EBUSY);
	assert_true(vl_device_snapshot(rig.front.device, &saved) < 0);
	assert_int_equal(front_status(&rig.front).pairs_up, 2);
	assert_int_equal(end(&rig), 0);
	assert_int_equal(vl_device_save(rig.front.device, &saved), 0);
	vl_device_state_free(&saved);
	vl_device_go_on(rig.front.device);
	close_rig(&rig);
}

int main(void)
{
	static const struct variant_test tests[] = {
		VARIANT_TEST(a_frame_waits_for_its_page_and_others_do_not),
		VARIANT_TEST(a_frame_may_wait_for_two_pages),
		VARIANT_TEST(frames_behind_one_that_waits_are_asked_for_with_it),
		VARIANT_TEST(a_table_of_descriptors_may_be_missing),
		VARIANT_TEST(a_receive_buffer_that_is_missing_is_none),
		VARIANT_TEST(a_ring_starts_when_its_own_memory_has_come),
		VARIANT_TEST(when_all_is_here_it_is_as_if_it_had_always_been),
		VARIANT_TEST(a_session_may_end_while_a_page_is_waited_for),
		VARIANT_TEST(a_page_that_goes_again_is_asked_for_again_and_not_at_once),
		VARIANT_TEST(the_userfaultfd_is_of_another_address_space),
		VARIANT_TEST(the_fetcher_can_do_nothing_else),
		VARIANT_TEST(without_the_fetcher_pages_come_when_they_come),
		VARIANT_TEST(messages_in_another_order_are_refused),
		VARIANT_TEST(a_process_is_started_once_a_session_and_for_memory_to_come),
		VARIANT_TEST(who_cannot_serve_faults_has_no_session),
		VARIANT_TEST(a_guest_on_its_way_is_not_handed_over),
	};

	if (!arrivals_are_possible()) {
		print_message("no userfaultfd here, or no right to use it\n");
		return SKIPPED;
	}
	return run_for_all_rings("postcopy", tests, COUNT_OF(tests));
}
