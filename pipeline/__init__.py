"""From raw thumbs logs to a preference-trained model and the evidence that it is better."""

import os

# polars' allocator gives memory back after half a second, only to ask for it again with the next part of a table; kept
# for ten, the line from a log to its pairs takes an eighth less CPU time. Read when polars is first imported.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:-1")
