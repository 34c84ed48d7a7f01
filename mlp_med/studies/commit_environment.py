"""The code of a commit and the environment of its lock, each in a place of its own.

Nothing is added to the user's repository: the code is a clone that borrows its objects. The
environment depends on the lock alone and serves every commit that has the same one.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlp_med.errors import StudyError

LOCKS = ("requirements/study.txt", "requirements/test.txt")  # the first that the commit has
COMPLETE = "complete"
LINES_OF_OUTPUT = 5

Installer = Callable[[Path, Path], None]


@dataclass(frozen=True)
class CommitEnvironment:
    """What runs the code of a commit.

    Attributes:
        commit: 40 hexadecimal digits.
        code: a directory with that commit checked out.
        python: interpreter of the environment of its lock.
        lock: path of the lock in the commit.
        lock_digest: SHA-256 of the lock.
    """

    commit: str
    code: Path
    python: Path
    lock: str
    lock_digest: str


def make_commit_environment(
    repository: Path, revision: str, directory: Path, *, install: Installer | None = None
) -> CommitEnvironment:
    """Checks out a commit and installs its lock, or takes what is there from before.

    Args:
        repository: the git repository of mlp_med.
        revision: a commit, branch or tag.
        directory: holds `code-COMMIT` and `environment-LOCK` for each.
        install: makes an environment at a path from a lock; pip with hashes if None.

    Raises:
        StudyError: there is no such commit, it has no lock, the tree has changes that a commit
            asked for as HEAD lacks, or the installation fails.
    """
    commit = resolve_commit(repository, revision)
    directory = directory.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory):
            code = _check_out(repository, commit, directory)
            lock = _find_lock(code, commit)
            digest = hashlib.sha256((code / lock).read_bytes()).hexdigest()
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            place = directory / f"environment-{digest[:16]}-python{version}"
            _install_once(code / lock, place, install or install_with_pip)
    except OSError as error:
        raise StudyError(
            f"cannot make the environment of {commit[:12]} in {directory}: {error}; give another "
            "place with --environments"
        ) from error
    return CommitEnvironment(commit, code, place / "bin" / "python", lock, digest)


def resolve_commit(repository: Path, revision: str) -> str:
    """The 40 digits of a commit.

    Raises:
        StudyError: it is unknown, or it is HEAD while the tree has changes that it lacks.
    """
    if revision.endswith("+changes"):
        raise StudyError(
            f"expected a commit, got {revision!r}: what was changed in that tree is in no commit; "
            "give the commit without +changes to see what the changes made of it"
        )
    try:
        arguments = ("rev-parse", "--verify", "--quiet", "--end-of-options")
        commit = _git(repository, *arguments, f"{revision}^{{commit}}")
    except subprocess.CalledProcessError as error:
        raise StudyError(
            f"{repository} knows no commit {revision!r}; fetch it, or name the repository of "
            "mlp_med with --repository"
        ) from error
    except OSError as error:
        raise StudyError(f"git cannot be started: {error}; install it") from error
    is_head = commit == _git(repository, "rev-parse", "HEAD")
    if is_head and (changed := _git(repository, "status", "--porcelain", "--untracked-files=no")):
        files = ", ".join(line.split(maxsplit=1)[1] for line in changed.splitlines()[:3])
        raise StudyError(
            f"the tree at {repository} has changes that commit {commit[:12]} lacks ({files}): it "
            "would not be rerun as it stands; commit the changes, or take them away"
        )
    return commit


def install_with_pip(lock: Path, place: Path) -> None:
    """Makes a virtual environment of exactly what the lock names, by its hashes.

    Raises:
        StudyError: pip fails, as without a network.
    """
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [*pip, "--disable-pip-version-check", "--require-hashes", "-r", str(lock)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-LINES_OF_OUTPUT:]
            raise StudyError(
                f"the environment of {lock} cannot be installed; is there a network? "
                f"{command[2]} said: " + " | ".join(said)
            )


def clean_environment() -> dict[str, str]:
    """This process's variables without those that would lead another Python or ledger astray."""
    astray = ("PYTHON", "MLFLOW_", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(astray)}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _check_out(repository: Path, commit: str, directory: Path) -> Path:
    code = directory / f"code-{commit}"
    if code.exists():
        with contextlib.suppress(subprocess.CalledProcessError):
            if _git(code, "rev-parse", "HEAD") == commit and not _git(
                code, "status", "--porcelain"
            ):
                return code
        shutil.rmtree(code)
    unfinished = directory / f"unfinished-{commit}"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        _git(repository, "clone", "--quiet", "--shared", "--no-checkout", ".", str(unfinished))
        checkout = ("-c", "core.hooksPath=/dev/null", "checkout", "--quiet", "--detach", commit)
        _git(unfinished, *checkout)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().splitlines()[-1:] or ["git failed"]
        raise StudyError(f"cannot check out {commit[:12]}: {reason[0]}") from error
    unfinished.rename(code)
    return code


def _find_lock(code: Path, commit: str) -> str:
    for lock in LOCKS:
        if (code / lock).is_file():
            return lock
    raise StudyError(
        f"commit {commit[:12]} has no lock ({' or '.join(LOCKS)}): which versions it ran with is "
        "not known, so its environment cannot be made again"
    )


def _install_once(lock: Path, place: Path, install: Installer) -> None:
    if (place / COMPLETE).exists():
        return
    shutil.rmtree(place, ignore_errors=True)  # left behind by one that was killed
    try:
        install(lock, place)
        (place / COMPLETE).touch()
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout.strip()
