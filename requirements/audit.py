"""Looks every locked dependency up among the known vulnerabilities, by pip-audit.

    python requirements/audit.py LOCK…

pip-audit ends well where its service does not answer, or knows nothing of a package; here that is
an error, since nothing was looked up. Exit code: 0, all were looked up and none is vulnerable; 1,
some are; 3, some could not be looked up.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

SECONDS = 600
OPTIONS = ("--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off")
FOUND, UNKNOWN = 1, 3


def audit(lock: str) -> int:
    """Audits one lock and tells of it; the exit code."""
    beside = Path(sys.executable).with_name("pip-audit")
    command = str(beside) if beside.exists() else shutil.which("pip-audit") or "pip-audit"
    try:
        ended = subprocess.run(
            [command, "--requirement", lock, *OPTIONS],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        packages = json.loads(ended.stdout)["dependencies"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        said = ended.stderr.strip().splitlines()[-1:] if "ended" in locals() else [str(error)]
        print(f"{lock}: NOT AUDITED: {' '.join(said) or error}")
        return UNKNOWN
    looked_up = [package for package in packages if "skip_reason" not in package]
    left_out = [package for package in packages if "skip_reason" in package]
    vulnerable = [package for package in looked_up if package["vulns"]]
    for package in vulnerable:
        for known in package["vulns"]:
            fixed = ", ".join(known["fix_versions"]) or "no version yet"
            print(f"{lock}: {package['name']} {package['version']}: {known['id']}, fixed: {fixed}")
    if left_out:
        first = left_out[0]
        print(
            f"{lock}: NOT AUDITED: {len(left_out)} of {len(packages)} packages, the first "
            f"{first['name']} ({first['skip_reason']}). Can its service be reached from here?"
        )
    print(f"{lock}: {len(looked_up)} packages looked up, {len(vulnerable)} vulnerable")
    return FOUND if vulnerable else UNKNOWN if left_out or not looked_up else 0


if __name__ == "__main__":
    codes = [audit(lock) for lock in sys.argv[1:]]
    sys.exit(FOUND if FOUND in codes else max(codes, default=UNKNOWN))
