import platform

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems have other libraries")


@glibc
def test_denormal_numbers_are_flushed_in_every_thread_whatever_the_process_did_before(run_python):
    printed = run_python(
        """
        import torch
        from hf_attn_faith.process import flushed_denormals

        torch.set_num_threads(2)
        numbers = torch.full((1_000_000,), 1e-40)

        def left():
            return (numbers * 0.5).count_nonzero().item()

        print(left())  # the threads are there now, and so they are after each of the following
        for again in range(2):
            with flushed_denormals():
                print(left())
            print(left())
        torch.set_flush_denormal(True)
        with flushed_denormals():
            pass
        print((numbers[:2] * 0.5).count_nonzero().item())  # as it was before
        """,
        without_package=False,
    )
    assert printed.split() == ["1000000", "0", "1000000", "0", "1000000", "0"]


@glibc
def test_freed_memory_is_kept_for_the_next_step(run_python):
    faults = run_python(
        """
        import ctypes
        import resource
        from hf_attn_faith.process import keep_freed_memory

        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        keep_freed_memory()
        for _ in range(3):  # the first one makes room
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            block = ctypes.c_void_p(libc.malloc(2**26))  # 64 MiB: 16,384 pages
            ctypes.memset(block, 1, 2**26)
            libc.free(block)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        """,
        without_package=False,
    )
    assert int(faults) < 100
