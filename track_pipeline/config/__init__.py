"""Reads the configuration of an installation: environment settings, and files of hospitals, rules, policy and surveys.

Models in `domain/` define the content of the files; this package reads them, and its errors name file and field.
"""
