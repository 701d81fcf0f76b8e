/* Any bytes are either a configuration or refused with at least one error that points into them. After
 * an 'S' they are the file of a rule set. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int put(const void *data, size_t size, char *path, size_t room)
{
	int fd = memfd_create("config", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, room, "/proc/self/fd/%d", fd);
	return fd;
}

static void load(const char *path, const char *shown, size_t size)
{
	static FILE *nowhere;
	struct config_errors errors = { 0 };
	struct config *config = NULL;
	int r = config_load(path, &config, &errors);

	if (!nowhere)
		nowhere = fopen("/dev/null", "we");
	if (!nowhere || (r == 0) != (config != NULL) || (r == 0) != !errors.count)
		abort();
	for (size_t i = 0; i < errors.count && i < 200; i++)
		if (!strcmp(errors.list[i].file, shown) &&
		    (!errors.list[i].line || !errors.list[i].column ||
		     errors.list[i].line > size + 1))
			abort();
	config_errors_print(&errors, nowhere, true);
	config_free(config);
	config_errors_deinit(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool set = size && data[0] == 'S';
	char path[64], document[256], document_path[64];
	int fd = put(data + set, size - set, path, sizeof(path)), document_fd;

	if (set) {
		snprintf(document, sizeof(document),
			 "{\"inbounds\": [{\"type\": \"tproxy\", \"listen_port\": 1}],"
			 " \"route\": {\"rule_set\": [{\"tag\": \"a\", \"path\": \"%s\"}]}}",
			 path);
		document_fd = put(document, strlen(document), document_path, sizeof(document_path));
		load(document_path, path, size);
		close(document_fd);
	} else {
		load(path, path, size);
	}
	close(fd);
	return 0;
}
