"""Parts of `tests.benchmarks.on_gpu`."""
