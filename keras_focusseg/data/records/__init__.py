"""Any source as a few large files: `tfds_builders` writes them, `Records` reads by index."""
