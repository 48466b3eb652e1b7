"""How much faster is a whole audit with several workers?

    python scripts/benchmark_audit.py                                               # planted, few models
    python scripts/benchmark_audit.py --num_workers 4 --config sst.yaml --repeats 3

One worker and several take turns, each run in a fresh directory, as a command of its own. What the schedule allows is
the seconds of the stages of the run with one worker, one after the other, over those of the same stages laid out for so
many workers. Another busy process spoils the times: the load average is printed with every run.
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

FEW = {"dataset_name": "planted", "num_seeds": 2, "adversary_seeds": 2, "kl_weights": [0.01], "adversary_epochs": 15}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="settings of the audit (default: planted with few models)")
    parser.add_argument("--num_workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    settings = yaml.safe_load(Path(options.config).read_text(encoding="utf-8")) if options.config else FEW

    rows, walls, bounds = [], defaultdict(list), []
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(options.repeats):
            for workers in (1, options.num_workers):
                path = Path(folder) / f"{repeat}-{workers}"
                config = settings | {"output_dir": str(path), "num_workers": workers}
                file = path.with_suffix(".yaml")
                file.write_text(yaml.safe_dump(config), encoding="utf-8")
                load = os.getloadavg()[0]
                seconds, peak = timed(file)
                walls[workers].append(seconds)
                if workers == 1:
                    bounds.append(bound(AuditArguments(**config), path, options.num_workers))
                rows.append([workers, seconds, peak / 2**20, load])
    print(tabulate(rows, ["workers", "seconds", "peak MiB of a process", "load before"], floatfmt=".1f"))
    ratio = median(one / several for one, several in zip(*walls.values(), strict=True))
    allowed = median(bounds)
    told = f"\n{options.num_workers} workers are {ratio:.2f} times as fast as one; the schedule allows {allowed:.2f}"
    print(f"{told}: {ratio / allowed:.0%} of it.")


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
