/* Round-trip samples: collected while measuring, sorted and printed at the end. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct samples {
	uint32_t *nanoseconds;
	size_t count, room;
	uint64_t started, ended;
};

static inline uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Touches the memory at once, so that no page fault falls into a measured round trip. */
static inline int samples_start(struct samples *s, size_t room)
{
	s->nanoseconds = malloc(room * sizeof *s->nanoseconds);
	if (!s->nanoseconds)
		return -1;
	for (size_t i = 0; i < room; i++)
		s->nanoseconds[i] = 1;
	s->count = 0;
	s->room = room;
	s->started = s->ended = now_ns();
	return 0;
}

/* Past the room for samples only the time goes on: the caller measures for a bounded time. */
static inline void samples_add(struct samples *s, uint64_t from, uint64_t to)
{
	uint64_t took = to - from;
	if (s->count < s->room)
		s->nanoseconds[s->count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
	s->ended = to;
}

static inline int samples_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static inline double samples_at(const struct samples *s, unsigned per_mille)
{
	return s->nanoseconds[(s->count - 1) * per_mille / 1000] / 1000.0;
}

/* One `name value` per line; microseconds, and round trips per second. Returns non-zero when nothing was measured. */
static inline int samples_print(struct samples *s)
{
	if (s->count == 0)
		return -1;
	qsort(s->nanoseconds, s->count, sizeof *s->nanoseconds, samples_order);
	double seconds = (double)(s->ended - s->started) / 1e9;
	printf("round_trips %zu\n", s->count);
	printf("p50_us %.2f\n", samples_at(s, 500));
	printf("p99_us %.2f\n", samples_at(s, 990));
	printf("p999_us %.2f\n", samples_at(s, 999));
	printf("per_second %.0f\n", (double)s->count / seconds);
	return 0;
}

#endif
