"""Reads what an installation is: settings of the environment, and the files of hospitals, rules, policy and surveys.

What a file may say is a model of `domain/`; here it is read, and errors name file and field.
"""
