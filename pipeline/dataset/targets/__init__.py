"""Who trains on the data: one file a target, with the format that it takes and the limits that it states."""
