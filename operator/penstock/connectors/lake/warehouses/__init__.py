"""Where the files of a lake lie: a folder of a claim, or a prefix of a bucket.

In: locations, as Iceberg writes them. Out: new files, opened files, listings, pyiceberg's FileIO.
Never: what the files mean, or which of them the catalog names.
"""
