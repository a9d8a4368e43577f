"""A process that stops ends the others within seconds, with one line that says which.

Those that wait for it in a collective would wait for hours: nobody can say how long a step may take, so the time that
a collective lasts says nothing. torchrun notices a process that ends, but sees its own machine alone, and asks the
others to end by a signal that Python does not look at while it waits in a collective.

Here a thread of every process says once a second that it lives, in the store through which the processes met, looks
after all processes of its machine and after the next one, wherever that is, and ends its own when one has stopped.
"""

import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch import distributed
from torch._C._distributed_c10d import PrefixStore, TCPStore

from cinetune import console
from cinetune.errors import CinetuneError

BEAT = 1.0
"""Seconds between two looks."""
SILENT = 20
"""Looks after which a process that says nothing has stopped. Looks and not seconds: this one may have been asleep."""
LINGER = 3.0
"""Seconds that a process which ends leaves the others to see why, and itself to write its own message."""
FAILED = 2
KEPT = "finished windows are kept; run the same command again"


@contextmanager
def watching(rank: int, world: int) -> Iterator["Watch"]:
    """Yield what looks after the other processes; whichever stops in between ends all. The process group is open.

    A CinetuneError comes out of one process alone, the first that has one; the others end with the same exit code.
    SIGTERM and SIGINT end all processes, as they are. Finished files are whole, as after any kill.
    """
    watch = Watch(rank, world)
    watch.start()
    try:
        yield watch
        watch.meet()
    except CinetuneError as error:
        if watch.is_first_to_fail(error):
            raise
        raise SystemExit(FAILED) from None
    except BaseException as error:
        watch.fail(error)
        raise
    watch.leave()


class Watch:
    """Looks after the other processes."""

    def __init__(self, rank: int, world: int) -> None:
        """Meet the others, which do the same. Collective."""
        self.rank, self.world = rank, world
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=60))
        self.store = PrefixStore("cinetune", store)
        places: list[Any] = [None] * world
        distributed.all_gather_object(places, (socket.gethostname(), _namespace(), os.getpid()))
        self._hosts = [str(host) for host, _, _ in places]
        here = places[rank][:2]
        self._near = {n: int(place[2]) for n, place in enumerate(places) if place[:2] == here and n != rank}
        """Process ids of the others of this machine."""
        self._next, self._heard, self._silent, self._meetings = (rank + 1) % world, 0, 0, 0
        self._left, self._failed = threading.Event(), False
        self._signals, self._wake = socket.socketpair()
        self._before: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look, and take over what signals do."""
        self._wake.setblocking(False)
        if threading.current_thread() is threading.main_thread():
            # This byte is written as the signal comes, whatever the main thread waits for.
            signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, lambda *_: None)
        self._thread.start()

    def meet(self) -> None:
        """Wait for all processes, as long as it takes."""
        self._meetings += 1
        key = f"meeting/{self._meetings}"
        self.store.add(key, 1)
        while self.store.add(key, 0) < self.world:
            self._left.wait(0.05)

    def leave(self) -> None:
        """Stop looking, all work being done."""
        self._left.set()
        self._wake.send(b"\0")
        self._thread.join()
        if self._before:
            signal.set_wakeup_fd(-1)
            for number, handler in self._before.items():
                signal.signal(number, handler)
        self._linger()

    def is_first_to_fail(self, error: CinetuneError) -> bool:
        """Make the others end because of an error of this process; return whether it is the one to print it."""
        self._failed = True
        with suppress(RuntimeError):  # without the store nobody else can say anything
            self._stop(str(error))
            first = self.store.add("told", 1) == 1
            self._linger()
            return first
        return True

    def fail(self, error: BaseException) -> None:
        """Make the others end because of an error that nobody thought of.

        Where it comes of another process's end, this one ends here, and that one is the one named.
        """
        if _may_come_of_others(error):
            self._thread.join((SILENT + LINGER) * BEAT)
        self._failed = True
        with suppress(RuntimeError):
            self._stop(self._line(self.rank, type(error).__name__))
            self._linger()

    def _run(self) -> None:
        while not self._left.is_set():
            number = self._wait()
            try:
                message = self._look_in_time()
            except (RuntimeError, ConnectionError):  # no store; at the end, whoever kept it may be gone first
                if not self._left.wait(2 * BEAT):
                    self._end_without_store()
                return
            if self._left.is_set():
                return
            if message:
                self._end(message, FAILED)
            elif number:
                self._end(self._stop(self._line(self.rank, signal.Signals(number).name)), 128 + number)

    def _wait(self) -> int:
        """Wait for the next look; return the signal that came meanwhile, or 0."""
        if not select.select([self._signals], [], [], BEAT)[0]:
            return 0
        return max(number if number in self._before else 0 for number in self._signals.recv(64))

    def _look_in_time(self) -> str:
        """Look; where the store does not answer, its machine being gone without a word, end this process."""
        answered = threading.Event()
        late = threading.Timer(SILENT * BEAT, self._unanswered, [answered])
        late.daemon = True
        late.start()
        try:
            return self._look()
        finally:
            answered.set()
            late.cancel()

    def _unanswered(self, answered: threading.Event) -> None:
        if not answered.wait(2 * BEAT):  # all processes may have been asleep
            self._end_without_store()

    def _look(self) -> str:
        """Say that this process lives; return why all must end, or nothing."""
        gone = self._gone_here()
        if 0 in gone and not _launcher_keeps_store():
            raise ConnectionError  # asked all the same, torch would write pages
        self.store.add(f"beat/{self.rank}", 1)
        if self.store.check(["stopped"]):
            return str(self.store.get("stopped").decode())
        heard = self.store.add(f"beat/{self._next}", 0)
        self._silent = self._silent + 1 if heard == self._heard else 0
        self._heard = heard
        if self._silent >= SILENT:
            gone.append(self._next)
        stopped = [rank for rank in gone if not self.store.check([f"left/{rank}"])]
        return self._stop(self._line(stopped[0])) if stopped else ""

    def _stop(self, message: str) -> str:
        """Make all processes end; return the message of the first that said so."""
        return str(self.store.compare_set("stopped", "", message).decode())

    def _line(self, rank: int, why: str = "") -> str:
        return f"process {rank} of {self.world} on {self._hosts[rank]} stopped{why and f' ({why})'}; {KEPT}"

    def _end(self, message: str, code: int) -> None:
        """End this process; the main one prints the message, or another where that cannot."""
        try:
            if self._failed:  # the main thread is on its way out, with a message of its own
                self._left.wait(LINGER)
            else:
                self._left.wait(0 if self.rank == 0 else 1.5 * BEAT)
                if self.store.add("told", 1) == 1:
                    console.error(f"cinetune: {message}")
                self._linger()
        finally:
            _exit(code)

    def _end_without_store(self) -> None:
        """End this process, whoever kept the store being gone."""
        if self.rank == (0 if _launcher_keeps_store() else 1):
            line = f"torchrun stopped on {os.environ['MASTER_ADDR']}; {KEPT}" if self.rank == 0 else self._line(0)
            console.error(f"cinetune: {line}")
        _exit(FAILED)

    def _linger(self) -> None:
        """Say that this process leaves; where it keeps the store, let the others go first."""
        self.store.set(f"left/{self.rank}", "")
        if self.rank or _launcher_keeps_store():
            return
        asleep = threading.Event()
        for _ in range(int(LINGER / 0.05)):
            others = {f"left/{rank}" for rank in range(1, self.world)} - {f"left/{rank}" for rank in self._gone_here()}
            if self.store.check(sorted(others)):
                return
            asleep.wait(0.05)

    def _gone_here(self) -> list[int]:
        return [rank for rank, process in self._near.items() if _gone(process)]


def _launcher_keeps_store() -> bool:
    """Whether torchrun keeps the store, or process 0 does."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _may_come_of_others(error: BaseException) -> bool:
    """Whether an error may be of a collective whose other side is gone. gloo's have no type of their own."""
    said = isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "NCCL", "Connection"))
    return said or isinstance(error, distributed.DistError)


def _namespace() -> str:
    """Return what tells apart containers of one host name, whose process ids mean different processes."""
    here = Path("/proc/self/ns/pid")
    return str(here.readlink()) if here.is_symlink() else ""


def _gone(process: int) -> bool:
    """Whether a process of this machine has ended; where the system does not say (not Linux), its silence will."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return Path("/proc/self/stat").exists()


def _exit(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the main thread may wait in a collective for ever
