"""One module per topic. `results` yields its figures and curves; each trial runs in a new process."""
