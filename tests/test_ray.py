"""Stages on Ray: the same tables, whatever is lost meanwhile."""

import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
from test_audit import config, finished, options, render_report, tables  # noqa: F401

from hf_attn_faith.errors import InputError
from hf_attn_faith.run import store
from hf_attn_faith.run.audit import plan, run_audit
from hf_attn_faith.run.layout import Run

ray_executor = pytest.importorskip("hf_attn_faith.run.ray_executor")


def arguments(path, **settings):
    """Of `work`, for the first stage of a run, as the driver would give them."""
    run = Run(path)
    given = {"number": (path / store.LOCK).stat().st_ino, "num_threads": 1, "level": 30}
    given |= {"directory": os.getcwd(), "versions": store.versions()}
    return {"stage": plan(config(path))[0], "run": run, **given, **settings}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"number": 0}, "`output_dir` .*run, or the working directory .*, is not seen from "),
        ({"directory": "/nowhere"}, "`output_dir` .*run, or the working directory /nowhere, is not seen from "),
        ({"versions": {"torch": "0.4"}}, "`ray`: .* has other versions, .*, than {'torch': '0.4'}: install the same"),
    ],
)
def test_a_worker_refuses_what_it_cannot_see_and_other_versions(tmp_path, settings, message):
    path = tmp_path / "run"
    path.mkdir()
    (path / store.LOCK).touch()
    error = ray_executor.work(**arguments(path, **settings))
    assert isinstance(error, InputError)
    with pytest.raises(InputError, match=message):
        raise error
    assert not (path / "data").exists()


@pytest.mark.slow
def test_ray_on_this_machine_ends_in_the_same_tables(finished, tmp_path):  # noqa: F811
    run = tmp_path / "run"
    run_audit(config(run, ray="local", num_workers=2), progress=False)
    render_report(run)
    assert tables(run) == tables(finished)
    assert not list(run.rglob(".*.unfinished")) and not list(run.rglob("*.share"))


@pytest.mark.slow
def test_a_machine_that_is_lost_in_mid_stage(finished, tmp_path):  # noqa: F811
    """Its stage is made again on the other one, once the lost one's process has let go of it."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    run = tmp_path / "run"
    shutil.copytree(finished / "data", run / "data")
    shutil.copytree(finished / "models" / "base", run / "models" / "base")
    shutil.copy(finished / "audit.yaml", run)

    def lose():
        while len(list((run / "models").glob(".*.unfinished"))) < 2:
            time.sleep(0.01)
        cluster.remove_node(nodes[0], allow_graceful=False)

    thread = threading.Thread(target=lose, daemon=True)
    thread.start()
    try:
        run_audit(config(run, ray=cluster.address, num_workers=None), progress=False)
    finally:
        cluster.shutdown()
    thread.join(1)
    assert not thread.is_alive()  # a machine was lost
    render_report(run)
    assert tables(run) == tables(finished)


@pytest.mark.slow
def test_a_lost_head_is_told_in_a_line_and_the_run_goes_on(finished, tmp_path):  # noqa: F811
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    run = tmp_path / "run"
    command = [sys.executable, "-m", "hf_attn_faith.cli", "audit", *options(run), "--ray", cluster.address]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while not list((run / "models").glob(".*.unfinished")) and process.poll() is None:
            time.sleep(0.01)
        cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        said = process.communicate(timeout=120)[1]
    finally:
        process.kill()
        cluster.shutdown()
    assert process.returncode == 1, said
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert "the head of the cluster" in last and last.endswith("give the same command, or leave --ray out.")
    run_audit(config(run), progress=False)
    render_report(run)
    assert tables(run) == tables(finished)
