/* common - a configuration from a string, for the tests of config. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "config/config.h"

/* config_load() of @len bytes at @text. */
static inline int load_bytes(const char *text, size_t len, struct config **ret,
			     struct config_errors *errors)
{
	char path[64];
	int fd = memfd_create("config", MFD_CLOEXEC);
	int r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_load(path, ret, errors);
	close(fd);
	return r;
}

static inline struct config *load_good(const char *text)
{
	struct config_errors errors = { 0 };
	struct config *config = NULL;
	int r = load_bytes(text, strlen(text), &config, &errors);

	config_errors_print(&errors, stderr, false);
	assert_int_equal(errors.count, 0);
	assert_int_equal(r, 0);
	assert_non_null(config);
	config_errors_deinit(&errors);
	return config;
}

/* The whole of a file, to be freed. */
static inline char *read_file(const char *path, size_t *ret_len)
{
	FILE *in = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;
	ssize_t n;

	assert_non_null(in);
	n = getdelim(&text, &room, EOF, in);
	assert_non_null(text);
	*ret_len = n > 0 ? (size_t)n : 0;
	text[*ret_len] = 0;
	fclose(in);
	return text;
}

static inline void assert_addr(const struct addr *addr, const char *text, unsigned port)
{
	struct addr want;

	assert_int_equal(addr_parse(text, (uint16_t)port, &want), 0);
	assert_true(addr_equal(addr, &want));
}
