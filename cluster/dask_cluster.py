"""Stages on the nodes of Slurm or PBS: python cluster/dask_cluster.py --scheduler slurm --jobs 8 extract_features

Run it on a machine that submits jobs. It starts Dask's scheduler here, asks for `--jobs` jobs of one worker process a
core, and calls `dvc repro` with the Dask engine: the stages that work in jobs (features, patches, masks without
training, inpainting data, prompts) spread over the nodes, everything else runs here. Nodes need this folder at the same
path, with its environment. Workers begin as the queue grants them; one whose time is up loses what it is doing, and
another does it again. `--print` shows the job script and submits nothing.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / ".visage" / "logs"  # of the workers
PATIENCE = 300  # seconds that a worker may take to find the scheduler; imports from a busy network disk take minutes
SUBMIT = {"slurm": "sbatch", "pbs": "qsub"}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options.

    Raises:
        SystemExit: they make no sense, or jobs cannot be submitted from here.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scheduler", choices=SUBMIT, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="of the queue; each is a machine or a part of one")
    parser.add_argument("--cores", type=int, default=4, help="of a job: as many workers, of one thread each")
    parser.add_argument("--memory", default="16GB", help="of a job")
    parser.add_argument("--walltime", default="02:00:00", help="of a job, hours:minutes:seconds")
    parser.add_argument("--queue", help="or partition")
    parser.add_argument("--account", help="to be charged")
    parser.add_argument("--interface", help="network that the nodes share, such as ib0")
    parser.add_argument("--print", action="store_true", dest="show", help="the job script, and nothing else")
    parser.add_argument("stages", nargs="*", help="for dvc repro")
    options = parser.parse_args(arguments)
    if min(options.jobs, options.cores) < 1:
        parser.error("--jobs and --cores must be at least 1")
    if not options.show and not options.stages:
        parser.error("name the stages to run, such as extract_features, or use --print")
    try:
        from dask.utils import parse_bytes

        parse_bytes(options.memory)
    except ImportError:
        parser.error("Dask is not installed: pip install 'visage[dask]'")
    except ValueError:
        parser.error(f"--memory {options.memory}: it must be a size such as 16GB")
    command = SUBMIT[options.scheduler]
    if not options.show and not shutil.which(command):
        parser.error(f"{command} is not here: run on a machine that submits jobs, or use --print")
    return options


def open_cluster(options: argparse.Namespace) -> Any:
    """dask_jobqueue's cluster with a scheduler in this process and no worker yet; a context manager."""
    from dask_jobqueue import PBSCluster, SLURMCluster

    kind = {"slurm": SLURMCluster, "pbs": PBSCluster}[options.scheduler]
    return kind(
        job_name="visage",
        cores=options.cores,
        processes=options.cores,
        memory=options.memory,
        walltime=options.walltime,
        queue=options.queue,
        account=options.account,
        interface=options.interface,
        death_timeout=PATIENCE,
        log_directory=str(LOGS),
        job_script_prologue=[f"cd '{ROOT}'", f"export PYTHONPATH='{ROOT / 'src'}'${{PYTHONPATH:+:$PYTHONPATH}}"],
        scheduler_options={"dashboard_address": ":0"},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the job script, or run the stages; the exit code."""
    options = parse(arguments)
    with open_cluster(options) as cluster:
        if options.show:
            print(cluster.job_script(), end="")
            return 0
        cluster.scale(jobs=options.jobs)
        print(f"{options.jobs} jobs of {options.cores} workers asked for; their logs: {LOGS}", flush=True)
        environment = os.environ | {"VISAGE_ENGINE": "dask", "DASK_SCHEDULER_ADDRESS": cluster.scheduler_address}
        return subprocess.run(["dvc", "repro", *options.stages], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
