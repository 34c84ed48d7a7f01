"""What fits where, and what must be given up for it?

Question.  Memory is why medical images are shrunk, split or trained in tiny batches. On which
           machine does which resolution and batch fit, and at what price?
Tasks.     Those of the talk: a 3D network on nodules at 40 mm and at a whole-lung field, a 2D
           network on mammography exams of four views of 2600×2000, and on patches of slides.
Remedies.  In turn bfloat16, accumulation, recomputation and sharding, each priced in seconds,
           energy and, with --price-per-hour, money, before anything is called infeasible.
Figures.   Computed from the memory model (`mlp_med.capacity`), and called predicted wherever
           nothing was measured. With --measure a few cells are trained here and set beside it.

    make memory-fits                                       about two minutes
    mlp-med study compute memory_fits --price-per-hour 2.50
"""

from mlp_med.studies.task import Task

NAME = "memory_fits"
QUESTION = "What resolution and batch fit on which machine, and what must be given up for it?"
BATCHES = (1, 4, 16, 64, 256)

NODULE = Task(
    name="nodule, 40 mm",
    unit="mm",
    resolutions={0.625: (64,) * 3, 1.25: (32,) * 3, 2.5: (16,) * 3, 5.0: (8,) * 3},
    images=1,
    num_channels=1,
    native_bytes=2,
    model="residual_centre",
)
WHOLE_LUNG = Task(
    name="whole lung, 320 mm",
    unit="mm",
    resolutions={0.625: (512,) * 3, 1.25: (256,) * 3, 2.5: (128,) * 3, 5.0: (64,) * 3},
    images=1,
    num_channels=1,
    native_bytes=2,
    model="residual",
)
MAMMOGRAM = Task(
    name="mammography exam, 4 views",
    unit="mm",
    resolutions={0.1: (2600, 2000), 0.2: (1300, 1000), 0.4: (650, 500), 0.8: (325, 250)},
    images=4,
    num_channels=1,
    native_bytes=2,
    model="residual",
)
SLIDE = Task(
    name="slide patch, 93 µm",
    unit="um",
    resolutions={0.243: (384,) * 2, 0.486: (192,) * 2, 0.97: (96,) * 2, 1.94: (48,) * 2},
    images=1,
    num_channels=3,
    native_bytes=1,
    model="residual_centre",
)
TASKS = (NODULE, WHOLE_LUNG, MAMMOGRAM, SLIDE)
# Small enough for any machine; each is seconds of training.
MEASURED = (
    (NODULE.name, 0.625, 16),
    (NODULE.name, 0.625, 4),
    (NODULE.name, 1.25, 64),
    (WHOLE_LUNG.name, 2.5, 1),
    (SLIDE.name, 0.243, 16),
    (SLIDE.name, 0.97, 256),
)
