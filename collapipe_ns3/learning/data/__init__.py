"""Examples of learning tasks: readers of files, and data sets that are generated."""
