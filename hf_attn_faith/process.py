"""What is set for a whole process: denormal numbers, memory, threads, garbage collection, who speaks."""

import csv
import ctypes
import gc
import logging
import platform
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any

import datasets
import torch
from huggingface_hub.utils import logging as hub_logging
from threadpoolctl import threadpool_info
from transformers.utils import logging as transformers_logging


def set_up(num_threads: int | None) -> None:
    """For a process that works on commands or stages, after its imports.

    Args:
        num_threads: threads of PyTorch; None leaves its own choice.
    """
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    # Trainer collects garbage before every training; what is imported by now need not be looked at each time.
    gc.freeze()


def beside_each_other(function: Callable[[Any], None], parts: Iterator) -> None:
    """Calls a function with each of the parts, in as many threads as PyTorch has, each of which computes alone: for
    work whose steps are too small to be shared out among them."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)  # also in threads that begin now
    try:
        with ThreadPoolExecutor(number) as pool:
            while some := list(islice(parts, number)):
                list(pool.map(function, some))
    finally:
        torch.set_num_threads(number)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Treats denormal numbers as zero, in this thread and in all that compute for it; afterwards all is as before.

    A CPU is 30 to 2,000 times slower on them, and training makes them: Adam's averages of rare words' gradients, and
    the gradients of an attention that is all on one token, shrink to nothing.
    """
    before = _denormals_are_flushed()
    _flush_denormals(True)
    try:
        yield
    finally:
        _flush_denormals(before)


def _flush_denormals(flush: bool) -> None:
    # The switch is the calling thread's. Threads take it over when they are made, so those that exist have to go:
    # OpenMP makes new ones when it needs them. (Windows' OpenMP cannot, and keeps those it has.)
    torch.set_flush_denormal(flush)
    for library in threadpool_info():
        if library["user_api"] == "openmp":
            openmp = ctypes.CDLL(library["filepath"])
            if hasattr(openmp, "omp_pause_resource_all"):
                openmp.omp_pause_resource_all(2)  # omp_pause_hard


def _denormals_are_flushed() -> bool:
    return (torch.tensor([1e-40]) * 0.5).item() == 0


def keep_freed_memory() -> None:
    """glibc gives large blocks back to the system when they are freed; the gradient of a large embedding would then
    be mapped anew, page by page, at every step."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 2**30)  # M_MMAP_THRESHOLD
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def allow_long_cells() -> None:
    """The csv module refuses cells of more than 128 KiB; a text may be longer."""
    csv.field_size_limit(sys.maxsize)


def quiet_libraries(level: int) -> None:
    """For a process that tells of everything itself: of libraries only errors are heard, of this package messages from
    `level` on, on stderr."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger(__package__).setLevel(level)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub_logging.disable_propagation()  # it prints its messages itself
    datasets.disable_progress_bars()
