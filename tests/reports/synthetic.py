"""A study in a ledger, of four arms whose truth is known, made in a second and without training.

Scores are a patient's difficulty plus signal plus noise; the signal falls with the resolution of
the information, and not with the grid.
"""

from fractions import Fraction
from types import MappingProxyType

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from mlp_med.ledger import study_run, write
from tests.studies.cells import FIELDS

ARMS = {
    "1.25mm": (1.25, 1.25, 2.2),
    "2.5mm": (2.5, 2.5, 1.8),
    "5mm": (5.0, 5.0, 1.2),
    "5mm upsampled to 1.25mm": (5.0, 1.25, 1.25),
}
PART = " of the patients"  # "5mm, 1/2 of the patients"
LOST_PER_HALVING = 0.3  # of the signal
EVALUATIONS = 6
BUDGET = 12_000


def truth_of(arm):
    """Resolution, grid, signal and training fraction of an arm by its name."""
    whole, _, part = arm.partition(", ")
    resolution, grid, signal = ARMS[whole]
    fraction = float(Fraction(part.removesuffix(PART))) if part else 1.0
    return resolution, grid, signal + LOST_PER_HALVING * np.log2(fraction), fraction


def cell_of(arm, seed, dataset="luna16", fold=-1):
    resolution, grid, _, fraction = truth_of(arm)
    return {
        **FIELDS,
        "dataset": dataset,
        "dataset_digest": f"{resolution}".encode().hex().ljust(64, "0"),
        "resolution": resolution,
        "grid": grid,
        "control": "information" if grid < resolution else "none",
        "model": "residual-3d",
        "global_batch_size": 16,
        "budget_examples": BUDGET,
        "fold": fold,
        "training_fraction": fraction,
        "num_evaluations": EVALUATIONS,
        "intra_op_threads": 2,
        "seed": seed,
    }


def plan_of(
    claim,
    *,
    num_seeds=5,
    phantom=True,
    dataset="luna16",
    patients_known=True,
    arms=tuple(ARMS),
    folds=(-1,),
    task="",
    **more,
):
    num_patients = {"train": 200, "validation": 40, "test": 50} if patients_known else None
    return {
        "name": "resolution_matters",
        "question": "Does finer resolution make a nodule classifier better?",
        "size": "small",
        "claim": claim,
        "dataset": {
            "name": dataset,
            "data_dir": "/data/tensorflow_datasets",
            "source": "/data/luna16",
            "source_digest": "5" * 64,
            "phantom": phantom,
            "unit": "mm",
            "num_cases": {"train": 800, "validation": 160, "test": 200},
            "num_positive": {"train": 400, "validation": 80, "test": 100},
            "num_patients": num_patients,
            "task": task,
        },
        "code_digest": "c0de" * 4,
        "no_verdict_reason": None,
        "cells": [
            {
                "hash": f"{arm}/{seed}/{fold}",
                "arm": arm,
                "params": cell_of(arm, seed, dataset, fold),
            }
            for seed in range(num_seeds)
            for arm in arms
            for fold in folds
        ],
        **more,
    }


def predictions_of(arm, seed, *, num_patients=50, cases_each=4, patients_known=True):
    """Scores for the same cases in every arm: the same patients are hard in each of them."""
    cases = np.random.default_rng(7)
    num_cases = num_patients * cases_each
    patient = np.repeat(np.arange(num_patients), cases_each)
    label = np.tile([0, 1], num_cases // 2)
    difficulty = cases.normal(size=num_patients)[patient] + cases.normal(size=num_cases)
    diameter = np.where(label == 1, cases.lognormal(1.8, 0.5, num_cases), 0.0)
    _, _, signal, _ = truth_of(arm)
    noise = np.random.default_rng([seed, *arm.encode()]).normal(size=num_cases)
    logit = signal * (label - 0.5) * 2 * (0.5 + (diameter > 6) * 0.3) + difficulty + 0.5 * noise
    spacing = cases.choice([1.0, 1.25, 2.0, 2.5], num_patients)[patient]
    return pd.DataFrame(
        {
            "id": [f"case{i:04d}" for i in range(num_cases)],
            "patient": [f"patient{p:03d}" if patients_known else "" for p in patient],
            "seed": seed,
            "label": label.astype("int8"),
            "score": (1 / (1 + np.exp(-logit))).astype("float32"),
            "fold": -1,
            "diameter_mm": diameter,
            # Patches of unknown patients are all of one camera.
            "native_spacing_mm": spacing if patients_known else 0.00097,
        }
    )


def of_fold(predictions, fold, plan):
    """The cases of one fold, scored on a scale of its own; all of them without folds."""
    folds = sorted({cell["params"]["fold"] for cell in plan["cells"]})
    if fold < 0:
        return predictions
    number = predictions["id"].str.removeprefix("case").astype(int) // 4  # of the patient
    own = predictions[number % len(folds) == folds.index(fold)]
    return own.assign(fold=fold, score=own["score"] ** (1 + fold))


def finish(ledger, run_id, arm, seed, predictions):
    """Gives a started cell curves, figures and predictions that depend on its arm and seed only."""
    _, grid, signal, _ = truth_of(arm)
    wobble = np.random.default_rng([seed, 3, *arm.encode()])
    seen = np.linspace(0, BUDGET, EVALUATIONS + 1)[1:].astype(int)
    seconds = 4 + 90 / grid**1.5
    curve = pd.DataFrame(
        {
            "examples_seen": seen,
            "train_loss": 0.7 * np.exp(-seen / 5_000),
            "validation_loss": 0.7 * np.exp(-seen / 7_000) + 0.1,
            "validation_auc": 0.5
            + 0.2 * signal * (1 - np.exp(-seen / (1_000 * 2 / grid)))
            + wobble.normal(scale=0.005, size=EVALUATIONS),
            "seconds_elapsed": seconds * seen / BUDGET,
        }
    )
    write.log_curve(ledger, run_id, curve)
    metrics = {
        "test_auc": roc_auc_score(predictions["label"], predictions["score"]),
        "best_validation_auc": float(curve["validation_auc"].max()),
        "seconds_total": seconds + 6,
        "seconds_startup": 5.0 if seed else 9.0,
        "seconds_training": seconds,
        "seconds_evaluation": 1.0,
        "examples_per_second": BUDGET / seconds,
        "peak_memory_bytes": 6.0e8 + 9e8 / grid**2,
        "base_memory_bytes": 5.0e8,
        "peak_memory_above_base_bytes": 1.0e8 + 9e8 / grid**2,
        "num_parameters": 120_000,
    }
    write.finish_cell(ledger, run_id, metrics, predictions)


def write_study(
    ledger,
    claim,
    *,
    num_seeds=5,
    failed=(("5mm", 1),),
    running=(("2.5mm", 2),),
    message="loss became NaN at step 310",
    phantom=True,
    patients_known=True,
    study_hash="study0",
    columns=MappingProxyType({}),
    **more,
):
    """Writes the study; `failed` and `running` name cells by (arm, seed).

    `columns` are more of the predictions': a value for every two cases, which are of both classes.

    Returns:
        The run id of the study.
    """
    plan = plan_of(
        claim, num_seeds=num_seeds, phantom=phantom, patients_known=patients_known, **more
    )
    about = {
        "phantom": str(phantom).lower(),
        "dataset": plan["dataset"]["name"],
        "size": plan["size"],
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "machine": "AMD EPYC, 2 cores, 24 GiB, Linux",
        "version.mlp_med": "0.1.0",
        "version.tensorflow": "2.21.0",
        "version.keras": "3.15.0",
    }
    study = study_run.start_study(ledger, plan["name"], study_hash, plan, about)
    for cell in plan["cells"]:
        arm, seed = cell["arm"], cell["params"]["seed"]
        digest = cell["params"]["dataset_digest"]
        config = f"{cell['params']['resolution']:g}mm"
        dataset = write.DatasetInput(f"{plan['dataset']['name']}/{config}", digest, "/data/luna16")
        run_id = write.start_cell(ledger, study, cell["params"], cell["hash"], arm, about, dataset)
        if (arm, seed) in failed:
            write.fail_cell(ledger, run_id, "non_finite_loss", message)
        elif (arm, seed) not in running:
            predictions = predictions_of(arm, seed, patients_known=patients_known)
            for name, values in columns.items():
                predictions[name] = np.resize(np.repeat(values, 2), len(predictions))
            predictions = of_fold(predictions, cell["params"]["fold"], plan)
            finish(ledger, run_id, arm, seed, predictions)
    study_run.finish_study(ledger, study)
    return study
