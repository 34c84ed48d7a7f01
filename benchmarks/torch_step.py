"""The PyTorch half of step_time.py: a server of timed blocks of steps, in PyTorch's own process.

Reads one JSON line a request on standard input, {"setting": name, "steps": n}, and answers with the
seconds of each step and with the process's peak memory. Needs only PyTorch, so that any interpreter
that has it will do.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

WIDTHS = (16, 32, 64, 128)
SETTLING_SECONDS = 0.3


def network(spatial_dims: int, num_channels: int = 1) -> nn.Module:
    """Four stages of two convolutions + norm + ReLU, max-pool between, global average."""
    convolution, norm, pool, average = {
        2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d),
        3: (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d, nn.AdaptiveAvgPool3d),
    }[spatial_dims]
    layers: list[nn.Module] = []
    for stage, width in enumerate(WIDTHS):
        if stage:
            layers.append(pool(2))
        for _ in range(2):
            layers += [
                convolution(num_channels, width, 3, padding=1, bias=False),
                norm(width),
                nn.ReLU(inplace=True),
            ]
            num_channels = width
    return nn.Sequential(*layers, average(1), nn.Flatten(), nn.Linear(num_channels, 1))


class Trainer:
    """One setting's network, optimiser and batch."""

    def __init__(self, setting: str, grid: Sequence[int], batch_size: int):
        torch.manual_seed(0)
        options = setting.split("+")
        channels_last = "channels_last" in options
        self.autocast = "bfloat16" in options
        last = {2: torch.channels_last, 3: torch.channels_last_3d}[len(grid)]
        layout = last if channels_last else torch.contiguous_format
        self.model = network(len(grid)).to(memory_format=layout)
        self.images = torch.randn(batch_size, 1, *grid).to(memory_format=layout)
        self.labels = (torch.rand(batch_size, 1) > 0.5).float()
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)
        self.forward = torch.compile(self.model) if "compile" in options else self.model

    def step(self) -> float:
        """Seconds of one training step."""
        began = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            logits = self.forward(self.images)
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), self.labels)
        loss.backward()
        self.optimizer.step()
        loss.item()
        return time.perf_counter() - began


def peak_memory_bytes() -> int:
    """The process's VmHWM."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def main() -> None:
    """Answers requests until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", type=int, nargs="+", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    trainers: dict[str, Trainer] = {}
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        setting = request["setting"]
        try:
            if setting not in trainers:
                trainers[setting] = Trainer(setting, arguments.grid, arguments.batch_size)
                for _ in range(2):
                    trainers[setting].step()
            # As on the other side: its threads may still be spinning, and one step does not count.
            time.sleep(SETTLING_SECONDS)
            trainers[setting].step()
            seconds = [trainers[setting].step() for _ in range(request["steps"])]
            answer = {"seconds": seconds, "peak_memory_bytes": peak_memory_bytes()}
        except Exception as error:  # a setting that this machine cannot run is a result too
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
