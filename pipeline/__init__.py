"""From raw thumbs logs to a preference-trained model and the evidence that it is better."""

import os

# polars' allocator, which reads this when polars is first imported. By default each of eight arenas keeps what it was
# given back; with two that return it after a second, the stages that hold parts of tables take half the memory and no
# more time.
os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0")
