"""`python -m track_pipeline` is `track`."""

from track_pipeline.cli.app import main

if __name__ == "__main__":
    main()
