"""The language beneath everything: the model base, scalars, credentials, conditions, errors.

Imports nothing else of Penstock.
"""
