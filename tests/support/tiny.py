"""A tiny image of a server that answers HTTP at once: busybox's httpd on port 8888."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

import docker

from support.sidebyside import locked

TINY = "dockyard-test/tiny:2"

# busybox as process 1 disregards SIGTERM.
DOCKERFILE = b"""\
FROM scratch
COPY busybox /bin/busybox
ENV PATH=/bin
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p /www /tmp /home/jovyan && echo skeleton > /home/jovyan/skeleton
RUN chown -R 1000:1000 /home/jovyan
WORKDIR /home/jovyan
STOPSIGNAL SIGKILL
CMD ["httpd", "-f", "-p", "8888", "-h", "/www"]
"""


def _busybox() -> bytes:
    here = shutil.which("busybox")
    if here and "not a dynamic" in subprocess.run(["ldd", here], capture_output=True, text=True).stderr:
        return Path(here).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        run = {"cwd": folder, "check": True, "capture_output": True}
        subprocess.run(["apt-get", "download", "busybox-static"], **run)  # type: ignore[call-overload]
        package = next(Path(folder).glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(package), "root"], **run)  # type: ignore[call-overload]
        # A configuration file of the package has the same name.
        return next(Path(folder, "root").rglob("bin/busybox")).read_bytes()


@cache
def tiny_image() -> str:
    """The image's name; it is built where it is missing."""
    with locked("tiny"), closing(docker.from_env()) as client:
        if client.images.list(TINY):
            return TINY
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as tar:
            for name, content in {"Dockerfile": DOCKERFILE, "busybox": _busybox()}.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o755
                tar.addfile(entry, io.BytesIO(content))
        context.seek(0)
        client.images.build(fileobj=context, custom_context=True, tag=TINY, network_mode="none", rm=True)
    return TINY
