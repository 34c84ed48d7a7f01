"""How often the verdict errs where it is hardest: studies whose true effect is the margin.

There "supported" and "refuted" are both false, and either should occur in at most 2.5 % of
studies. A record of simulated studies is kept in experiments/calibration.json, with a digest of
the code that it depends on, so that a reader can tell when it is stale. It is re-made by

    python -m mlp_med.evidence.calibration --simulations 2000 --out experiments/calibration.json

A rate is called within Monte Carlo error of 2.5 % unless its one-sided 97.5 % lower limit
(Clopper & Pearson 1934) exceeds that. The rule is not relaxed for the number of settings: of rates
of exactly 2.5 %, one in forty would be called above it.

C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404–413.
"""

import argparse
import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from scipy.stats import beta

from mlp_med.errors import EvidenceError
from mlp_med.evidence.simulation import SimulatedStudy, simulate_intervals
from mlp_med.json_records import read_json_object

MARGIN = 0.01
NOMINAL = 0.025  # of either error
NUM_BOOTSTRAP = 100  # in a simulated study; real ones have 2,000
POWER_SHARE = 4  # power is simulated with this fraction of the studies: it needs less precision
SOURCES = ("metrics", "resampling", "clustered", "variance", "contrast", "simulation")
RATES = ("false_supported", "false_refuted", "coverage", "power")
SEED_SDS = ((0.0, 0.0), (0.01, 0.01), (0.02, 0.02), (0.05, 0.05), (0.05, 0.005), (0.005, 0.05))
FEWER_SEED_SDS = ((0.0, 0.0), (0.05, 0.005))


@dataclass(frozen=True)
class Setting:
    """One kind of study whose errors are counted.

    Attributes:
        num_seeds: of either arm.
        seed_sd: standard deviation of the AUC over seeds, arm a and arm b.
        auc: of the arm that is not better.
        num_patients: of the test split.
        max_cases_per_patient: 1, or each patient gives from 1 to this many crops.
    """

    num_seeds: int
    seed_sd: tuple[float, float]
    auc: float
    num_patients: int
    max_cases_per_patient: int

    def study(self, effect: float) -> SimulatedStudy:
        """Such a study with this true effect."""
        return SimulatedStudy(
            effect=effect,
            auc=self.auc,
            seed_sd=self.seed_sd,
            num_seeds=(self.num_seeds, self.num_seeds),
            num_patients=self.num_patients,
            max_cases_per_patient=self.max_cases_per_patient,
        )


def settings() -> tuple[Setting, ...]:
    """The settings of the record: every seed SD with 200 patients, fewer where those are few."""
    sizes = (
        (200, 1, SEED_SDS),
        (30, 1, FEWER_SEED_SDS),
        (30, 5, FEWER_SEED_SDS),
        (200, 3, FEWER_SEED_SDS),
    )
    return tuple(
        Setting(num_seeds, seed_sd, auc, num_patients, most_cases)
        for num_patients, most_cases, seed_sds in sizes
        for auc in (0.8, 0.93)
        for num_seeds in (3, 5, 10)
        for seed_sd in seed_sds
    )


def calibrate(
    num_simulations: int,
    *,
    chosen: Sequence[Setting] | None = None,
    num_bootstrap: int = NUM_BOOTSTRAP,
    num_processes: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """Counts the errors of simulated studies.

    Args:
        num_simulations: studies a setting at effect = margin; a quarter as many for the power.
        chosen: the settings; those of the record where None.
        num_bootstrap: resamples of the patients in each study.
        num_processes: settings simulated at once; the table does not depend on it.
        seed: of the draws.

    Returns:
        One row a setting: its fields (seed_sd_a, seed_sd_b), num_simulations,
        num_power_simulations, mean_width, and of each of RATES the rate with its exact 95 %
        Monte Carlo interval (`power`, `power_low`, `power_high`).
    """
    return pd.DataFrame(
        list(
            _rows(
                settings() if chosen is None else chosen,
                num_simulations,
                num_bootstrap,
                num_processes,
                seed,
            )
        )
    )


def _rows(
    chosen: Sequence[Setting],
    num_simulations: int,
    num_bootstrap: int,
    num_processes: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    work = partial(
        calibrate_setting, num_simulations=num_simulations, num_bootstrap=num_bootstrap, seed=seed
    )
    if num_processes == 1:
        yield from map(work, chosen)
        return
    with get_context("spawn").Pool(num_processes) as pool:
        yield from pool.imap(work, chosen)


def calibrate_setting(
    setting: Setting, *, num_simulations: int, num_bootstrap: int, seed: int
) -> dict[str, Any]:
    """One row of `calibrate`."""
    seed = crc32(f"{seed} {setting}".encode())  # so that settings do not err together
    _, low, high = simulate_intervals(
        setting.study(MARGIN),
        num_simulations=num_simulations,
        num_bootstrap=num_bootstrap,
        seed=seed,
    )
    num_power = max(1, num_simulations // POWER_SHARE)
    _, power_low, _ = simulate_intervals(
        setting.study(2 * MARGIN),
        num_simulations=num_power,
        num_bootstrap=num_bootstrap,
        seed=seed + 1,
    )
    supported, refuted = int((low > MARGIN).sum()), int((high < MARGIN).sum())
    counts = {
        "false_supported": (supported, num_simulations),
        "false_refuted": (refuted, num_simulations),
        "coverage": (num_simulations - supported - refuted, num_simulations),
        "power": (int((power_low > MARGIN).sum()), num_power),
    }
    row = asdict(setting)
    row["seed_sd_a"], row["seed_sd_b"] = row.pop("seed_sd")
    row |= {"num_simulations": num_simulations, "num_power_simulations": num_power}
    row["mean_width"] = float(np.mean(high - low))
    for rate, (count, total) in counts.items():
        row[rate] = count / total
        row[f"{rate}_low"], row[f"{rate}_high"] = exact_interval(count, total)
    return row


def exact_interval(count: int, total: int) -> tuple[float, float]:
    """Two-sided 95 % interval of a rate (Clopper & Pearson): each side is one-sided 97.5 %."""
    low = 0.0 if count == 0 else float(beta.ppf(0.025, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(0.975, count + 1, total - count))
    return low, high


def exceeding(table: pd.DataFrame) -> pd.DataFrame:
    """The settings with an error rate above 2.5 % by more than Monte Carlo error."""
    worst = table[["false_supported_low", "false_refuted_low"]].max(axis=1)
    return table[worst > NOMINAL]


def evidence_digest() -> str:
    """SHA-256 of the code that a record depends on, comments, docstrings and layout left out."""
    digest = hashlib.sha256(repr((settings(), MARGIN, NUM_BOOTSTRAP)).encode())
    for name in SOURCES:
        tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
        digest.update(ast.unparse(_without_docstrings(tree)).encode())
    return digest.hexdigest()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@dataclass(frozen=True)
class CalibrationRecord:
    """What was simulated, and with which code.

    Attributes:
        digest: `evidence_digest()` of that code.
        command: that re-makes it.
        seconds: that it took.
        table: as `calibrate` returns it.
    """

    digest: str
    command: str
    seconds: float
    table: pd.DataFrame

    @property
    def stale(self) -> bool:
        """The evidence code has changed since."""
        return self.digest != evidence_digest()


def write_record(record: CalibrationRecord, path: Path) -> None:
    """Writes the record as JSON."""
    content = {
        "digest": record.digest,
        "command": record.command,
        "seconds": round(record.seconds, 1),
        "margin": MARGIN,
        "num_bootstrap": NUM_BOOTSTRAP,
        "settings": json.loads(record.table.to_json(orient="records", double_precision=6)),
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_record(path: Path) -> CalibrationRecord | None:
    """The record at `path`; None where there is none.

    Raises:
        EvidenceError: the file is no such record.
    """
    if not path.is_file():
        return None
    try:
        content = read_json_object(path, EvidenceError, "make it again")
        table = pd.DataFrame(content["settings"])
        record = CalibrationRecord(
            str(content["digest"]), str(content["command"]), float(content["seconds"]), table
        )
        lacking = [rate for rate in RATES if rate not in table]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceError(f"{path} is no calibration record ({error}); make it again.") from error
    if lacking:
        raise EvidenceError(f"{path} lacks {', '.join(lacking)}; make it again.")
    return record


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of the module."""
    parser = argparse.ArgumentParser(description="Simulates studies whose effect is the margin.")
    parser.add_argument("--simulations", type=int, default=2000, help="studies a setting")
    parser.add_argument("--processes", type=int, default=1, help="settings simulated at once")
    parser.add_argument("--out", type=Path, default=Path("experiments/calibration.json"))
    options = parser.parse_args(arguments)
    command = (
        f"python -m mlp_med.evidence.calibration --simulations {options.simulations} "
        f"--out experiments/{options.out.name}"
    )
    record = CalibrationRecord(evidence_digest(), command, 0.0, pd.DataFrame())
    start, chosen, rows = perf_counter(), settings(), []
    for row in _rows(chosen, options.simulations, NUM_BOOTSTRAP, options.processes, 0):
        rows.append(row)
        seconds = perf_counter() - start
        print(
            f"{len(rows)} of {len(chosen)} settings, {seconds:.0f} s: false supported "
            f"{row['false_supported']:.1%}, false refuted {row['false_refuted']:.1%}",
            file=sys.stderr,
            flush=True,
        )
        record = replace(record, seconds=seconds, table=pd.DataFrame(rows))
    write_record(record, options.out)


if __name__ == "__main__":
    main()
