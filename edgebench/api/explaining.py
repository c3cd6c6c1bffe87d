"""Makes or reads the explanation that `edgebench explain` prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgebench.api.result_files import files_of, records_of
from edgebench.api.run_options import parity_limit, resolved, workloads_of
from edgebench.errors import UsageError
from edgebench.explain.explanation import Explanation
from edgebench.explain.numeric_report import NumericReport
from edgebench.planning.cells import DEFAULT_BACKEND, opening
from edgebench.planning.run_parameters import DEFAULTS
from edgebench.planning.settings import parse_sets
from edgebench.text.did_you_mean import did_you_mean

_SHARED = ("model", "shapes", "ranges", "inputs", "folders", "sets", "timeout", "seed")


def explain_on_this_machine(
    params: Mapping[str, Any], say: Callable[[str], None]
) -> Explanation | NumericReport:
    """Profiles here, or compares numbers. `params`: the options of the command, by name."""
    from edgebench.assets import cache_dir
    from edgebench.calibration import own_calibration
    from edgebench.explain.cells_to_explain import cells_to_explain
    from edgebench.explain.make_explanation import Place, explain, explain_numbers
    from edgebench.probes import device_facts

    names = () if params["what"] is None else (params["what"],)
    given = {name: params[name] for name in _SHARED}
    options = resolved({**DEFAULTS, **given, "names": names})
    workload = workloads_of(options)[0]
    chosen = DEFAULT_BACKEND if params["model"] is None else opening(workload)[0]
    backend = params["backend"] or chosen
    against = "none" if params["numeric"] else params["against"]
    pair = cells_to_explain(workload, backend, parse_sets(options.sets), against)
    device = device_facts.detect().name
    place = Place(device, cache_dir(), own_calibration(cache_dir(), device))
    if not params["numeric"]:
        return explain(pair, options.settings, place, say)
    limit = None if params["limit"] is None else parity_limit(params["limit"], "--limit")
    reference = params["reference"]
    return explain_numbers(pair.subject, options.settings, place, reference, limit, say)


def explain_results(path: Path, params: Mapping[str, Any]) -> Explanation:
    """What records say by themselves. Raises StoreError where there are none, UsageError where several rows
    fit or none does."""
    from edgebench.analysis.table import build_table
    from edgebench.explain.stored_rows import explain_rows

    records = list(records_of(files_of([path])))
    profiles = {(r.run.id, r.cell.id): r.profile for r in records if r.profile is not None}
    table = build_table(records)
    chosen = {axis: values[0] for axis, values in parse_sets(params["sets"]).items()}
    names = [row.workload for row in table.rows]
    workload = params["workload"]
    if workload is not None and workload not in names:
        raise UsageError(f"{path} has no row of {workload!r}{did_you_mean(workload, names)}")
    rows = [row for row in table.rows if workload in (None, row.workload)]
    return explain_rows(rows, params["backend"], chosen, params["against"], profiles)
