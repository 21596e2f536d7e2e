"""Watch shards of the samples on the workers of a Dask cluster."""
