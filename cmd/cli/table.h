/* SPDX-License-Identifier: BSD-3-Clause */
/* Aligned columns for people. */
#pragma once

struct cli_table;

/* `header` holds the columns' titles, separated by blanks; one that begins with '>' is aligned to
 * the right, an underscore in it is printed as a blank. */
struct cli_table *cli_table_new(const char *header);
/* The next cell, left to right, row by row. */
void cli_table_add(struct cli_table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Print every row behind `indent`, and free the table. */
void cli_table_print(struct cli_table *table, const char *indent);
/* One row with its header as text; malloc()ed. For screens that cut lines themselves. */
char *cli_table_line(const struct cli_table *table, unsigned row);
unsigned cli_table_rows(const struct cli_table *table); /* with the header */
void cli_table_free(struct cli_table *table);
