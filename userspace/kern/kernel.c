#include "kern/kernel.h"
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include "base/names.h"

/* First fit patch level of each long-term series; series that are not listed are unfit up to 6.17. */
static const struct {
	int major, minor, patch;
} fit_from[] = {
	{ 6, 1, 191 },
	{ 6, 6, 94 },
	{ 6, 12, 105 },
};

static bool parse_release(const char *release, const char *version, int out[3])
{
	const char *debian = strstr(version, "Debian ");

	if (debian && sscanf(debian, "Debian %d.%d.%d", &out[0], &out[1], &out[2]) == 3)
		return true;
	out[2] = 0;
	return sscanf(release, "%d.%d.%d", &out[0], &out[1], &out[2]) >= 2;
}

bool kernel_release_fit(const char *release, const char *version, char *reason, size_t size)
{
	int v[3];

	if (!parse_release(release, version, v)) {
		snprintf(reason, size, "kernel release \"%s\" is not understood", release);
		return false;
	}
	if (v[0] > 6 || (v[0] == 6 && v[1] >= 18))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(fit_from); i++) {
		if (v[0] != fit_from[i].major || v[1] != fit_from[i].minor)
			continue;
		if (v[2] >= fit_from[i].patch)
			return true;
		snprintf(reason, size, "kernel %d.%d.%d lacks sockmap fixes of %d.%d.%d", v[0],
			 v[1], v[2], v[0], v[1], fit_from[i].patch);
		return false;
	}
	snprintf(reason, size, "kernel %d.%d.%d is not known to carry the sockmap fixes", v[0],
		 v[1], v[2]);
	return false;
}

bool kernel_sockmap_fit(char *reason, size_t size)
{
	struct utsname name;

	if (uname(&name) < 0) {
		snprintf(reason, size, "uname: the kernel does not say what it is");
		return false;
	}
	return kernel_release_fit(name.release, name.version, reason, size);
}

unsigned long kernel_taint(void)
{
	FILE *file = fopen("/proc/sys/kernel/tainted", "re");
	unsigned long taint = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%lu", &taint) != 1)
		taint = 0;
	fclose(file);
	return taint;
}
