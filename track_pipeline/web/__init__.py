"""The status page, and the guard in front of every web server of this project.

Import from the modules: nothing is re-exported here, so that importing the guard does not load the page.
"""
