"""What a launch test takes, from the run's own log: the plan of `thumbline launch-plan`, or why there is none."""

from ..errors import InputError
from ..evidence.launch import Plan, launch_plan
from ..evidence.launch_basis import COLUMNS, Stated
from ..evidence.launch_predicted import predicted_of
from .inputs import Missing, ReportInputs


def launch_facts(inputs: ReportInputs) -> Plan | Missing:
    """The launch plan for the predicted difference, or for a grid, with nothing stated by hand."""
    tables = {name: inputs.tables.get(name) for name in COLUMNS}
    for name, columns in COLUMNS.items():
        frame = tables[name]
        if frame is None or not set(columns) <= set(frame.columns):
            return Missing("No votes of users were counted here, so no launch test can be planned.")
    try:
        return launch_plan(
            tables["raters"], tables["responses"], Stated(), predicted=predicted_of(inputs.table("metrics"))
        )
    except InputError as error:
        return Missing(str(error).removeprefix("launch-plan: ").capitalize())
