/* SPDX-License-Identifier: BSD-3-Clause */
/* Small parsers that settings and requests share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Decimal digits only: no sign, no blank, no overflow. */
bool text_parse_number(const char *text, uint32_t min, uint32_t max, uint32_t *out);

/* "2-3,5": calls `each` for every range; false if it is no list or a range is outside min..max. */
bool text_parse_ranges(
	const char *text,
	uint32_t min,
	uint32_t max,
	bool (*each)(void *context, uint32_t first, uint32_t last),
	void *context
);

/* "52:54:00:00:00:01", hexadecimal of either case. */
bool text_parse_mac(const char *text, uint8_t mac[6]);

enum {
	MAC_TEXT_SIZE = 18,
};
void text_format_mac(const uint8_t mac[6], char text[MAC_TEXT_SIZE]);

/* asprintf() for callers that could not go on without memory anyway: never returns NULL. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct error;
/* The whole file, "-" is standard input. malloc()ed; NULL if it cannot be read or is no text. */
char *text_read_file(const char *path, struct error *error);
