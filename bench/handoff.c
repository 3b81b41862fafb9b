/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The limit of a loopback: the bare hand-off of frames between two cores, without virtio.
 *
 * Idea. `in_flight` frames go round between an "application" and a "back end", one thread each on
 * a CPU of its own. A ring each way holds 8 bytes a frame (which buffer, how long) and an index
 * that the producer publishes once a burst. No more frames exist than a ring has slots, so neither
 * ring can be full and no index has to be read back. The back end copies each frame to another
 * buffer, as the device of a loopback does, and hands that one over; the buffer copied from is
 * free then, and the next frame is copied there. So a frame is copied once a lap, from and to
 * memory that stays in the back end's cache as far as it fits.
 *
 * Why it is the limit. What has to cross between the cores is there and nothing else: the word
 * that says where a frame is and how long, eight to a cache line, and one index a burst. There
 * are no features, headers, checks, notifications, or buffers to post and to reap. What a loopback
 * through virtqueues costs beyond this is what virtio, and the safety of both sides, cost.
 *
 * How much of a frame the application touches is the variant:
 *	--touch none	nothing, as an application that passes frames on: the limit for `reflect`
 *	--touch head	it exchanges the addresses, so one line a frame crosses over and back
 *	--touch all	it copies the frame too, so all the bytes cross over and back
 *
 * Output: one JSON object. cycles are those of rounds that moved frames, a frame. At the end every
 * frame has to be there once, its last bytes intact.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "cycles.h"

enum {
	LINE = 64,
	SLOTS = 4096,
	BURST = 64,
	FRAME_MIN = 60, /* bytes */
	FRAME_MAX = 65536,
	TAG_SIZE = 4, /* a frame's number, its last bytes */
};

struct slot {
	uint32_t buffer, length;
};

struct ring {
	alignas(LINE) atomic_uint head; /* the producer's: frames published so far */
	alignas(LINE) struct slot slots[SLOTS];
};

enum touch { TOUCH_NONE, TOUCH_HEAD, TOUCH_ALL };
enum phase { WARMING_UP, MEASURING, ENDED };

/* One of the two cores. */
struct side {
	struct ring *in, *out;
	enum touch touch;
	unsigned cpu, tail;
	uint32_t spare; /* the buffer that the next frame is copied to */
	int error;
	/* while MEASURING */
	uint64_t frames, busy_cycles;
	double seconds;
};

static struct ring there, back;
static alignas(LINE) _Atomic enum phase phase;
static uint8_t *buffers;
static size_t stride;

/* Whole lines: buffers begin on one and are padded to one. */
typedef uint8_t line_bytes __attribute__((vector_size(LINE), aligned(LINE)));

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void
copy_lines(void *to, const void *from, uint32_t length)
{
	line_bytes *target = to;
	const line_bytes *source = from;

	for (uint32_t i = 0; i < length; i += LINE)
		*target++ = *source++;
}

static uint8_t *buffer_at(uint32_t number)
{
	return buffers + number * stride;
}

static void exchange_addresses(uint8_t *frame)
{
	uint8_t destination[6];

	memcpy(destination, frame, 6);
	memcpy(frame, frame + 6, 6);
	memcpy(frame + 6, destination, 6);
}

/* Pass on what has come, at most a burst; returns how many frames that were. */
static inline __attribute__((always_inline)) unsigned pass(struct side *side, enum touch touch)
{
	/* acquire: the slots below head, and the bytes of their frames, were written before it */
	unsigned count = atomic_load_explicit(&side->in->head, memory_order_acquire) - side->tail;
	unsigned head = atomic_load_explicit(&side->out->head, memory_order_relaxed); /* our own */

	if (count > BURST)
		count = BURST;
	for (unsigned i = 0; i < count; i++) {
		struct slot slot = side->in->slots[(side->tail + i) % SLOTS];

		if (touch == TOUCH_HEAD)
			exchange_addresses(buffer_at(slot.buffer));
		if (touch == TOUCH_ALL) {
			uint32_t copied = slot.buffer;

			copy_lines(buffer_at(side->spare), buffer_at(copied), slot.length);
			slot.buffer = side->spare;
			side->spare = copied;
		}
		side->out->slots[(head + i) % SLOTS] = slot;
	}
	side->tail += count;
	if (count > 0) /* release: see the acquire above */
		atomic_store_explicit(&side->out->head, head + count, memory_order_release);
	return count;
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline __attribute__((always_inline)) void
run_while(struct side *side, enum phase during, enum touch touch)
{
	double began = seconds_now();
	uint64_t then = cycles_now();

	side->frames = side->busy_cycles = 0;
	/* relaxed: nothing but the time depends on it */
	while (atomic_load_explicit(&phase, memory_order_relaxed) == during) {
		unsigned count = pass(side, touch);
		uint64_t now = cycles_now();

		if (count > 0) {
			side->frames += count;
			side->busy_cycles += now - then;
		} else {
			cpu_relax();
		}
		then = now;
	}
	side->seconds = seconds_now() - began;
}

static inline __attribute__((always_inline)) void run_all(struct side *side, enum touch touch)
{
	run_while(side, WARMING_UP, touch);
	run_while(side, MEASURING, touch);
}

static void *side_main(void *argument)
{
	struct side *side = argument;

	if (pin_to_cpu(side->cpu) < 0)
		side->error = errno;
	else if (side->touch == TOUCH_NONE)
		run_all(side, TOUCH_NONE);
	else if (side->touch == TOUCH_HEAD)
		run_all(side, TOUCH_HEAD);
	else
		run_all(side, TOUCH_ALL);
	return NULL;
}

/* Length of frame `number`: fixed, or IMIX for 0: seven small, four middle, one large. */
static uint32_t frame_length(uint32_t size, uint32_t number)
{
	static const uint16_t imix[] = {64, 570, 64, 64, 570, 64, 64, 570, 64, 1518, 64, 570};

	return size ? size : imix[number % (sizeof(imix) / sizeof(imix[0]))];
}

/* Buffers for all frames and a spare one each, in shared memory as a driver's would be. */
static int make_frames(uint32_t size, uint32_t in_flight, bool huge)
{
	size_t all;
	int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE | (huge ? MAP_HUGETLB : 0);

	/* One line more than needed: frames of 2^n bytes would fall on few sets of the cache. */
	stride = ((size ? size : 1518) + LINE - 1) / LINE * LINE + LINE;
	all = (stride * (in_flight + 2) + (2 << 20) - 1) & ~(size_t)((2 << 20) - 1);
	buffers = mmap(NULL, all, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (buffers == MAP_FAILED)
		return -1;
	for (uint32_t i = 0; i < in_flight; i++) {
		uint32_t length = frame_length(size, i);

		memset(buffer_at(i), (int)i, length);
		memcpy(buffer_at(i) + length - TAG_SIZE, &i, TAG_SIZE);
		back.slots[i] = (struct slot){.buffer = i, .length = length};
	}
	atomic_store(&back.head, in_flight);
	return 0;
}

/* How many of the frames that wait in a ring are not what they were, or were there already. */
static uint32_t count_bad(const struct side *reader, uint32_t size, uint8_t *seen, uint32_t *found)
{
	uint32_t bad = 0, number;

	for (unsigned at = reader->tail; at != atomic_load(&reader->in->head); at++) {
		struct slot slot = reader->in->slots[at % SLOTS];

		memcpy(&number, buffer_at(slot.buffer) + slot.length - TAG_SIZE, TAG_SIZE);
		bad += number >= SLOTS || slot.length != frame_length(size, number)
		       || seen[number]++;
		++*found;
	}
	return bad;
}

static void sleep_seconds(double seconds)
{
	struct timespec time = {.tv_sec = (time_t)seconds};

	time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
	nanosleep(&time, NULL);
}

/* Run both sides; 0, or errno. */
static int measure(struct side *application, struct side *back_end, double warm_up, double time)
{
	pthread_t threads[2];
	int error = pthread_create(&threads[0], NULL, side_main, application);

	if (error)
		return error;
	error = pthread_create(&threads[1], NULL, side_main, back_end);
	if (!error) {
		sleep_seconds(warm_up);
		atomic_store(&phase, MEASURING);
		sleep_seconds(time);
		atomic_store(&phase, ENDED);
		pthread_join(threads[1], NULL);
	}
	atomic_store(&phase, ENDED);
	pthread_join(threads[0], NULL);
	return error ?: application->error ?: back_end->error;
}

static double cycles_per_frame(const struct side *side)
{
	return side->frames ? (double)side->busy_cycles / (double)side->frames : 0;
}

struct choice {
	const char *touch;
	uint32_t size, in_flight; /* size 0: IMIX */
	unsigned cpus[2];	  /* application, back end */
	double time, warm_up;
	bool huge;
};

static int usage(void)
{
	fprintf(stderr,
		"usage: handoff [--touch none|head|all] [--size BYTES|imix] [--in-flight N]\n"
		"               [--cpus APPLICATION,BACK_END] [--time S] [--warmup S] [--huge]\n");
	return 2;
}

/* Returns whether the arguments made sense. */
static bool parse(int argc, char **argv, struct choice *choice)
{
	static const struct option options[] = {
		{"touch", required_argument, NULL, 't'},
		{"size", required_argument, NULL, 's'},
		{"in-flight", required_argument, NULL, 'n'},
		{"cpus", required_argument, NULL, 'c'},
		{"time", required_argument, NULL, 'd'},
		{"warmup", required_argument, NULL, 'w'},
		{"huge", no_argument, NULL, 'h'},
		{},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 't') {
			choice->touch = optarg;
		} else if (option == 's' && !strcmp(optarg, "imix")) {
			choice->size = 0;
		} else if (option == 's') {
			choice->size = (uint32_t)strtoul(optarg, NULL, 10);
			if (choice->size < FRAME_MIN || choice->size > FRAME_MAX)
				return false;
		} else if (option == 'n') {
			choice->in_flight = (uint32_t)strtoul(optarg, NULL, 10);
		} else if (option == 'c') {
			if (sscanf(optarg, "%u,%u", &choice->cpus[0], &choice->cpus[1]) != 2)
				return false;
		} else if (option == 'd') {
			choice->time = strtod(optarg, NULL);
		} else if (option == 'w') {
			choice->warm_up = strtod(optarg, NULL);
		} else if (option == 'h') {
			choice->huge = true;
		} else {
			return false;
		}
	}
	return optind == argc && choice->in_flight >= 1 && choice->in_flight <= SLOTS
	       && choice->time > 0 && choice->warm_up >= 0;
}

static bool parse_touch(const char *text, enum touch *touch)
{
	static const char *const names[] = {"none", "head", "all"};

	for (*touch = TOUCH_NONE; *touch <= TOUCH_ALL; ++*touch)
		if (!strcmp(names[*touch], text))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static uint8_t seen[SLOTS];
	struct choice choice = {"none", 64, 256, {1, 0}, 1, 0.1, false};
	struct side application = {.in = &back, .out = &there};
	struct side back_end = {.in = &there, .out = &back, .touch = TOUCH_ALL};
	uint32_t bad, found = 0;
	int error;

	if (!parse(argc, argv, &choice) || !parse_touch(choice.touch, &application.touch))
		return usage();
	application.cpu = choice.cpus[0];
	back_end.cpu = choice.cpus[1];
	application.spare = choice.in_flight;
	back_end.spare = choice.in_flight + 1;
	if (make_frames(choice.size, choice.in_flight, choice.huge) < 0) {
		perror("handoff: memory");
		return 1;
	}
	error = measure(&application, &back_end, choice.warm_up, choice.time);
	if (error) {
		fprintf(stderr, "handoff: %s\n", strerror(error));
		return 1;
	}
	bad = count_bad(&application, choice.size, seen, &found)
	      + count_bad(&back_end, choice.size, seen, &found) + (found != choice.in_flight);
	printf("{\"touch\": \"%s\", \"frames\": %" PRIu64 ", \"seconds\": %.6f, \"rate\": %.1f, "
	       "\"cycles_application\": %.2f, \"cycles_back_end\": %.2f, \"bad\": %u}\n",
	       choice.touch,
	       application.frames,
	       application.seconds,
	       (double)application.frames / application.seconds,
	       cycles_per_frame(&application),
	       cycles_per_frame(&back_end),
	       bad);
	return bad > 0;
}
