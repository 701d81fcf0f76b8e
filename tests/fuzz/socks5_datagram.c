/* A header is one whatever follows it, only when all of it is there, and says the same when it is written anew
 * (but for zeros, and IPv4 in IPv6). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "proto/socks5_datagram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Over a copy of just these bytes, so that a read past them is seen. */
static int unwrap(const uint8_t *data, size_t len, struct addr *ret)
{
	uint8_t *copy = malloc(len ? len : 1);
	int n;

	if (!copy)
		abort();
	if (len)
		memcpy(copy, data, len);
	n = socks5_unwrap(copy, len, ret);
	free(copy);
	return n;
}

static void check_again(const uint8_t *data, int n, const struct addr *source)
{
	uint8_t again[SOCKS5_DATAGRAM_HEAD_MAX];
	struct addr twice;
	size_t len = socks5_wrap(again, source, NULL);

	if (len == (size_t)n && memcmp(again, data, len) != 0)
		abort();
	if (unwrap(again, len, &twice) != (int)len || !addr_equal(source, &twice))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct addr source = { .family = AF_MAX }, other;
	int n = unwrap(data, size, &source);

	if (n < 0) {
		if ((n != -EBADMSG && n != -EOPNOTSUPP) || source.family != AF_MAX)
			abort();
		return 0;
	}
	if (n > (int)size || n > SOCKS5_DATAGRAM_HEAD_MAX || n < 3 + 1 + 1 + 2)
		abort();
	if (unwrap(data, (size_t)n, &other) != n || !addr_equal(&source, &other))
		abort();
	for (int cut = 0; cut < n; cut++)
		if (unwrap(data, (size_t)cut, &other) != -EBADMSG)
			abort();
	if (source.family != AF_UNSPEC)
		check_again(data, n, &source);
	return 0;
}
