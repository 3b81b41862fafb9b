/* SPDX-License-Identifier: BSD-3-Clause */
/* Small parsers, see text.h. */
#include "control/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* The number at *text, which is moved behind it; false if there is none in min..max. */
static bool scan_number(const char **text, uint32_t min, uint32_t max, uint32_t *out)
{
	const char *at = *text;
	uint64_t value = 0;

	if (!isdigit((unsigned char)*at))
		return false;
	for (; isdigit((unsigned char)*at); at++) {
		value = value * 10 + (uint64_t)(*at - '0');
		if (value > max)
			return false;
	}
	if (value < min)
		return false;
	*text = at;
	*out = (uint32_t)value;
	return true;
}

bool text_parse_number(const char *text, uint32_t min, uint32_t max, uint32_t *out)
{
	uint32_t value;

	if (!scan_number(&text, min, max, &value) || *text != '\0')
		return false;
	*out = value;
	return true;
}

bool text_parse_ranges(
	const char *text,
	uint32_t min,
	uint32_t max,
	bool (*each)(void *context, uint32_t first, uint32_t last),
	void *context
)
{
	for (;;) {
		uint32_t first;
		uint32_t last;

		if (!scan_number(&text, min, max, &first))
			return false;
		last = first;
		if (*text == '-') {
			text++;
			if (!scan_number(&text, first, max, &last))
				return false;
		}
		if (!each(context, first, last))
			return false;
		if (*text == '\0')
			return true;
		if (*text++ != ',')
			return false;
		while (*text == ' ')
			text++;
	}
}

static int hex_digit(char c)
{
	if (!isxdigit((unsigned char)c))
		return -1;
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

bool text_parse_mac(const char *text, uint8_t mac[6])
{
	if (strlen(text) != MAC_TEXT_SIZE - 1)
		return false;
	for (int i = 0; i < 6; i++, text += 3) {
		int high = hex_digit(text[0]);
		int low = hex_digit(text[1]);

		if (high < 0 || low < 0 || text[2] != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

void text_format_mac(const uint8_t mac[6], char text[MAC_TEXT_SIZE])
{
	(void)snprintf(
		text,
		MAC_TEXT_SIZE,
		"%02x:%02x:%02x:%02x:%02x:%02x",
		mac[0],
		mac[1],
		mac[2],
		mac[3],
		mac[4],
		mac[5]
	);
}

char *text_format(const char *format, ...)
{
	va_list arguments;
	char *text = NULL;

	va_start(arguments, format);
	int size = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (size < 0)
		abort();
	return text;
}

static char *read_stream(FILE *in, size_t *size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, size);
	char part[4096];
	size_t got;

	if (out == NULL)
		abort();
	while ((got = fread(part, 1, sizeof(part), in)) > 0)
		(void)fwrite(part, 1, got, out);
	if (fclose(out) != 0)
		abort();
	return text;
}

char *text_read_file(const char *path, struct error *error)
{
	FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *text;
	size_t size;

	if (in == NULL) {
		error_set(error, -errno, "cannot open %.300s: %m", path);
		return NULL;
	}
	text = read_stream(in, &size);
	if (ferror(in))
		error_set(error, -EIO, "cannot read %.300s: %m", path);
	else if (strlen(text) != size)
		error_set(error, -EINVAL, "%.300s is not a text file", path);
	else
		goto out;
	free(text);
	text = NULL;
out:
	if (in != stdin)
		(void)fclose(in);
	return text;
}
