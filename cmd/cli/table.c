/* SPDX-License-Identifier: BSD-3-Clause */
/* Aligned columns, see table.h. */
#include "cli/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	COLUMNS_MAX = 12,
};

struct cli_table {
	unsigned column_count;
	bool right[COLUMNS_MAX];
	size_t widths[COLUMNS_MAX];
	unsigned cell_count; /* the header's are the first */
	char **cells;
};

static void append_cell(struct cli_table *table, char *text)
{
	char **cells = reallocarray(table->cells, table->cell_count + 1, sizeof(*cells));
	unsigned column = table->cell_count % table->column_count;

	if (cells == NULL || text == NULL)
		abort();
	if (strlen(text) > table->widths[column])
		table->widths[column] = strlen(text);
	table->cells = cells;
	cells[table->cell_count++] = text;
}

struct cli_table *cli_table_new(const char *header)
{
	struct cli_table *table = calloc(1, sizeof(*table));
	char *titles = strdup(header);
	char *rest = titles;
	char *names[COLUMNS_MAX];
	char *name;

	if (table == NULL || titles == NULL)
		abort();
	while (table->column_count < COLUMNS_MAX && (name = strsep(&rest, " ")) != NULL) {
		table->right[table->column_count] = *name == '>';
		names[table->column_count++] = name + (*name == '>');
	}
	for (unsigned i = 0; i < table->column_count; i++) {
		for (char *at = names[i]; *at != '\0'; at++)
			*at = *at == '_' ? ' ' : *at;
		append_cell(table, strdup(names[i]));
	}
	free(titles);
	return table;
}

void cli_table_add(struct cli_table *table, const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	va_end(arguments);
	append_cell(table, text);
}

unsigned cli_table_rows(const struct cli_table *table)
{
	return table->cell_count / table->column_count;
}

char *cli_table_line(const struct cli_table *table, unsigned row)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		abort();
	for (unsigned i = 0; i < table->column_count; i++) {
		const char *cell = table->cells[row * table->column_count + i];
		int width = (int)table->widths[i];

		(void
		)fprintf(out, "%s%*s", i > 0 ? "  " : "", table->right[i] ? width : -width, cell);
	}
	if (fclose(out) != 0)
		abort();
	/* no blanks at the end of a line */
	while (size > 0 && text[size - 1] == ' ')
		text[--size] = '\0';
	return text;
}

void cli_table_print(struct cli_table *table, const char *indent)
{
	for (unsigned row = 0; row < cli_table_rows(table); row++) {
		char *line = cli_table_line(table, row);

		(void)printf("%s%s\n", indent, line);
		free(line);
	}
	cli_table_free(table);
}

void cli_table_free(struct cli_table *table)
{
	for (unsigned i = 0; i < table->cell_count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}
