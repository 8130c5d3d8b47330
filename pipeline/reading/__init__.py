"""Bytes to guarded rows: files, streams, tables and data sets of the hub, whatever their format."""
