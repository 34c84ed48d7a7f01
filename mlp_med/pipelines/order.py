"""The order of the training data: a pure function of (seed, position).

A **position** is the number of examples seen before this one. Nothing else is needed to go on after
a kill, and every arm of a study with equal seeds meets the same examples in the same order.
"""

import hashlib

import numpy as np


def random_words(purpose: str, seed: int, *, start: int, count: int) -> np.ndarray:
    """Draws four independent uniform 64-bit words for each of `count` positions from `start` on.

    Philox is a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as
    1, 2, 3"): word block p is computed from p alone, so that any position is reached at once.
    `purpose` separates the streams of one seed.

    Returns:
        uint64 [count, 4]; row i belongs to position start + i.
    """
    digest = hashlib.blake2b(f"{purpose}/{seed}".encode(), digest_size=16).digest()
    generator = np.random.Philox(key=int.from_bytes(digest, "little"), counter=start)
    return np.asarray(generator.random_raw(4 * count)).reshape(count, 4)


def epoch_permutation(num_examples: int, *, seed: int, epoch: int) -> np.ndarray:
    """The order of one epoch: int64 [num_examples], a permutation drawn from (seed, epoch) alone.

    It sorts raw random words, because those are fixed for ever by NumPy while the algorithm of
    `Generator.permutation` may change between versions.
    """
    blocks = random_words(f"order/{epoch}", seed, start=0, count=-(-num_examples // 4))
    return np.argsort(blocks.reshape(-1)[:num_examples], kind="stable")


def example_indices(num_examples: int, *, seed: int, start: int, count: int) -> np.ndarray:
    """Which example stands at each of the positions start … start + count - 1.

    Args:
        num_examples: size of the split.
        seed: of the order; the same seed gives the same order whatever the resolution.
        start: the first position, i.e. examples seen so far.
        count: number of positions.

    Returns:
        int64 [count], values in [0, num_examples). Positions e·num_examples up to, but without,
        (e + 1)·num_examples hold a permutation: epoch e.

    Raises:
        ValueError: there are no examples, or `start` or `count` is negative.
    """
    if num_examples < 1 or start < 0 or count < 0:
        raise ValueError(
            "expected num_examples >= 1, start >= 0 and count >= 0, "
            f"got num_examples={num_examples}, start={start}, count={count}"
        )
    stop = start + count
    epochs = [
        epoch_permutation(num_examples, seed=seed, epoch=epoch)[
            max(start - epoch * num_examples, 0) : stop - epoch * num_examples
        ]
        for epoch in range(start // num_examples, -(-stop // num_examples))
    ]
    return np.concatenate(epochs) if epochs else np.empty(0, np.int64)
