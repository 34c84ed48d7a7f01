"""The process that reads mutants: python -m tests.fuzzing.reading FORMAT FOLDER FIRST STOP

It tells before each mutant that it begins, and after it what came of it, a JSON line each, so that
its parent knows which one a dead or silent process was reading.
"""

import faulthandler
import json
import os
import re
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path

from mlp_med.errors import MlpMedError
from tests.fuzzing.formats import FORMATS, Case
from tests.fuzzing.mutations import mutant

MEMORY_LIMIT = 512 << 20  # of address space, above what the process has after reading sound files
SEED = 0


# Libraries print what they like: only this file speaks to the parent.
TOLD = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
RESET_PEAK = Path("/proc/self/clear_refs").open("wb", buffering=0)  # noqa: SIM115
STATUS = Path("/proc/self/status").open("rb", buffering=0)  # noqa: SIM115


def main(name: str, folder: str, first: str, stop: str) -> None:
    faulthandler.enable()  # where a library ends the process, its parent is told where
    warnings.simplefilter("ignore")
    cases = FORMATS[name].draw(Path(folder))
    sound = [case.file.read_bytes() for case in cases]
    for case in cases:
        case.read()  # a seed that cannot be read would make every mutant a refusal
    limit = _status("VmSize") + MEMORY_LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(int(first), int(stop)):
        _tell(number, "begins")
        case, data = cases[number % len(cases)], sound[number % len(cases)]
        case.file.write_bytes(mutant(data, f"{SEED} {name} {number}", text=case.text))
        _tell(number, **_outcome(case))
        case.file.write_bytes(data)


def _outcome(case: Case) -> dict[str, object]:
    RESET_PEAK.write(b"5")
    before, started = _status("VmRSS"), time.perf_counter()
    try:
        case.read()
        found = {"state": "read"}
    except MlpMedError as error:
        wants = _want_of_memory(error)
        found = {"state": "memory" if wants else "refused", "kind": type(error).__name__}
        found |= {"detail": wants or str(error)[:300]}
    except MemoryError:
        found = {"state": "memory", "detail": traceback.format_exc()}
    except Exception as error:
        found = {"state": "defect", "kind": type(error).__name__, "detail": traceback.format_exc()}
    found["seconds"] = time.perf_counter() - started
    found["peak"] = max(_status("VmHWM") - before, 0)
    return found


def _want_of_memory(error: BaseException | None) -> str:
    """A library's complaint, anywhere in the chain, that it got no memory; "" if there is none."""
    while error is not None:
        text = f"{type(error).__name__} {error}"
        if re.search(r"bad.?alloc|allocat|MemoryError|out of memory", text):
            return text
        error = error.__cause__ or error.__context__
    return ""


def _status(name: str) -> int:
    """Bytes, of this process."""
    STATUS.seek(0)
    found = re.search(rf"{name}:\s+(\d+) kB", STATUS.read().decode())
    assert found
    return int(found[1]) * 1024


def _tell(number: int, state: str, **more: object) -> None:
    print(json.dumps({"number": number, "state": state, **more}), file=TOLD, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
