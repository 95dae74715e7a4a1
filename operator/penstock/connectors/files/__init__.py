"""Files on any store, in any format: a Source, and a Target of deliveries."""
