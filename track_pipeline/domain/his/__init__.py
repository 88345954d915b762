"""The hospitals' information systems (HIS): one module per system, and the table that lists them.

A new system needs a module here, an entry in `table.py`, the statement `sql/<key>.sql` and, for the demo, its tables in
`demo/his/`. The rest of the package uses `table.system(key)` and names no system.
"""
