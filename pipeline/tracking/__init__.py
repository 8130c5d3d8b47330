"""Where numbers go beside the tables: one file a tracker, all behind `Tracker`."""

from .base import TrackedRun, Tracker
from .delivery import Delivery
from .registry import TRACKERS, open_tracker, require_tracker

__all__ = ["TRACKERS", "Delivery", "TrackedRun", "Tracker", "open_tracker", "require_tracker"]
