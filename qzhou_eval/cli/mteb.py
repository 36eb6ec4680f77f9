"""``qzhou-eval mteb``: the English suite."""

from __future__ import annotations

from qzhou_eval.cli.options import DeviceOptions, ModelOptions, RunOptions, expand


@expand
def mteb(model: ModelOptions, run: RunOptions, device: DeviceOptions) -> int:
    """Run MTEB(eng, v2), the English suite of 41 tasks."""
    from qzhou_eval.cli.running import run_suite
    from qzhou_eval.suite.library import built_in

    return run_suite(built_in("mteb"), model, run, device)
