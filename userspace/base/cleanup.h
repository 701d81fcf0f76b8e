/* cleanup - what a local variable owns is given back when it goes out of scope. */
#pragma once
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void cleanup_free(void *ptr)
{
	free(*(void **)ptr);
}

#define defer_close __attribute__((cleanup(cleanup_close)))
#define defer_free  __attribute__((cleanup(cleanup_free)))

/* Moves a descriptor or a pointer out of a variable that would close or free it. */
#define TAKE_FD(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})
#define TAKE_PTR(ptr)                           \
	({                                      \
		__typeof__(ptr) taken_ = (ptr); \
		(ptr) = NULL;                   \
		taken_;                         \
	})
