"""`python -m benchmarks`. The process of every trial imports this module, so it imports nothing at its top."""

if __name__ == "__main__":
    from benchmarks.command import app

    app()
