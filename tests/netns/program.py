"""A server program that people run, in the namespace of the server."""
import contextlib
import pathlib
import shutil
import subprocess
import tempfile

from verdict import Skip, check, wait_for


@contextlib.contextmanager
def program(env, port, family, config, *argv):
    """A server program at @port of the service address; FILE in @argv is the file with @config."""
    if not shutil.which(argv[0]):
        raise Skip(f"no {argv[0]}")
    with tempfile.TemporaryDirectory(prefix="seamtest-") as folder:
        path = pathlib.Path(folder, "config.json")
        path.write_text(config.replace("FOLDER", folder), encoding="utf-8")
        pathlib.Path(folder).chmod(0o777)  # some give up root
        log = pathlib.Path(folder, "output")
        with log.open("wb") as output:
            argv = ["nsenter", f"--net={env.lab.path('server')}", *(str(path) if word == "FILE" else word
                                                                   for word in argv)]
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)
        try:
            wait_for(lambda: process.poll() is not None or listens(env, port, family),
                     lambda: f"{argv[2]} is not ready: {log.read_text(errors='replace')}", 15)
            check(process.poll() is None, f"{argv[2]} ended: {log.read_text(errors='replace')}")
            yield
        finally:
            process.terminate()
            process.wait(10)


def listens(env, port, family):
    ip = "-6" if family == "v6" else "-4"
    return env.lab.run("server", "ss", ip, "-Hltun", f"sport = :{port}").strip()
