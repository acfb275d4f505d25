"""Learning from whole libraries: prepared once as shards on disk, and read from there without being held in memory."""
