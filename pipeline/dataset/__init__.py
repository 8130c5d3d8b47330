"""Prepared tables as a data set that `datasets` and TRL load, with its card, and a page that a person reads."""

from .card import CARD, dataset_card
from .prepared import Exported, export_dataset, write_report

__all__ = ["CARD", "Exported", "dataset_card", "export_dataset", "write_report"]
