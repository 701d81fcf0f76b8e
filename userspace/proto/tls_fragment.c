#include "proto/tls_fragment.h"
#include <assert.h>
#include <libpsl.h>
#include <string.h>
#include "proto/tls_hello.h"
#include "proto/tls_records.h"

/* Part of a name: bytes [start, end). */
struct label {
	size_t start, end;
};

/* The label left of the public suffix. False: the list does not know the suffix (its rule "*" would
 * take any last label for one), or the name is nothing but a suffix. */
static bool registrable_label(const char *domain, struct label *ret)
{
	const psl_ctx_t *list = psl_builtin(); /* constant data, for any thread */
	const char *suffix = list ? psl_unregistrable_domain(list, domain) : NULL;
	const char *own = suffix ? psl_registrable_domain(list, domain) : NULL;

	if (!own || suffix <= own ||
	    !psl_is_public_suffix2(list, suffix, PSL_TYPE_ANY | PSL_TYPE_NO_STAR_RULE))
		return false;
	ret->start = (size_t)(own - domain);
	ret->end = (size_t)(suffix - domain) - 1;
	return true;
}

/* A label of one byte is cut off from what follows. Not after the first byte of a longer one: before the
 * second comes the length of a record, whose last byte may be just the one that was cut off. */
static size_t cut_label(struct label label, uint32_t random)
{
	size_t len = label.end - label.start;

	return len < 3 ? label.start + 1 : label.start + 2 + random % (len - 2);
}

static struct label next_label(const char *domain, size_t start)
{
	return (struct label){ start, start + strcspn(domain + start, ".") };
}

static size_t cut_every_label(const char *domain, uint32_t random, size_t *ret_places)
{
	struct label label = next_label(domain, 0);
	size_t dots = 0, count = 0;

	for (const char *c = domain; *c; c++)
		dots += *c == '.';
	for (; domain[label.end]; label = next_label(domain, label.end + 1), dots--) {
		if (dots > TLS_FRAGMENT_CUTS_MAX)
			continue; /* the nearer to the end, the more a label tells */
		ret_places[count++] = cut_label(label, random);
		random = random * 1664525 + 1013904223; /* another place in each */
		random = random >> 16 | random << 16;   /* its low bits are poor */
	}
	if (!label.start && label.end > 1)
		ret_places[count++] = cut_label(label, random);
	return count;
}

/* Of the end of @place bytes of content from the byte @from on. */
static size_t stream_offset(struct tls_records records, size_t from, size_t place)
{
	while (tls_records_seek(&records) == SNIFF_YES && records.at + records.left <= from)
		(void)tls_records_take(&records, records.left, NULL);
	(void)tls_records_take(&records, from - records.at + place, NULL);
	return records.at;
}

size_t tls_fragment_cuts(const uint8_t *data, size_t len, uint32_t random,
			 size_t ret_cuts[TLS_FRAGMENT_CUTS_MAX])
{
	size_t places[TLS_FRAGMENT_CUTS_MAX], count = 1;
	struct tls_hello hello;
	struct label label;

	if (tls_hello_parse(data, len, &hello) != SNIFF_YES || !hello.domain[0])
		return 0;
	if (registrable_label(hello.domain, &label))
		places[0] = cut_label(label, random);
	else
		count = cut_every_label(hello.domain, random, places);
	for (size_t i = 0; i < count; i++)
		ret_cuts[i] = stream_offset(
			(struct tls_records){ .data = data, .len = hello.bytes }, hello.sni_offset,
			places[i]);
	return count;
}

/* Content between where @records is and the stream's byte @end. */
static size_t content_before(struct tls_records records, size_t end)
{
	size_t bytes = 0;

	while (tls_records_seek(&records) == SNIFF_YES && records.at < end) {
		size_t run = end - records.at < records.left ? end - records.at : records.left;

		(void)tls_records_take(&records, run, NULL);
		bytes += run;
	}
	return bytes;
}

/* @bytes of content as records; returns what they take at @out, or 0: more than @size. */
static size_t put_records(struct tls_records *records, size_t bytes, uint8_t *out, size_t size)
{
	size_t done = 0;

	while (bytes) {
		size_t run = bytes < TLS_RECORD_PLAIN ? bytes : TLS_RECORD_PLAIN;

		if (size - done < TLS_RECORD_HEADER + run)
			return 0;
		memcpy(out + done, records->data, 3); /* type and version */
		out[done + 3] = (uint8_t)(run >> 8);
		out[done + 4] = (uint8_t)run;
		(void)tls_records_take(records, run, out + done + TLS_RECORD_HEADER);
		done += TLS_RECORD_HEADER + run;
		bytes -= run;
	}
	return done;
}

/* NOLINTNEXTLINE(readability-function-size): two buffers, a list and where it ends up */
size_t tls_fragment_records(const uint8_t *data, size_t len, const size_t *cuts, size_t count,
			    uint8_t *out, size_t size, size_t ret_ends[TLS_FRAGMENT_CUTS_MAX + 1])
{
	size_t ends[TLS_FRAGMENT_CUTS_MAX + 1], done = 0;
	struct tls_records records = { .data = data };
	struct tls_hello hello;

	assert(count <= TLS_FRAGMENT_CUTS_MAX);
	if (tls_hello_parse(data, len, &hello) != SNIFF_YES)
		return 0;
	records.len = hello.bytes;
	for (size_t i = 0; i <= count; i++) {
		size_t end = i < count ? cuts[i] : hello.bytes;
		size_t bytes = content_before(records, end);
		size_t put = put_records(&records, bytes, out + done, size - done);

		if (bytes && !put)
			return 0;
		done += put;
		ends[i] = done;
	}
	memcpy(ret_ends, ends, (count + 1) * sizeof(*ends));
	return done;
}
