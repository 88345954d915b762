"""The hospitals' information systems (HIS): one module per system, and the table that lists them.

A new system is a module here, an entry in `table.py`, the statement `sql/<key>.sql` and, for the demo, its tables in
`demo/his/`. The rest of the package asks `table.system(key)` and names no system.
"""
