"""What every page that carries a verdict shows of it: flags, contrasts, arms, and the template."""

import base64
from collections.abc import Mapping
from functools import cache

import jinja2

from mlp_med.evidence.contrast import Contrast
from mlp_med.evidence.controls import Controls
from mlp_med.evidence.table import ArmRow
from mlp_med.evidence.verdict import Verdict
from mlp_med.reports import formatting as f

PHANTOM_MARK = " – phantom"
CONTRAST_HEADER = (
    "contrast",
    "arms",
    "effect",
    "95 % interval",
    "standard error",
    "df",
    "cross-check SE",
    "patients",
    "seeds",
)


def phantom_mark(is_phantom: bool) -> str:
    """What the title of every figure and table about a phantom ends in."""
    return PHANTOM_MARK if is_phantom else ""


def render_template(name: str, verdict: Verdict, values: Mapping[str, object]) -> str:
    """Fills a template that extends base.html, with escaping on.

    Args:
        name: of the template.
        verdict: stands above everything else.
        values: what the template asks for besides.
    """
    head = {
        "mark": phantom_mark(verdict.phantom),
        "phantom": verdict.phantom,
        "sentence": verdict.sentence,
        "outcome": verdict.outcome or "none",
        "outcome_words": verdict.outcome or "no verdict",
        "badges": _badges(verdict),
        "controls": control_lines(verdict.controls),
        "contrast_header": CONTRAST_HEADER,
    }
    return template_environment().get_template(name).render(head | dict(values))


def contrast_row(name: str, arms: tuple[str, str], contrast: Contrast) -> list[str]:
    """A row under `CONTRAST_HEADER`."""
    a, b = contrast.num_seeds
    return [
        name,
        " − ".join(arms),
        f.difference(contrast.effect),
        f.interval(contrast.ci_low, contrast.ci_high, signed=True),
        f.standard_error(contrast.standard_error),
        f.degrees_of_freedom(contrast.degrees_of_freedom),
        f.standard_error(contrast.cross_check_standard_error),
        "unknown" if contrast.num_patients is None else f.count(contrast.num_patients),
        f"{a}" if a == b else f"{a}, {b}",
    ]


def arm_numbers(row: ArmRow) -> list[str]:
    """Mean AUC, standard error over seeds, interval and number of seeds of an arm."""
    return [
        f.auc(row.estimate.mean_auc),
        f.standard_error(row.standard_error),
        f.interval(row.estimate.ci_low, row.estimate.ci_high),
        f.count(row.num_seeds),
    ]


def inline_figures(figures: Mapping[str, bytes]) -> dict[str, str]:
    """SVG files by name, as a page holds them inside itself."""
    return {name: in_base64(svg) for name, svg in figures.items()}


def in_base64(content: bytes) -> str:
    """The content of a data: address."""
    return base64.b64encode(content).decode()


@cache
def template_environment() -> jinja2.Environment:
    """Where the templates are, with escaping on."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("mlp_med.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def control_lines(controls: Controls | None) -> list[tuple[str, str]]:
    """Each control that was run, with whether it came out as it must and what was found."""
    outcomes = controls.outcomes if controls else ()
    return [
        (f"{outcome.name} control {'passed' if outcome.passed else 'FAILED'}", outcome.summary)
        for outcome in outcomes
    ]


def _badges(verdict: Verdict) -> list[str]:
    controls = verdict.controls.status if verdict.controls else "not ours to run"
    flags = {
        "phantom": verdict.phantom,
        "equivalent": verdict.equivalent,
        "reversed": verdict.reversed,
        "grid, not information": verdict.grid_not_information,
        "provisional": verdict.provisional,
        "exploratory": verdict.exploratory,
        f"controls {controls}": True,
    }
    return [name for name, is_set in flags.items() if is_set]
