/* Any bytes are either a configuration or refused with at least one error that points into them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *nowhere;
	struct config_errors errors = { 0 };
	struct config *config = NULL;
	int fd = memfd_create("config", MFD_CLOEXEC), r;
	char path[64];

	if (!nowhere)
		nowhere = fopen("/dev/null", "we");
	if (fd < 0 || !nowhere || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_load(path, &config, &errors);
	close(fd);
	if ((r == 0) != (config != NULL) || (r == 0) != !errors.count)
		abort();
	for (size_t i = 0; i < errors.count && i < 200; i++)
		if (!errors.list[i].line || !errors.list[i].column ||
		    errors.list[i].line > size + 1)
			abort();
	config_errors_print(&errors, nowhere, true);
	config_free(config);
	config_errors_deinit(&errors);
	return 0;
}
