"""A process that makes one stage. What it imports is imported once, in the server that all of them are forked from."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection

import torch

from ..analyses import protocol  # noqa: F401
from ..process import quiet_libraries, set_up
from ..training import adversarial  # noqa: F401
from . import store
from .layout import Run
from .stage import Stage

DONE = "done"


def work(stage: Stage, run: Run, num_threads: int, level: int, slot: int, connection: Connection) -> None:
    """Makes a stage; sends the shares that are done, and at the end `DONE` or what it raised."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    quiet_libraries(level)
    set_up(num_threads)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    try:
        store.make(stage, run, lambda share: connection.send(float(share)))
    except Exception as error:
        connection.send(error)
    else:
        connection.send(DONE)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
