"""What is learnt from how many annotations: DPO on n pairs, KTO on n and on n / 2 thumbs, over a grid of n."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

import polars as pl

from ..config import RunConfig
from ..errors import ConfigError
from ..storage.tables import read_table
from ..sweep.plan import absolute, check_seeds
from ..training.selecting import first_rows
from .arms import Arm, Plan, method_config, sharing
from .budget import trained_rows

Kind = Literal["dpo", "kto", "kto_half"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_PAIRED: Final = "dpo"
_SINGLE: Final = "kto"
_ENDS: Final = ("chosen_response_id", "rejected_response_id")


class Point(NamedTuple):
    """One arm's place in the grid.

    Attributes:
        n: Pairs of DPO that it belongs to.
        kind: DPO on n pairs, or KTO on n or n / 2 thumbs.
    """

    n: int
    kind: Kind

    @property
    def arm(self) -> str:
        """The arm's name."""
        return f"{self.kind}__n_{self.n}"

    @property
    def rows(self) -> int:
        """Pairs or thumbs that it trains on."""
        return self.n // 2 if self.kind == "kto_half" else self.n

    @property
    def title(self) -> str:
        """As tables say it."""
        return f"DPO, {self.rows:,} pairs" if self.kind == "dpo" else f"KTO, {self.rows:,} thumbs"


def points(grid: Sequence[int]) -> list[Point]:
    """All arms, by n."""
    return [Point(n, kind) for n in sorted(grid) for kind in KINDS]


def plan_curve(
    config: RunConfig,
    grid: Sequence[int],
    *,
    seeds: Sequence[int] | None = None,
    output: Path | None = None,
    keep: str = "none",
) -> Plan:
    """The trainings of a curve: at each n all arms train on as many completion tokens as DPO does on n pairs.

    Args:
        config: The run; its settings of training hold for both methods.
        grid: Numbers of pairs, each at least 2.
        seeds: Each draws other rows and another order; None: the run's own.
        output: Folder of the curve; None: beside the run's, with `-annotations` after its name.
        keep: Whether trained models stay on disk.

    Raises:
        ConfigError: The grid does not hold, or a method cannot be trained so.
    """
    check_seeds(seeds)
    if not grid or min(grid) < 2 or len(set(grid)) < len(grid):
        raise ConfigError(
            f"--grid {','.join(map(str, grid))}: give numbers of pairs, each once and at least 2, as in 50,100,200."
        )
    config = absolute(config)
    made: dict[str, RunConfig] = {}
    budgets: dict[str, str] = {}
    for point in points(grid):
        of_method = method_config(config, _PAIRED if point.kind == "dpo" else _SINGLE, {"most_rows": point.rows})
        made[point.arm] = of_method
        budgets[point.arm] = Point(point.n, "dpo").arm
    folder = (output or Path(config.runs) / f"{config.name}-annotations").absolute()
    return Plan(
        output=folder,
        config=config,
        arms=sharing(config, made, budgets),
        seeds=tuple(seeds) if seeds is not None else (config.train.seed,),
        baseline=Point(max(grid), "dpo").arm,
        keep=keep,
    )


def grid_of(plan: Plan) -> list[int]:
    """The numbers of pairs of a plan."""
    return sorted({int(arm.name.rpartition("_")[2]) for arm in plan.arms})


def check_rows(plan: Plan) -> None:
    """Refuse a grid that asks for more rows than the training split holds, once that is known.

    Args:
        plan: Its base has the stages up to the sequences.

    Raises:
        ConfigError: Says how many there are.
    """
    for arm in plan.arms:
        asked = arm.config.train.most_rows or 0
        every = arm.config.train.model_copy(update={"most_rows": None})
        there = trained_rows(plan.base, every, plan.seeds[0]).tokens.size
        if there < asked:
            what = "pairs" if arm.spec.paired else "thumbs"
            raise ConfigError(
                f"--grid: {arm.name} takes {asked:,} {what}, and the training split holds {there:,} with token ids; "
                f"leave larger numbers out."
            )


class Effort(NamedTuple):
    """What an arm's rows took of people.

    Attributes:
        annotations: Votes on the answers that the rows stand on, each answer's once; of a pair that was compared as
            such, the comparisons instead.
        answers: Distinct answers.
        prompts: Distinct prompts.
    """

    annotations: int
    answers: int
    prompts: int


def effort_of(plan: Plan, arm: Arm, seed: int) -> Effort:
    """What the rows of an arm took, with a seed.

    Args:
        plan: Its base has the stages up to the splits.
        arm: The arm.
        seed: Draws the rows.
    """
    kind = "pairs" if arm.spec.paired else "unpaired"
    prompts = _read(plan, "splits").filter(pl.col("split") == "train").select("prompt_id")
    rows = _read(plan, kind).join(prompts, on="prompt_id", how="semi")
    rows = first_rows(rows, arm.config.train.most_rows or rows.height, seed)
    folder = plan.base.run_dir / "responses"
    counted = ["response_id", "n_up", "n_down", "n_compared"]
    responses = read_table(folder / "responses.parquet", "responses", counted)
    if kind == "unpaired":
        return effort_of_thumbs(rows, responses)
    return effort_of_pairs(rows, responses, read_table(folder / "comparisons.parquet", "comparisons"))


def effort_of_thumbs(rows: pl.DataFrame, responses: pl.DataFrame) -> Effort:
    """What unpaired rows took.

    Args:
        rows: Of table `unpaired`.
        responses: Of table `responses`: `response_id`, `n_up`, `n_down`, `n_compared`.
    """
    votes = responses.select("response_id", votes=votes_of())
    found = rows.select("response_id").join(votes, on="response_id", how="left", validate="1:1")
    return Effort(int(found["votes"].sum()), rows.height, rows["prompt_id"].n_unique())


def effort_of_pairs(rows: pl.DataFrame, responses: pl.DataFrame, comparisons: pl.DataFrame) -> Effort:
    """What pairs took.

    Args:
        rows: Of table `pairs`.
        responses: As of `effort_of_thumbs`.
        comparisons: Table `comparisons`.
    """
    votes = responses.select("response_id", votes=votes_of())
    by_votes = rows.filter(pl.col("pair_source") == "votes")
    answers = pl.concat([by_votes.select(response_id=end) for end in _ENDS]).unique()
    voted = int(answers.join(votes, on="response_id", how="left", validate="1:1")["votes"].sum())
    every = pl.concat([rows[end] for end in _ENDS]).n_unique()
    return Effort(voted + _compared(rows, comparisons), every, rows["prompt_id"].n_unique())


def votes_of() -> pl.Expr:
    """Annotations behind an answer's label: its votes, or the comparisons that it was in where it has none."""
    voted = pl.col("n_up") + pl.col("n_down")
    return pl.when(voted > 0).then(voted).otherwise(pl.max_horizontal("n_compared", 1))


def _compared(rows: pl.DataFrame, comparisons: pl.DataFrame) -> int:
    """Comparisons behind the pairs that were compared as such, at least one each."""
    own = rows.filter(pl.col("pair_source") != "votes").select(*_ENDS, kind=pl.col("pair_source").cast(pl.String))
    if own.is_empty():
        return 0
    told = comparisons.with_columns(pl.col("kind").cast(pl.String))
    counted = pl.sum_horizontal("n_chosen", "n_rejected", "n_tied", "n_both_bad")
    # A table has two answers in one order, a pair in that of what most said.
    both = pl.concat(
        [
            told.select("kind", *_ENDS, comparisons=counted),
            told.select("kind", **dict(zip(_ENDS, reversed(_ENDS), strict=True)), comparisons=counted),
        ]
    )
    summed = both.group_by("kind", *_ENDS).agg(pl.col("comparisons").sum())
    found = own.join(summed, on=["kind", *_ENDS], how="left", validate="m:1")
    return int(found.select(pl.max_horizontal(pl.col("comparisons").fill_null(1), 1).sum()).item())


def _read(plan: Plan, table: str) -> pl.DataFrame:
    return read_table(plan.base.run_dir / table / f"{table}.parquet", table)


def efforts(plan: Plan) -> Mapping[str, tuple[Effort, ...]]:
    """What each arm's rows took, by its name, in the order of the seeds."""
    return {arm.name: tuple(effort_of(plan, arm, seed) for seed in plan.seeds) for arm in plan.arms}
