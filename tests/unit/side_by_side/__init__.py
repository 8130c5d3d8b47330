"""Tests of what trains side by side."""
