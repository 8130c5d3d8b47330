"""Logs to KTO rows and pairs: seconds, CPU seconds and peak memory beside DuckDB's, on the same file in one run.

    python -m tests.benchmarks.bench_prepare --events 10000000

`duckdb` does the least that gives the same rows: parse, drop what does not read, last vote of a user, votes counted,
rows and best-and-worst pairs to Parquet. `duckdb-tables` also writes events and answers with SHA-256 ids, their texts
once, all tables in the order of their ids; `duckdb-named` each bad line of JSON with one of four reasons too, and
`duckdb-normal` takes ids of texts in NFC with single spaces. Ours names what it drops in all its reasons, keeps the
evidence beside every answer, and gives the same bytes however the work is cut. DuckDB's few more rows are broken lines
that it takes: a number where the answer's text should be, and texts with a NUL. Peak memory is that of all processes
together, sampled; `--memory 900MB` holds DuckDB to that much, `--memory ours` to what ours took of the same source.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from tests.benchmarks.feedback_log import write_log

_OURS: Final = "ours"
_SAMPLE_SECONDS: Final = 0.05
_CHUNK_BYTES: Final = 1 << 25
# How much memory DuckDB may take; of the environment, since each way runs in a process of its own.
_MEMORY: Final = "BENCH_DUCKDB_MEMORY"
_COLUMNS: Final = ("event_id", "timestamp", "conversation_id", "user_id", "model", "prompt", "response", "feedback")


class Measured(NamedTuple):
    """One run: what it took, and the rows and pairs that it made."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    made: dict[str, Any]


def ours(source: str, folder: Path, until: str = "pairs") -> dict[str, Any]:
    """The line up to a stage."""
    from thumbline.pipeline.cli.launch import settle_allocator

    settle_allocator()
    from thumbline.pipeline import line
    from thumbline.pipeline.config import build_config

    document = {"name": "ours", "runs": str(folder), "model": "none", "events": {"inputs": [source]}}
    made: dict[str, Any] = {}
    for done in line.run(build_config(document, origin="benchmark"), line.select(None, until)):
        made |= {
            table: record.rows for table, record in done.manifest.outputs.items() if table in ("unpaired", "pairs")
        }
        made[f"{done.stage.name} s"] = done.manifest.seconds
    return made


def duckdb_least(source: str, folder: Path) -> dict[str, Any]:
    """The same rows and pairs, and nothing else."""
    database = _database(folder)
    database.execute(f"""
        CREATE TEMP TABLE answers AS
        WITH votes AS (
            SELECT prompt, response, user_id, arg_max(feedback, timestamp) AS vote FROM {_usable(source)} GROUP BY ALL)
        SELECT prompt, response, {_COUNTED} FROM votes GROUP BY ALL""")
    _write(
        database, folder, "unpaired", "SELECT prompt, response, ups > downs AS label FROM answers WHERE ups <> downs"
    )
    _write(
        database,
        folder,
        "pairs",
        f"SELECT prompt, {_BEST_AND_WORST} FROM answers WHERE ups <> downs GROUP BY prompt HAVING {_BOTH_LABELS}",
    )
    return _rows(database, folder)


def duckdb_tables(source: str, folder: Path, named: bool = False, normal: bool = False) -> dict[str, Any]:
    """The tables that ours writes, each in its order: events and answers with their ids, texts once, rows, pairs.

    Args:
        source: The log, as JSON lines or Parquet.
        folder: Where the tables go.
        named: Whether the lines that do not read are a table too, each with a reason.
        normal: Whether ids are of texts in NFC with single spaces.
    """
    database = _database(folder)
    usable = _named(database, folder, source) if named and source.endswith("jsonl") else _usable(source)
    prompt, response = (_in_normal_form(name) if normal else name for name in ("prompt", "response"))
    database.execute(f"""
        CREATE TEMP TABLE usable AS
        SELECT *, substr(sha256({prompt}), 1, 32) AS prompt_id,
               substr(sha256({prompt} || {response}), 1, 32) AS response_id FROM {usable}""")
    _write(
        database,
        folder,
        "events",
        """SELECT * EXCLUDE (prompt, response), count(*) AS deliveries
           FROM usable GROUP BY ALL ORDER BY prompt_id, response_id, event_id""",
    )
    database.execute("""
        CREATE TEMP TABLE texts AS
        SELECT prompt_id, response_id, first(prompt) AS prompt, first(response) AS response FROM usable GROUP BY ALL""")
    _write(database, folder, "texts", "SELECT * FROM texts ORDER BY prompt_id, response_id")
    database.execute(f"""
        CREATE TEMP TABLE answers AS
        WITH votes AS (
            SELECT prompt_id, response_id, user_id, arg_max(feedback, timestamp) AS vote FROM usable GROUP BY ALL)
        SELECT prompt_id, response_id, {_COUNTED} FROM votes GROUP BY ALL""")
    _write(database, folder, "responses", "SELECT * FROM answers ORDER BY prompt_id, response_id")
    answers = "FROM answers JOIN texts USING (prompt_id, response_id) WHERE ups <> downs"
    rows = f"SELECT prompt_id, response_id, prompt, response, ups > downs AS label {answers}"
    _write(database, folder, "unpaired", f"{rows} ORDER BY prompt_id, response_id")
    pairs = f"SELECT prompt_id, any_value(prompt) AS prompt, {_BEST_AND_WORST} {answers} GROUP BY prompt_id"
    _write(database, folder, "pairs", f"{pairs} HAVING {_BOTH_LABELS} ORDER BY prompt_id")
    return _rows(database, folder)


def _named(database: Any, folder: Path, source: str) -> str:
    """The source's usable rows, once the lines that do not read are written, each with a reason."""
    database.execute(f"CREATE TEMP TABLE lines AS SELECT line, {_REASON} AS reason FROM {_lines(source)}")
    _write(database, folder, "rejects", "SELECT reason, line FROM lines WHERE reason IS NOT NULL")
    texts = ", ".join(f'"{name}": "VARCHAR"' for name in _COLUMNS)
    read = f"(SELECT unnest(from_json(line, '{{{texts}}}')) FROM lines WHERE reason IS NULL)"
    return f"(SELECT * FROM {read} WHERE {_TEXTED})"


def _lines(source: str) -> str:
    """The lines of a file, whatever they hold."""
    plain = "delim='\x01', quote='', escape='', auto_detect=false, strict_mode=false, max_line_size=16777216"
    return f"read_csv('{source}', header=false, columns={{line: 'VARCHAR'}}, {plain})"


def _in_normal_form(column: str) -> str:
    return f"trim(regexp_replace(nfc_normalize({column}), '\\s+', ' ', 'g'))"


_REASON: Final = """CASE
    WHEN NOT json_valid(line) THEN 'broken_json'
    WHEN len(json_keys(line)) <> len(list_distinct(json_keys(line))) THEN 'duplicate_key'
    WHEN coalesce(json_type(line, '$.prompt'), '-') <> 'VARCHAR'
        OR coalesce(json_type(line, '$.response'), '-') <> 'VARCHAR' THEN 'wrong_type'
    WHEN contains(line, '\\u0000') THEN 'nul_character' END"""
_COUNTED: Final = "count(*) FILTER (vote = 'thumbs_up') AS ups, count(*) FILTER (vote = 'thumbs_down') AS downs"
_BOTH_LABELS: Final = "max(ups > downs) AND NOT min(ups > downs)"
_SHARE: Final = "(ups + 1.0) / (ups + downs + 2)"
_BEST_AND_WORST: Final = f"arg_max(response, {_SHARE}) AS chosen, arg_min(response, {_SHARE}) AS rejected"


def _database(folder: Path) -> Any:
    import duckdb

    database = duckdb.connect()
    database.execute(f"SET preserve_insertion_order=false; SET temp_directory='{folder}/spill'")
    if memory := os.environ.get(_MEMORY):
        database.execute(f"SET memory_limit='{memory}'")
    return database


def _usable(source: str) -> str:
    """The source, without the rows that do not read or have no vote or text."""
    texts = ", ".join(f"{name}: 'VARCHAR'" for name in _COLUMNS)
    lines = f"read_json('{source}', format='newline_delimited', ignore_errors=true, columns={{{texts}}})"
    read = lines if source.endswith("jsonl") else f"read_parquet('{source}')"
    return f"(SELECT * FROM {read} WHERE {_TEXTED})"


_TEXTED: Final = "length(trim(prompt)) > 0 AND length(trim(response)) > 0 AND feedback IN ('thumbs_up', 'thumbs_down')"


def _write(database: Any, folder: Path, table: str, query: str) -> None:
    database.execute(f"COPY ({query}) TO '{folder}/{table}.parquet' (FORMAT parquet, COMPRESSION zstd)")


def _rows(database: Any, folder: Path) -> dict[str, Any]:
    count = "SELECT count(*) FROM read_parquet('{}/{}.parquet')"
    return {name: database.execute(count.format(folder, name)).fetchone()[0] for name in ("unpaired", "pairs")}


WAYS: Final[dict[str, Callable[[str, Path], dict[str, Any]]]] = {
    "ours": ours,
    "duckdb": duckdb_least,
    "duckdb-tables": duckdb_tables,
    "duckdb-named": partial(duckdb_tables, named=True),
    "duckdb-normal": partial(duckdb_tables, named=True, normal=True),
    "ours-split": partial(ours, until="splits"),
}
_SOURCES: Final = ("jsonl", "parquet")
_COMPARED: Final = ("ours", "duckdb", "duckdb-tables", "duckdb-named", "duckdb-normal")


def measure(way: str, source: Path, folder: Path) -> Measured:
    """Run one way in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_prepare", "--way", way, str(source), str(folder)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _resident_kib(process.pid))
        time.sleep(_SAMPLE_SECONDS)
    seconds = time.perf_counter() - begun
    if process.returncode or process.stdout is None:
        raise SystemExit(f"{way}: ended with {process.returncode}")
    made = json.loads(process.stdout.read().splitlines()[-1])
    return Measured(seconds, made.pop("cpu_seconds"), peak / 1024, made)


def _resident_kib(pid: int) -> int:
    """KiB of a process and all its children; shared pages count once a process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    except OSError:
        return 0
    return own + sum(_resident_kib(int(child)) for child in children)


def run_one(way: str, source: str, folder: str) -> None:
    """What the process of one way does."""
    import resource

    made = WAYS[way](source, Path(folder))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({**made, "cpu_seconds": sum(usage.ru_utime + usage.ru_stime for usage in used)}))


def to_parquet(log: Path, path: Path) -> None:
    """The readable lines of the log as a Parquet file."""
    import msgspec
    import polars as pl
    import pyarrow.parquet as pq

    decode = msgspec.json.Decoder(dict[str, str | None]).decode
    writer: Any = None
    with log.open("rb") as stream:
        while lines := stream.readlines(_CHUNK_BYTES):
            rows = []
            for line in lines:
                with suppress(msgspec.DecodeError):
                    rows.append(decode(line))
            frame = pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String)).to_arrow()
            writer = writer or pq.ParquetWriter(path, frame.schema, compression="zstd")
            writer.write_table(frame)
    writer.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the log and all that is made lie; a temporary folder else")
    parser.add_argument("--log", type=Path, help="where the log lies, or is to be kept; its Parquet file beside it")
    parser.add_argument("--memory", help="what DuckDB may hold: 900MB, `ours`; all that it asks for else")
    parser.add_argument("--sources", nargs="+", choices=_SOURCES, default=_SOURCES, help="what is read")
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        run_one(*arguments.way)
        return
    if arguments.memory and arguments.memory != _OURS:
        os.environ[_MEMORY] = arguments.memory
    with TemporaryDirectory(prefix="prepare-", dir=arguments.folder) as place:
        log = arguments.log or Path(place) / "log.jsonl"
        _compare(Path(place), log, arguments.events, arguments.sources, as_ours=arguments.memory == _OURS)


def _compare(folder: Path, log: Path, events: int, sources: Sequence[str], *, as_ours: bool) -> None:
    if not log.exists():
        write_log(log, events)
    files = [log.with_suffix(f".{source}") for source in sources]
    for table in files:
        if not table.exists():
            to_parquet(log, table)
    ways = [way for way in _COMPARED if way == _OURS or importlib.util.find_spec("duckdb")]
    print(
        f"{events:,} events; " + ", ".join(f"{file.suffix[1:]} {file.stat().st_size / 1e6:,.0f} MB" for file in files)
    )
    print(f"{'source':<9}{'way':<14}{'s':>8}{'CPU s':>8}{'MB/s':>8}{'peak MiB':>10}   made")
    for source in files:
        for way in ways:
            place = folder / f"{way}-{source.suffix[1:]}"
            place.mkdir()
            found = measure(way, source, place)
            shutil.rmtree(place)
            if as_ours and way == _OURS:
                os.environ[_MEMORY] = f"{found.peak_mib:.0f}MiB"
            speed = log.stat().st_size / 1e6 / found.seconds
            print(
                f"{source.suffix[1:]:<9}{way:<14}{found.seconds:>8.1f}{found.cpu_seconds:>8.1f}{speed:>8.0f}"
                f"{found.peak_mib:>10.0f}   {found.made}",
                flush=True,
            )


if __name__ == "__main__":
    main()
