#include "dns/hosts.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "dns/file.h"

#define BYTES_MAX (1 << 20)
#define TTL_S     60 /* for who keeps the answer; it is not cached here */
#define BLANKS    " \t\r\v\f"

/* A name with one of its addresses; @name points into the text, in the order of the file. */
struct entry {
	const char *name;
	struct addr addr;
};

struct dns_hosts {
	const char *path;
	struct stat seen;
	char *text;
	struct entry *entries; /* by name, then in the order of the file */
	size_t count, room;
};

static int by_name(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	int order = strcmp(a->name, b->name);

	if (order)
		return order;
	return a->name < b->name ? -1 : a->name > b->name;
}

/* A regular file: nothing else ends, or is read without waiting. NULL: there is none, or no memory. */
static char *read_text(const char *path)
{
	defer_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t size = 0;
	struct stat st;
	ssize_t n = 1;
	char *text, *fit;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return NULL;
	text = malloc(BYTES_MAX + 1);
	if (!text)
		return NULL;
	while (n > 0 && size < BYTES_MAX) {
		n = read(fd, text + size, BYTES_MAX - size);
		size += n > 0 ? (size_t)n : 0;
	}
	if (size == BYTES_MAX) /* the last line may go on */
		while (size && text[size - 1] != '\n')
			size--;
	text[size] = '\0';
	fit = realloc(text, size + 1);
	return fit ? fit : text;
}

static int add(struct dns_hosts *hosts, const char *name, const struct addr *addr)
{
	if (hosts->count == hosts->room) {
		size_t room = hosts->room ? 2 * hosts->room : 64;
		struct entry *entries = reallocarray(hosts->entries, room, sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		hosts->entries = entries;
		hosts->room = room;
	}
	hosts->entries[hosts->count++] = (struct entry){ .name = name, .addr = *addr };
	return 0;
}

/* An address and the names it has. */
static int take_line(struct dns_hosts *hosts, char *line)
{
	static const struct hash_key any; /* the hash is not used */
	char *rest = NULL, *word;
	struct dns_key key;
	struct addr addr;
	int r = 0;

	line[strcspn(line, "#")] = '\0';
	word = strtok_r(line, BLANKS, &rest);
	if (!word || addr_parse(word, 0, &addr))
		return 0;
	while (!r && (word = strtok_r(NULL, BLANKS, &rest))) {
		if (dns_key_init(&key, &any, 0, word, DNS_A) < 0)
			continue;
		memcpy(word, key.name, key.length + 1); /* in lower case, no longer than it was */
		r = add(hosts, word, &addr);
	}
	return r;
}

static void forget(struct dns_hosts *hosts)
{
	free(hosts->text);
	free(hosts->entries);
	hosts->text = NULL;
	hosts->entries = NULL;
	hosts->count = hosts->room = 0;
}

/* What there is memory for counts. */
static void load(struct dns_hosts *hosts)
{
	char *line, *rest = NULL;
	int r = 0;

	forget(hosts);
	hosts->text = read_text(hosts->path);
	if (!hosts->text)
		return;
	for (line = strtok_r(hosts->text, "\n", &rest); line && !r;
	     line = strtok_r(NULL, "\n", &rest))
		r = take_line(hosts, line);
	if (hosts->count)
		qsort(hosts->entries, hosts->count, sizeof(*hosts->entries), by_name);
}

int dns_hosts_new(struct dns_hosts **ret, const char *path)
{
	struct dns_hosts *hosts = calloc(1, sizeof(*hosts));

	if (!hosts)
		return -ENOMEM;
	hosts->path = path;
	dns_file_look(path, &hosts->seen); /* before it is read: a change in between is seen */
	load(hosts);
	*ret = hosts;
	return 0;
}

void dns_hosts_free(struct dns_hosts *hosts)
{
	if (!hosts)
		return;
	forget(hosts);
	free(hosts);
}

static void renew(struct dns_hosts *hosts)
{
	struct stat now;

	dns_file_look(hosts->path, &now);
	if (dns_file_same(&now, &hosts->seen))
		return;
	hosts->seen = now;
	load(hosts);
}

/* The first entry with the name, or where it would be. */
static size_t find(const struct dns_hosts *hosts, const char *name)
{
	size_t low = 0, high = hosts->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(hosts->entries[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void add_addr(struct dns_answer *answer, const struct addr *addr)
{
	for (unsigned i = 0; i < answer->count; i++)
		if (addr_equal(&answer->addrs[i], addr))
			return;
	if (answer->count < DNS_ADDRS_MAX)
		answer->addrs[answer->count++] = *addr;
}

bool dns_hosts_get(struct dns_hosts *hosts, const struct dns_key *key, struct dns_answer *ret)
{
	sa_family_t family = key->type == DNS_A ? AF_INET : AF_INET6;
	struct dns_answer answer = { .status = DNS_NO_DATA, .ttl_s = TTL_S };
	bool found = false;

	renew(hosts);
	for (size_t i = find(hosts, key->name);
	     i < hosts->count && !strcmp(hosts->entries[i].name, key->name); i++) {
		found = true;
		if (hosts->entries[i].addr.family == family)
			add_addr(&answer, &hosts->entries[i].addr);
	}
	if (answer.count)
		answer.status = DNS_OK;
	if (found)
		*ret = answer;
	return found;
}
