"""File systems that can lose power or run full: ext4 in an image, and memory of a fixed size. Both need root."""

import fcntl
import os
import shutil
import struct
import subprocess
from contextlib import contextmanager
from itertools import count

import pytest
from harness import wait_for

# <linux/fs.h> and fs/ext4/ext4.h.
FS_IOC_SHUTDOWN = 0x8004587D
FLUSH_ALL, FLUSH_JOURNAL, FLUSH_NOTHING = 0, 1, 2

IMAGE_BYTES = 512 << 20
UNMOUNT_LIMIT_S = 20


class FileSystems:
    """Those of one test, unmounted when it ends."""

    def __init__(self, directory):
        self.directory = directory
        self.numbers = count()
        self.mounted = []

    def ext4(self):
        """ext4 on a loop device, in an image that takes only as much room as is used."""
        self.need("mkfs.ext4", "losetup")
        image = self.directory / f"disk-{next(self.numbers)}.img"
        with open(image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        return self.mount(["-o", "loop", "-t", "ext4", image], image)

    def memory(self, size_bytes):
        """A file system in memory that has no room for more than `size_bytes`."""
        self.need()
        return self.mount(["-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs"])

    def need(self, *programs):
        if os.geteuid() != 0:
            pytest.skip("only root may mount a file system")
        missing = [name for name in ("mount", "umount", *programs) if shutil.which(name) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")

    def mount(self, arguments, image=None):
        path = self.directory / f"mounted-{next(self.numbers)}"
        path.mkdir()
        mounted = Mounted(path, arguments, image)
        error = mounted.mount()
        if error:
            pytest.skip(f"this machine mounts no {arguments}: {error}")
        self.mounted.append(mounted)
        return mounted

    def forget(self, mounted):
        """Removes one that has passed."""
        mounted.unmount()
        self.mounted.remove(mounted)
        mounted.path.rmdir()
        if mounted.image:
            mounted.image.unlink()

    def unmount(self):
        for mounted in self.mounted:
            mounted.unmount()


class Mounted:
    def __init__(self, path, arguments, image):
        self.path, self.arguments, self.image = path, arguments, image

    def mount(self):
        """What speaks against it; empty if it is mounted."""
        done = subprocess.run(["mount", *self.arguments, self.path], capture_output=True, text=True, check=False)
        return done.stderr or (f"exit code {done.returncode}" if done.returncode else "")

    def unmount(self):
        def unmounted():
            return subprocess.run(["umount", self.path], capture_output=True, check=False).returncode == 0

        # A process that was killed a moment ago may still be closing its files.
        wait_for(f"the end of {self.path}", UNMOUNT_LIMIT_S, unmounted)

    @contextmanager
    def without_power(self, flush, ledgers):
        """Nothing reaches the disk any more; what was not synced before, or is not flushed by `flush`, is gone.

        The block must end all who have a file open there. After it the journal was replayed, as in a boot.

        What is acknowledged from the cut on is not counted on: the shutdown lets a sync that is under way return
        success although the journal does not get it any more. A few writers and no server are enough to see that.
        """
        for ledger in ledgers:
            ledger.is_doubting = True
        directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, FS_IOC_SHUTDOWN, struct.pack("I", flush))
        finally:
            os.close(directory)
        yield
        self.unmount()
        error = self.mount()
        assert not error, error
        for ledger in ledgers:
            ledger.is_doubting = False

    def fill(self):
        """Takes all room that is left; `free` gives it back."""
        with open(self.path / "ballast", "wb", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    continue

    def free(self):
        (self.path / "ballast").unlink(missing_ok=True)
