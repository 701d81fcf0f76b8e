#!/usr/bin/python3
"""relay.method packet over all kinds of paths: flows that are taken over by each of the three ways on cables that lose,
repeat, delay and reorder, on devices without and with offloads, with all kinds of options; every byte is compared.

SEAM_PATHS=all runs the whole matrix, which takes some minutes."""
import contextlib
import os
import sys

import taken
from link import Link
from seamtest import Suite
from streams import MIB

ALL = os.environ.get("SEAM_PATHS") == "all"
LOSS = (0, 1, 5)


def ways(env, families=("v4",), need=True, size=2 * MIB, after=0.5):
    """A flow of each kind and family, side by side."""
    calls = []
    for family in families:
        quiet, busy, chatter = (env.pair(family) for _ in range(3))
        calls += [(taken.quiet, env, quiet, size), (taken.busy, env, busy, "both", need, after),
                  (taken.chatter, env, chatter)]
    env.together(*calls)


@contextlib.contextmanager
def cables(env, **settings):
    """@settings: of the cable "lan" and "wan", None: as ever. Flows must not outlive it."""
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(Link(env.lab, which, **setting)) for which, setting in settings.items()
                 if setting is not None]
        try:
            yield links
            env.close()
            env.daemon.wait_idle(10)
        finally:
            env.close()
    for link in links:
        env.note(f"{link.ends[0][1]}: {link.counts}")


def bad(env, lan, wan, **more):
    with cables(env, lan=lan, wan=wan):
        ways(env, **more)


def matrix(suite):
    for loss in LOSS:
        for reorder, duplicate in ((0, 0), (5, 0), (0, 3), (5, 3)):
            for where in ("lan", "wan", "both"):
                few = (loss, reorder, duplicate, where) in ((0, 5, 3, "both"), (1, 5, 3, "lan"), (1, 5, 3, "wan"),
                                                            (5, 5, 3, "both"), (5, 0, 0, "wan"), (1, 0, 0, "lan"))
                if not few and not ALL:
                    continue
                setting = {"delay_ms": 0.5, "loss": loss, "reorder": reorder, "duplicate": duplicate}
                suite.add(f"cable/{loss}-{reorder}-{duplicate}/{where}", bad, taken.CONFIG, 60,
                          lan=setting if where != "wan" else None, wan=setting if where != "lan" else None,
                          need=loss < 5, size=2 * MIB if loss < 5 else MIB // 2,
                          families=("v4", "v6") if loss == 1 or ALL else ("v4",))


def main():
    suite = Suite()
    matrix(suite)
    return suite.run()


if __name__ == "__main__":
    sys.exit(main())
