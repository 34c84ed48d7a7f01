"""What does a step wait for: arithmetic, memory or its input?

Question.  For each task of the talk and each machine of the catalogue: operations and bytes,
           training and inference apart; where the step stands under the machine's roof; the least
           time and energy it can take; so whether faster arithmetic, memory or disks would help.
Figures.   Computed from the built network's shapes and the vendors' peaks, hence the best that
           could be had, and called predicted. With --measure this machine's own peaks are measured,
           a few cells are trained on it, and the error of the estimate is stated.

    make platforms                                         about three minutes, measuring
    mlp-med study compute platforms
"""

from experiments.memory_fits import MEASURED as MEASURED  # the same cells, time instead of memory
from experiments.memory_fits import TASKS as TASKS

NAME = "platforms"
QUESTION = "Is a training or inference step bound by arithmetic, by memory or by its input?"
BATCH = 16
