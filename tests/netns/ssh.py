"""A private OpenSSH server and its client: keys and configuration of their own, nothing of the machine's."""
import os
import pathlib
import shutil
import subprocess
import tempfile

from lab import SERVICE
from program import program
from verdict import Skip

SSHD = "/usr/sbin/sshd"


class Keys:
    """Of the server and of its only user, made once."""
    folder = None

    @classmethod
    def path(cls, name):
        if not os.access(SSHD, os.X_OK) or not shutil.which("ssh"):
            raise Skip("no ssh and sshd")
        if cls.folder is None:
            cls.folder = tempfile.TemporaryDirectory(prefix="seamtest-")
            for key in ("host", "user"):
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{cls.folder.name}/{key}"],
                               check=True, capture_output=True)
        return f"{cls.folder.name}/{name}"


def sshd(env, family, port):
    """Lets root in with the user's key."""
    pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it insists
    locked = "root:!" in pathlib.Path("/etc/shadow").read_text(encoding="utf-8")
    return program(env, port, family, f"""ListenAddress {SERVICE[family]}
Port {port}
HostKey {Keys.path("host")}
AuthorizedKeysFile {Keys.path("user.pub")}
PidFile none
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
UsePAM {"yes" if locked else "no"}
""", SSHD, "-D", "-e", "-f", "FILE")


def ssh(env, side, family, port, *command, stdin=b""):
    """Runs @command on the server from a namespace of the lab; what it says."""
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR",
               "IdentitiesOnly=yes", f"IdentityFile={Keys.path('user')}", "ConnectTimeout=10")
    return subprocess.run(["nsenter", f"--net={env.lab.path(side)}", "ssh", "-F", "none",
                           *(word for option in options for word in ("-o", option)), "-p", str(port),
                           f"root@{SERVICE[family]}", *command], input=stdin, capture_output=True, timeout=30,
                          check=False)
