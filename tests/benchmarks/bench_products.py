"""Matrix products in float32 and bfloat16 on one CPU thread: what `dtype: auto` chooses between."""

import argparse
import sys
import time

import torch

from thumbline.pipeline.config.machine import multiplies_bfloat16


def speed(dtype: torch.dtype, size: int, seconds: float) -> float:
    """GFLOP a CPU-second of square products."""
    left, right = (torch.ones(size, size, dtype=dtype) for _ in range(2))
    left @ right
    done, started = 0, time.process_time()
    while time.process_time() - started < seconds:
        left @ right
        done += 1
    return 2 * size**3 * done / (time.process_time() - started) / 1e9


def main() -> int:
    """Print both speeds, their ratio, and what `auto` is here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plain, half = (speed(dtype, options.size, options.seconds) for dtype in (torch.float32, torch.bfloat16))
    print(f"float32 {plain:.1f} GFLOP/s, bfloat16 {half:.1f}, {half / plain:.2f} times as fast")
    print(f"auto is {'bfloat16' if multiplies_bfloat16() else 'float32'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
