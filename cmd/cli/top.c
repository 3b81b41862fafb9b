/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * top: rates of all ports in a terminal, the busiest first, once a second. The terminal is put
 * into its alternate screen without echo, and back however this ends: q, ^C, SIGTERM, or a daemon
 * that goes away.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/rates.h"
#include "cli/table.h"

#define SCREEN_ENTER "\x1b[?1049h\x1b[?25l"
#define SCREEN_LEAVE "\x1b[?25h\x1b[?1049l"
#define SCREEN_HOME "\x1b[H"
#define LINE_END "\x1b[K"
#define SCREEN_END "\x1b[J"
#define BOLD "\x1b[1m"
#define REVERSE "\x1b[7m"
#define PLAIN "\x1b[0m"

enum {
	INTERVAL_MS = 1000,
	FRAME_LINES = 4, /* title, summary, blank, and the last line without its end */
};

static volatile sig_atomic_t ended;

static void on_end(int)
{
	ended = 1;
}

/* It is enough that poll() returns: the next picture asks for the size. */
static void on_resize(int) {}

/* ---- the terminal ---- */

static bool enter_screen(struct termios *before)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
	const struct sigaction end = {.sa_handler = on_end};
	const struct sigaction resize = {.sa_handler = on_resize};
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, before) != 0)
		return false;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		(void)sigaction(ends[i], &end, NULL);
	(void)sigaction(SIGWINCH, &resize, NULL);
	raw = *before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	(void)fputs(SCREEN_ENTER, stdout);
	return true;
}

static void leave_screen(const struct termios *before)
{
	(void)fputs(SCREEN_LEAVE, stdout);
	(void)fflush(stdout);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, before);
}

static struct winsize screen_size(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	return size;
}

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

enum wake {
	WAKE_QUIT,
	WAKE_RESIZE,
	WAKE_TIME,
};

/* Wait until `deadline_ms`, a key that ends, or a new size of the window. */
static enum wake wait_for_key(int64_t deadline_ms)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	for (;;) {
		int64_t left = deadline_ms - now_ms();
		int status;
		char key;

		if (ended)
			return WAKE_QUIT;
		if (left <= 0)
			return WAKE_TIME;
		status = poll(&input, 1, (int)left);
		if (status < 0 && errno == EINTR && !ended)
			return WAKE_RESIZE;
		if (status > 0 && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q'))
			return WAKE_QUIT;
	}
}

/* ---- the picture ---- */

static int compare_busy(const void *a, const void *b)
{
	const struct port_rates *left = a;
	const struct port_rates *right = b;
	double difference = (right->rx_frames + right->tx_frames + right->drops)
			    - (left->rx_frames + left->tx_frames + left->drops);

	if (difference == 0)
		return strcmp(left->name, right->name);
	return difference > 0 ? 1 : -1;
}

static void add_rates(struct cli_table *table, const struct port_rates *rates)
{
	const double values[] = {
		rates->rx_frames, rates->rx_bits, rates->tx_frames, rates->tx_bits, rates->drops};

	cli_table_add(table, "%s", rates->name);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		char text[RATE_TEXT_SIZE];

		cli_table_add(table, "%s", cli_format_rate(values[i], text));
	}
	cli_table_add(table, "%s", rates->drop_reason);
}

static void draw_line(const char *style, const char *line, unsigned width)
{
	(void)printf("%s%.*s" PLAIN LINE_END "\r\n", style, (int)width, line);
}

static void draw_title(const json_t *workers, size_t port_count, unsigned width)
{
	char line[256];
	size_t size = (size_t
	)snprintf(line, sizeof(line), "virtlane top  %zu ports  worker load", port_count);
	const json_t *worker;
	size_t i;

	json_array_foreach(workers, i, worker)
	{
		if (size < sizeof(line))
			size += (size_t)snprintf(
				line + size,
				sizeof(line) - size,
				" %.0f%%",
				100 * json_number_value(json_object_get(worker, "load"))
			);
	}
	draw_line(BOLD, line, width);
}

static void draw_table(struct port_rates *rates, size_t count, struct winsize size)
{
	struct cli_table *table =
		cli_table_new("PORT >RX_FRAMES/S >RX_BIT/S >TX_FRAMES/S >TX_BIT/S >DROPS/S REASON");
	struct port_rates total = cli_rates_total(rates, count);
	unsigned rows;

	qsort(rates, count, sizeof(*rates), compare_busy);
	add_rates(table, &total);
	for (size_t i = 0; i < count; i++)
		add_rates(table, &rates[i]);
	rows = cli_table_rows(table);
	for (unsigned row = 0; row < rows && row + FRAME_LINES <= size.ws_row; row++) {
		char *line = cli_table_line(table, row);

		draw_line(row == 0 ? REVERSE : row == 1 ? BOLD : "", line, size.ws_col);
		free(line);
	}
	cli_table_free(table);
}

static void draw(const json_t *before, const json_t *now, const json_t *workers)
{
	struct winsize size = screen_size();
	size_t count;
	struct port_rates *rates = cli_rates(before, now, &count);

	(void)fputs(SCREEN_HOME, stdout);
	draw_title(workers, count, size.ws_col);
	draw_line("", "", size.ws_col);
	draw_table(rates, count, size);
	(void)printf(SCREEN_END "q ends" LINE_END);
	(void)fflush(stdout);
	free(rates);
}

/* Until quit (CLI_OK) or an error of the daemon. */
static enum cli_exit show(struct cli *cli)
{
	json_t *before = NULL;
	json_t *now = NULL;
	json_t *workers = NULL;
	int64_t deadline_ms = now_ms();
	enum wake wake = WAKE_TIME;
	enum cli_exit status = CLI_OK;

	while (wake != WAKE_QUIT && status == CLI_OK) {
		if (wake == WAKE_TIME) {
			json_decref(before);
			json_decref(workers);
			before = now;
			now = workers = NULL;
			status = cli_call(cli, "stats", NULL, &now);
			if (status == CLI_OK)
				status = cli_call(cli, "worker.list", NULL, &workers);
			/* the first picture after a moment, without rates it says nothing */
			deadline_ms = now_ms() + (before == NULL ? INTERVAL_MS / 4 : INTERVAL_MS);
		}
		if (status == CLI_OK && before != NULL)
			draw(before, now, workers);
		if (status == CLI_OK)
			wake = wait_for_key(deadline_ms);
	}
	json_decref(before);
	json_decref(now);
	json_decref(workers);
	return status;
}

enum cli_exit cli_top(struct cli *cli, const struct cli_input *)
{
	struct cli silent;
	struct termios before;
	json_t *stats;
	enum cli_exit status;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return cli_fail(
			cli,
			CLI_USAGE,
			"top needs a terminal; use `virtlane stats --watch` in a script"
		);
	/* say that there is no daemon before the screen changes */
	status = cli_call(cli, "stats", NULL, &stats);
	if (status != CLI_OK)
		return status;
	json_decref(stats);
	if (!enter_screen(&before))
		return cli_fail(cli, CLI_USAGE, "cannot set up the terminal: %m");
	silent = *cli;
	silent.quiet = true; /* a complaint on this screen would be lost */
	status = show(&silent);
	leave_screen(&before);
	*cli = silent;
	cli->quiet = false;
	if (status == CLI_OK || ended)
		return CLI_OK;
	return cli_fail(cli, status, "virtlaned at %s went away", cli->socket);
}
