/* file - whether a file is as it was when it was read. */
#pragma once
#include <stdbool.h>
#include <sys/stat.h>

/* @ret zeroed: there is none. */
static inline void dns_file_look(const char *path, struct stat *ret)
{
	if (stat(path, ret) < 0)
		*ret = (struct stat){ 0 };
}

static inline bool dns_file_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}
