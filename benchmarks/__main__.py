"""`python -m benchmarks`; every trial's process imports this module, so nothing is imported here before it is asked."""

if __name__ == "__main__":
    from benchmarks.command import app

    app()
