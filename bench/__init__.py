"""The harness: suites, tasks, cells, records, statistics and the command line."""
