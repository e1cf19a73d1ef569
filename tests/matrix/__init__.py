"""Runs the tests on every server and every Python that Headrace supports: `make matrix`.

`servers` has each server, fetched or built; `pythons` has each Python with what the tests need; `plan` says which
of them meet; `runs` runs one meeting and reads how it went; `report` shows all of them. Everything made on the way
is under `.matrix/`, which git ignores.
"""
