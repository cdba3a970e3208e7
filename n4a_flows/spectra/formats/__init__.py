"""One module per file format, each with its `READER`."""
