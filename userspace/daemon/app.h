/* app - composes the modules in order, runs, and takes them down in reverse. */
#pragma once
#include "config/config.h"

/* Until SIGTERM or SIGINT; returns the exit code. @config is the caller's and outlives it. */
int app_run(struct config *config);
