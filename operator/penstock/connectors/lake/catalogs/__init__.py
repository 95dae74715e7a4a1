"""The databases that a lake's SQL catalog, and with it the ledger, can lie in."""
