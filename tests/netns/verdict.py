"""How a case ends: well, with a Failure, with a Skip."""
import time


class Failure(Exception):
    """What a case found wrong."""


class Skip(Exception):
    """Why a case cannot run here."""


class TimeUp(BaseException):
    """The case's time is over; not an Exception, so that no retry loop eats it."""


def check(condition, why):
    if not condition:
        raise Failure(why)


def wait_for(condition, why, seconds=5.0, every=0.02):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Failure(f"{why() if callable(why) else why} (waited {seconds:g} s)")
        time.sleep(every)
    return value
