"""The `distillbench` command, also as `python -m distillbench`."""

from distillbench.bench.cli import main

if __name__ == "__main__":
    main()
