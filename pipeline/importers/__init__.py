"""Log formats: each importer turns one kind of file into canonical events, and what it cannot read into rejects."""
