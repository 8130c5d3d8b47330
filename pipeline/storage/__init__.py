"""Where tables and files lie: Parquet, manifests, digests, partitions, buckets and shared folders."""
