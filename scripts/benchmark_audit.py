"""How much faster is a whole audit with several workers?

    python scripts/benchmark_audit.py                                               # planted, few models
    python scripts/benchmark_audit.py --num_workers 4 --config sst.yaml --repeats 3 --ray

One worker with as many threads as the others have processes (what PyTorch chooses by itself), one worker with one
thread, several workers, and with `--ray` several workers of a Ray cluster on this machine take turns, each run in a
fresh directory, as a command of its own. What the schedule allows is the seconds of the stages of the run with one
thread, one after the other, over those of the same stages laid out for so many workers. Another busy process spoils the
times: the load average is printed with every run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import psutil
import yaml
from tabulate import tabulate

from hf_attn_faith.arguments import AuditArguments
from hf_attn_faith.run.audit import plan
from hf_attn_faith.run.schedule import makespan

FEW = {"dataset_name": "planted", "num_seeds": 2, "adversary_seeds": 2, "kl_weights": [0.02], "adversary_epochs": 4}
FEW |= {"num_train_epochs": 4}
ONE = "1 worker, 1 thread"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="settings of the audit (default: planted with few models)")
    parser.add_argument("--num_workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--ray", action="store_true", help="several workers of a local Ray cluster as well")
    options = parser.parse_args()
    settings = yaml.safe_load(Path(options.config).read_text(encoding="utf-8")) if options.config else FEW
    many = options.num_workers
    sides = {
        f"1 worker, {many} threads": {"num_workers": 1, "num_threads": many},
        ONE: {"num_workers": 1},
        f"{many} workers": {"num_workers": many},
    } | ({f"{many} workers of Ray": {"num_workers": many, "ray": "local"}} if options.ray else {})

    rows: list[list] = []
    walls, bounds = defaultdict(list), []
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(options.repeats):
            for side, overrides in sides.items():
                path = Path(folder) / f"{repeat}-{len(rows)}"
                config = settings | overrides | {"output_dir": str(path)}
                file = path.with_suffix(".yaml")
                file.write_text(yaml.safe_dump(config), encoding="utf-8")
                load = os.getloadavg()[0]
                seconds, peak = timed(file)
                walls[side].append(seconds)
                rows.append([side, seconds, peak / 2**20, load])
                print(*rows[-1], sep="\t", file=sys.stderr, flush=True)
                if side == ONE:
                    bounds.append(bound(AuditArguments(**config), path, many))
    print(tabulate(rows, ["audit with", "seconds", "peak MiB of a process", "load before"], floatfmt=".1f"))
    several = walls[f"{many} workers"]
    print(f"\n{many} workers; the schedule allows {median(bounds):.2f} times the speed of one with one thread.")
    for side, others in walls.items():
        if others is not several:
            ratios = [other / own for other, own in zip(others, several, strict=True)]
            print(f"{median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}] times as fast as {side}")


def timed(config: Path) -> tuple[float, int]:
    """Seconds of an audit, and the largest resident size that any of its processes had, in bytes."""
    command = [sys.executable, "-m", "hf_attn_faith.cli", "audit", "--config", str(config)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                driver = psutil.Process(process.pid)
                for each in (driver, *driver.children(recursive=True)):
                    peak = max(peak, each.memory_info().rss)
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.2)

    watching = threading.Thread(target=watch)
    watching.start()
    code = process.wait()
    seconds = time.perf_counter() - began
    watching.join()
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}.")
    return seconds, peak


def bound(config: AuditArguments, path: Path, workers: int) -> float:
    """What so many workers could gain at most, by the seconds of the stages of a finished run."""
    seconds = {s: json.loads((path / s.name / "stage.json").read_text())["seconds"] for s in plan(config)}
    return makespan(seconds, 1) / makespan(seconds, workers)


if __name__ == "__main__":
    main()
