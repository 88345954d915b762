"""The status page and what guards every web server of ours.

Import from the modules: nothing is re-exported here, so that the guard does not load the page.
"""
