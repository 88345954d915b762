"""Problems that are open, and the alerts that report them."""
