"""One module per topic: `results` yields its figures and curves; its trials run in processes of their own."""
