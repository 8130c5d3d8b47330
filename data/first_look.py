# /// script
# requires-python = ">=3.11"
# dependencies = ["thumbline"]
#
# [tool.uv.sources]
# thumbline = { path = ".." }
# ///
"""What a log of votes holds, and what becomes of it; no model is needed.

    uv run data/first_look.py my_logs/*.jsonl

makes an environment for itself. In one that has thumbline, `python data/first_look.py` does the same.
"""

import argparse

import thumbline


def main() -> None:
    """Prepare the logs, say what came out and why rows were rejected, and write the data report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", help="files, folders or globs")
    parser.add_argument("--output", default="first_look", help="folder to write to")
    arguments = parser.parse_args()
    data = thumbline.prepare(arguments.logs, output=arguments.output)
    print(data.counts)
    print(f"{len(data.unpaired):,} labelled answers, {len(data.pairs):,} pair{'s' * (len(data.pairs) != 1)}")
    for reason, rows in data.reasons.items():
        print(f"rejected, {reason}: {rows:,}")
    if len(data.pairs):
        print(data.pairs.select("prompt", "chosen", "rejected").head(3))
    print(f"Data report: {data.report}")


if __name__ == "__main__":
    main()
