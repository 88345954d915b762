"""`python -m track_pipeline` is `track`."""

from track_pipeline.cli import main

if __name__ == "__main__":
    main()
